"""Values as data: what may travel, and how it is written.

A value is a pickle of protocol 4 that holds nothing but None, numbers, text,
bytes, lists, tuples, dicts, sets, and calls of the constructors in
``constructors.py`` with such values.  The constructors stand for the other data
types (dates, paths, decimals, arrays, ...) in a form that is the same in every
Python, since the pickles that Python itself makes of them differ between
versions.  A constructor's name is what counts; the module named beside it in the
pickle is ignored.

Arrays travel beside the pickle: the constructor ``make_array`` takes their index.
"""

import collections
import io
import pickle
import reprlib
import sys
from types import FunctionType
from typing import Any, Callable, Container, Dict, List, Mapping, Optional, Sequence, Tuple

from . import arrays
from .constructors import CONSTRUCTORS, Constructor, make_array, make_element, make_reference, make_scalar, reduction
from .errors import FormatError, ValueRefused
from .wire import Buffer, Message

PROTOCOL = 4
ARRAY_LIMIT = 100000
"""Arrays that a value may hold, so that the header can list them (wire.HEADER_LIMIT)."""
REMEDY = "Return plain data, sremote.allow(...) the type on the client, or set trust=True for the host."

Refer = Callable[[Any], Optional[Tuple[str, int]]]
Resolve = Callable[[str, int], Any]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200


def type_name(kind: type) -> str:
    """Return how a class is named in requests and messages: ``module:Qualified.name``."""
    return "{}:{}".format(kind.__module__, kind.__qualname__)


class _Encoder(pickle.Pickler):
    """Pickles plain data, and refuses anything else by raising ValueRefused."""

    def __init__(self, file: Any, allowed: Container[str], refer: "Optional[Refer]") -> None:
        super().__init__(file, PROTOCOL)
        self._allowed = allowed
        self._refer = refer
        self._sections: Dict[int, int] = {}
        self._kept: List[Any] = []
        self.arrays: List[List[Buffer]] = []
        if sys.version_info < (3, 8):
            self.dispatch_table = _Dispatch(self.reducer_override)

    if sys.version_info < (3, 8):

        def persistent_id(self, value: Any) -> None:
            """Refuse functions and classes, which are not looked up in the dispatch table."""
            if isinstance(value, (type, FunctionType)):
                raise _Refused(value)

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Constructor):
            return value.name
        if value is bytearray:  # how Python 3.8 and newer write one, without asking
            return "bytearray"
        if arrays.is_array(value):
            return make_array, (self._beside(value),)
        if arrays.is_scalar(value):
            return (
                (make_element, (arrays.as_array(value),))
                if value.dtype.names
                else (make_scalar, arrays.scalar_parts(value))
            )
        reference = None if self._refer is None else self._refer(value)
        if reference is not None:
            return make_reference, reference
        reduced = reduction(value, type_name(type(value)), self._allowed)
        if reduced is None:
            raise _Refused(value)
        return reduced

    def _beside(self, value: Any) -> int:
        if id(value) not in self._sections:
            self._sections[id(value)] = len(self.arrays)
            self._kept.append(value)
            self.arrays.append(arrays.to_buffers(value))
        return self._sections[id(value)]


class _Dispatch:
    """Stands in for ``reducer_override`` before Python 3.8, which lacks it."""

    def __init__(self, reduce: Callable[[Any], Any]) -> None:
        self._reduce = reduce

    def __getitem__(self, kind: type) -> Callable[[Any], Any]:
        return self._reduce


class _Refused(Exception):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class _Decoder(pickle.Unpickler):
    """Unpickles plain data: no name leads anywhere but to a constructor."""

    def __init__(self, file: Any, context: "Context") -> None:
        super().__init__(file)
        self._context = context

    def find_class(self, module: str, name: str) -> Any:
        constructor = CONSTRUCTORS.get(name)
        if constructor is None:
            raise ValueRefused("the value refers to {}.{}, which is not plain data".format(module, name), REMEDY)
        return constructor.bind(self._context)

    def persistent_load(self, identity: Any) -> Any:
        raise FormatError("the value refers to something outside itself")


class Context:
    """What constructors may use: the arrays beside the pickle, the allowed types by name, what references lead to."""

    def __init__(
        self, buffers: Sequence[memoryview], types: Mapping[str, type], resolve: "Optional[Resolve]" = None
    ) -> None:
        self._buffers = buffers
        self._arrays: Dict[int, Any] = {}
        self.types = types
        self._resolve = resolve

    def refer(self, kind: str, number: int) -> Any:
        """Return what a reference leads to."""
        if self._resolve is None:
            raise ValueRefused("the value refers to a {}, which travels over channels only".format(kind))
        return self._resolve(kind, number)

    def array(self, index: int) -> Any:
        if index not in self._arrays:
            self._arrays[index] = arrays.from_buffer(self._buffers[index])
        return self._arrays[index]


def encode(
    message: Message, section: str, value: Any, allowed: Container[str] = (), refer: "Optional[Refer]" = None
) -> None:
    """Add ``value`` to ``message``: its arrays, and its pickle as ``section``.

    ``allowed`` holds the names (``type_name``) of the user's types that may travel.
    ``refer`` is asked about each object that is not of a basic type: it returns a kind
    and a number where the object stays here and only a reference to it travels.
    Raises ValueRefused, naming the first thing in ``value`` that may not and where
    it stands.
    """
    file = io.BytesIO()
    encoder = _Encoder(file, allowed, refer)
    try:
        encoder.dump(value)
    except _Refused as refused:
        place = _place(value, refused.value) or ""
        kind = type(refused.value)
        what = "a {}.{}".format(kind.__module__, kind.__qualname__)
        if isinstance(refused.value, type) or callable(refused.value):
            what = "{}, which is code".format(_SHORT.repr(refused.value))
        raise ValueRefused("value{} is {}: not plain data".format(place, what), REMEDY) from None
    except RecursionError:
        raise ValueRefused("the value is nested too deeply, or holds itself", "Flatten it.") from None
    if len(encoder.arrays) > ARRAY_LIMIT:
        raise ValueRefused("the value holds {} numpy arrays".format(len(encoder.arrays)), "Stack them into one.")
    for buffers in encoder.arrays:
        message.add(section + ".array", *buffers)
    message.add(section, file.getvalue())


def decode(message: Message, section: str, types: Mapping[str, type], resolve: "Optional[Resolve]" = None) -> Any:
    """Return the value that ``encode`` added as ``section``; ``types`` are the allowed ones by name.

    ``resolve`` is given the kind and the number of each reference, and returns what it leads to.
    Raises FormatError where it is damaged, ValueRefused where it is not plain data.
    """
    context = Context(message.all(section + ".array"), types, resolve)
    file = io.BytesIO(message.get(section))
    try:
        return _Decoder(file, context).load()
    except (FormatError, ValueRefused):
        raise
    except Exception as error:
        raise FormatError("the value is damaged: {}: {}".format(type(error).__name__, error)) from None


def _place(value: Any, wanted: Any, limit: int = 100000) -> Optional[str]:
    """Return the expression that leads from ``value`` to ``wanted``, such as ``[0]['a']``."""
    queue: List[Tuple[Any, str]] = [(value, "")]
    seen = set()
    for item, place in queue:
        if item is wanted:
            return place
        if id(item) in seen or len(queue) > limit:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            queue.extend((key, "{} key".format(place)) for key in dict.keys(item))
            queue.extend((entry, "{}[{}]".format(place, _SHORT.repr(key))) for key, entry in dict.items(item))
        elif isinstance(item, (list, tuple, collections.deque)):
            queue.extend((entry, "{}[{}]".format(place, index)) for index, entry in enumerate(item))
        elif isinstance(item, (set, frozenset)):
            queue.extend((entry, "{} element".format(place)) for entry in item)
        elif hasattr(item, "__dict__") and hasattr(type(item), "__dataclass_fields__"):
            queue.extend((entry, "{}.{}".format(place, name)) for name, entry in vars(item).items())
    return None
