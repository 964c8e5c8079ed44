"""numpy arrays as ``.npy`` buffers, without a copy where the memory is in one piece.

The format is numpy's own, versions 1.0 to 3.0 (numpy.lib.format).  numpy is only
imported where an array is really there.
"""

import io
import sys
from typing import Any, List

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


def to_buffers(value: Any) -> List[Buffer]:
    """Return a numpy array or scalar as ``.npy`` bytes: header and data.

    Raises ValueRefused for arrays of Python objects.
    """
    import numpy
    from numpy.lib import format as npy

    array = numpy.asarray(value)
    if array.dtype.hasobject:
        raise ValueRefused("a numpy array of dtype {} holds Python objects".format(array.dtype), "Send a list instead.")
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
    try:
        import numpy
        from numpy.lib import format as npy
    except ImportError:
        raise ValueRefused("the value holds a numpy array, and this Python has no numpy", "Install numpy.") from None

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
