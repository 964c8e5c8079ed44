"""numpy arrays as ``.npy`` buffers, without a copy where the memory is in one piece.

The format is numpy's own, versions 1.0 and 2.0 (numpy.lib.format).  numpy is only
imported where an array is really there.
"""

import io
import sys
from typing import Any, List, Tuple

from .errors import FormatError, ValueRefused
from .wire import Buffer


def is_array(value: Any) -> bool:
    """Say whether ``value`` is a plain numpy array; subclasses are not."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray


def is_scalar(value: Any) -> bool:
    """Say whether ``value`` is a numpy scalar such as ``numpy.float64(1)``."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic)


def scalar_parts(value: Any) -> Tuple[str, bytes]:
    """Return a numpy scalar, which is not a record, as what ``make_scalar`` takes."""
    _refuse_objects(value.dtype)
    return value.dtype.str, value.tobytes()[: value.dtype.itemsize]  # numpy gives empty text a character


def make_scalar(dtype: str, content: bytes) -> Any:
    """Return the numpy scalar of a type, as ``numpy.dtype.str`` names it, and its bytes.

    Raises FormatError where these do not fit, ValueRefused where numpy is not installed.
    """
    numpy = _numpy()
    kind = numpy.dtype(dtype)
    if kind.hasobject or kind.itemsize != len(content):
        raise FormatError("a numpy scalar of type {} has {} bytes".format(dtype, len(content)))
    return numpy.frombuffer(content, kind)[0] if content else kind.type()


def as_array(value: Any) -> Any:
    """Return a numpy scalar as an array without dimensions."""
    import numpy

    return numpy.asarray(value)


def to_buffers(array: Any) -> List[Buffer]:
    """Return a numpy array as ``.npy`` bytes: header and data.

    Raises ValueRefused for arrays of Python objects.
    """
    import numpy
    from numpy.lib import format as npy

    _refuse_objects(array.dtype)
    header = io.BytesIO()
    try:
        description = npy.header_data_from_array_1_0(array)
        npy.write_array_header_2_0(header, description)
    except (ValueError, TypeError) as error:
        raise ValueRefused("a numpy array of dtype {} has no .npy form: {}".format(array.dtype, error)) from None
    flat = array.T if description["fortran_order"] else numpy.ascontiguousarray(array)
    data: Any = flat.reshape(-1).view(numpy.uint8) if array.nbytes else b""
    return [header.getvalue(), memoryview(data)]


def from_buffer(buffer: memoryview) -> Any:
    """Return the array in ``buffer``; it uses that memory, and is writable where that is.

    Raises FormatError where the bytes are not one ``.npy`` array of plain numbers
    or text, ValueRefused where numpy is not installed.
    """
    numpy = _numpy()
    from numpy.lib import format as npy

    stream = io.BytesIO(buffer[: 1 << 16])
    try:
        version = npy.read_magic(stream)
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, fortran_order, dtype = read_header(stream)
    except Exception as error:
        raise FormatError("an array's header is damaged: {}".format(error)) from None
    data = buffer[stream.tell() :]
    count = dtype.itemsize
    for length in shape:
        count *= length
    if dtype.hasobject or count != len(data):
        raise FormatError("an array of {} x {} does not fit its {} bytes".format(shape, dtype, len(data)))
    try:
        return numpy.ndarray(shape, dtype, data, order="F" if fortran_order else "C")
    except Exception as error:
        raise FormatError("an array is damaged: {}".format(error)) from None


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise ValueRefused("the value holds a numpy array, and this Python has no numpy", "Install numpy.") from None
    return numpy


def _refuse_objects(dtype: Any) -> None:
    if dtype.hasobject:
        raise ValueRefused("a numpy array of dtype {} holds Python objects".format(dtype), "Send a list instead.")
