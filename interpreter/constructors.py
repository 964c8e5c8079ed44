"""The data types beyond Python's basic ones, each written as a constructor's name and plain arguments.

A constructor is an object without attributes to set, so that a hostile pickle
that gets hold of one can do nothing but call it.
"""

import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from typing import TYPE_CHECKING, Any, Callable, Container, Dict, List, Optional, Tuple, Union

from . import arrays
from .errors import FormatError, ValueRefused

if TYPE_CHECKING:
    from .values import Context


class Constructor:
    """Makes values of one data type from plain arguments of the ``kinds`` given."""

    __slots__ = ("_context", "_kinds", "_make", "name")
    _context: "Optional[Context]"
    _kinds: "Tuple[Kind, ...]"
    _make: Callable[..., Any]
    name: str

    def __init__(
        self, make: Callable[..., Any], kinds: "Tuple[Kind, ...]", context: "Optional[Context]" = None
    ) -> None:
        for slot, value in (("_context", context), ("_kinds", kinds), ("_make", make), ("name", make.__name__)):
            object.__setattr__(self, slot, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise FormatError("the value tries to change how values are made")

    def __call__(self, *arguments: Any) -> Any:
        for argument, kind in zip(arguments, self._kinds):
            if not isinstance(argument, kind):  # a constructor may do much with what it was not made for
                raise FormatError("{} is given a {}".format(self.name, type(argument).__name__))
        return self._make(self._context, *arguments)

    def bind(self, context: "Context") -> "Constructor":
        """Return the same constructor, using the arrays and types of ``context``."""
        return Constructor(self._make, self._kinds, context)


Kind = Union[type, Tuple[type, ...]]
Reduction = Tuple[Constructor, Tuple[Any, ...]]
CONSTRUCTORS: Dict[str, Constructor] = {}
_NONE = type(None)
_TZDATA = "Install the tzdata package."


def _constructor(*kinds: Kind) -> Callable[[Callable[..., Any]], Constructor]:
    def register(make: Callable[..., Any]) -> Constructor:
        CONSTRUCTORS[make.__name__] = made = Constructor(make, kinds)
        return made

    return register


@_constructor(int)
def make_array(context: "Context", index: int) -> Any:
    return context.array(index)


@_constructor(str, int)
def make_reference(context: "Context", kind: str, number: int) -> Any:
    """Something that stays with its owner, such as a channel."""
    return context.refer(kind, number)


@_constructor(str, bytes)
def make_scalar(_: "Context", dtype: str, content: bytes) -> Any:
    return arrays.make_scalar(dtype, content)


@_constructor(object)
def make_element(_: "Context", array: Any) -> Any:
    return array[()]


@_constructor(str)
def make_constant(_: "Context", name: str) -> Any:
    return {"Ellipsis": Ellipsis, "NotImplemented": NotImplemented}[name]


@_constructor(bytes)
def make_bytearray(_: "Context", content: bytes = b"") -> bytearray:
    return bytearray(content)


CONSTRUCTORS["bytearray"] = make_bytearray


@_constructor(float, float)
def make_complex(_: "Context", real: float, imaginary: float) -> complex:
    return complex(real, imaginary)


@_constructor(int, int, int)
def make_range(_: "Context", start: int, stop: int, step: int) -> range:
    return range(start, stop, step)


@_constructor()
def make_slice(_: "Context", start: Any, stop: Any, step: Any) -> slice:
    return slice(start, stop, step)


@_constructor(int, int, int)
def make_date(_: "Context", year: int, month: int, day: int) -> datetime.date:
    return datetime.date(year, month, day)


@_constructor(int, int, int, int, (datetime.tzinfo, _NONE), int)
def make_time(_: "Context", hour: int, minute: int, second: int, microsecond: int, zone: Any, fold: int) -> Any:
    return datetime.time(hour, minute, second, microsecond, zone, fold=fold)


@_constructor(tuple, (datetime.tzinfo, _NONE), int)
def make_datetime(_: "Context", parts: Tuple[int, ...], zone: Any, fold: int) -> datetime.datetime:
    year, month, day, hour, minute, second, microsecond = parts
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


@_constructor(int, int, int)
def make_timedelta(_: "Context", days: int, seconds: int, microseconds: int) -> datetime.timedelta:
    return datetime.timedelta(days, seconds, microseconds)


@_constructor(datetime.timedelta, (str, _NONE))
def make_timezone(_: "Context", offset: datetime.timedelta, name: Optional[str]) -> datetime.timezone:
    return datetime.timezone(offset) if name is None else datetime.timezone(offset, name)


@_constructor(str)
def make_zone(_: "Context", key: str) -> Any:
    try:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError
    except ImportError:
        raise ValueRefused("the value holds the time zone {!r}; zoneinfo needs Python 3.9".format(key)) from None
    try:
        return ZoneInfo(key)
    except ZoneInfoNotFoundError:
        raise ValueRefused("the value holds the time zone {!r}, which is not here".format(key), _TZDATA) from None


@_constructor(str)
def make_decimal(_: "Context", text: str) -> decimal.Decimal:
    return decimal.Decimal(text)


@_constructor(int, int)
def make_fraction(_: "Context", numerator: int, denominator: int) -> fractions.Fraction:
    if denominator <= 0:
        raise FormatError("a fraction has the denominator {}".format(denominator))
    made: Any = object.__new__(fractions.Fraction)  # its own way divides by the gcd, which takes hours for long numbers
    made._numerator, made._denominator = numerator, denominator
    return made  # type: ignore[no-any-return]


@_constructor(int)
def make_uuid(_: "Context", number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


@_constructor(str, str)
def make_path(_: "Context", kind: str, text: str) -> pathlib.PurePath:
    return {"posix": pathlib.PurePosixPath, "windows": pathlib.PureWindowsPath, "here": pathlib.Path}[kind](text)


@_constructor(list)
def make_ordered(_: "Context", items: Any) -> Any:
    return collections.OrderedDict(items)


@_constructor(dict)
def make_counter(_: "Context", counts: Dict[Any, Any]) -> Any:
    return collections.Counter(counts)


@_constructor(list, (int, _NONE))
def make_deque(_: "Context", items: Any, length: Optional[int]) -> Any:
    return collections.deque(items, length)


@_constructor((str, _NONE), dict)
def make_defaultdict(_: "Context", factory: Optional[str], items: Dict[Any, Any]) -> Any:
    return collections.defaultdict(None if factory is None else _FACTORIES[factory], items)


@_constructor(str)
def make_enum(context: "Context", name: str, value: Any) -> Any:
    """An enum member travels by value: it is one again where its class is allowed."""
    kind = context.types.get(name)
    return kind(value) if kind is not None and issubclass(kind, enum.Enum) else value


@_constructor(str, dict)
def make_dataclass(context: "Context", name: str, fields: Dict[str, Any]) -> Any:
    kind = _allowed_type(context, name)
    made = kind.__new__(kind)
    known = _field_names(kind)
    for field, value in fields.items():
        if field not in known:
            raise FormatError("{} has no field {!r} here".format(name, field))
        object.__setattr__(made, field, value)
    return made


@_constructor(str, tuple)
def make_namedtuple(context: "Context", name: str, values: Tuple[Any, ...]) -> Any:
    kind = _allowed_type(context, name)
    fields = getattr(kind, "_fields", ())
    if len(values) != len(fields):
        raise FormatError("{} has {} fields here, not {}".format(name, len(fields), len(values)))
    return tuple.__new__(kind, values)


def _allowed_type(context: "Context", name: str) -> Any:
    try:
        return context.types[name]
    except KeyError:
        raise ValueRefused("the value holds a {}, which is not allowed".format(name)) from None


def _field_names(kind: Any) -> List[str]:
    if not hasattr(kind, "__dataclass_fields__"):
        return []
    from dataclasses import fields  # Python 3.6 has none, and so no dataclasses

    return [field.name for field in fields(kind)]


_FACTORIES: Dict[str, Any] = {
    kind.__name__: kind for kind in (bool, bytes, dict, float, frozenset, int, list, set, str, tuple)
}


def _path(value: pathlib.PurePath) -> Reduction:
    kind = "here" if isinstance(value, pathlib.Path) else "posix"
    if isinstance(value, pathlib.PureWindowsPath):
        kind = "windows"
    return make_path, (kind, str(value))


def _datetime(value: datetime.datetime) -> Reduction:
    parts = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
    return make_datetime, (parts, value.tzinfo, value.fold)


def _timezone(value: datetime.timezone) -> Reduction:
    offset = value.utcoffset(None)
    name = value.tzname(None)
    return make_timezone, (offset, None if name == datetime.timezone(offset).tzname(None) else name)


def _defaultdict(value: Any) -> Optional[Reduction]:
    factory = value.default_factory
    if factory is not None and _FACTORIES.get(getattr(factory, "__name__", "")) is not factory:
        return None
    return make_defaultdict, (factory and factory.__name__, dict(value))


_REDUCTIONS: Dict[type, Callable[[Any], Optional[Reduction]]] = {
    bytearray: lambda value: (make_bytearray, (bytes(value),)),
    complex: lambda value: (make_complex, (value.real, value.imag)),
    range: lambda value: (make_range, (value.start, value.stop, value.step)),
    slice: lambda value: (make_slice, (value.start, value.stop, value.step)),
    type(Ellipsis): lambda _: (make_constant, ("Ellipsis",)),
    type(NotImplemented): lambda _: (make_constant, ("NotImplemented",)),
    datetime.date: lambda value: (make_date, (value.year, value.month, value.day)),
    datetime.time: lambda value: (
        make_time,
        (value.hour, value.minute, value.second, value.microsecond, value.tzinfo, value.fold),
    ),
    datetime.datetime: _datetime,
    datetime.timedelta: lambda value: (make_timedelta, (value.days, value.seconds, value.microseconds)),
    datetime.timezone: _timezone,
    decimal.Decimal: lambda value: (make_decimal, (str(value),)),
    fractions.Fraction: lambda value: (make_fraction, (value.numerator, value.denominator)),
    uuid.UUID: lambda value: (make_uuid, (value.int,)),
    pathlib.PurePosixPath: _path,
    pathlib.PureWindowsPath: _path,
    type(pathlib.Path()): _path,
    collections.OrderedDict: lambda value: (make_ordered, (list(value.items()),)),
    collections.Counter: lambda value: (make_counter, (dict(value),)),
    collections.deque: lambda value: (make_deque, (list(value), value.maxlen)),
    collections.defaultdict: _defaultdict,
}


def reduction(value: Any, name: str, allowed: Container[str]) -> Optional[Reduction]:
    """Return the constructor and arguments that ``value`` is written as; None where it may not travel.

    ``name`` is its class's name, ``allowed`` the names of the user's types that may.
    """
    reduce = _REDUCTIONS.get(type(value))
    if reduce is not None:
        return reduce(value)
    is_allowed = name in allowed
    if isinstance(value, enum.Enum):
        return make_enum, (name, value.value)
    if is_allowed and hasattr(value, "__dataclass_fields__"):
        fields = [field for field in _field_names(value) if hasattr(value, field)]
        return make_dataclass, (name, {field: getattr(value, field) for field in fields})
    if is_allowed and isinstance(value, tuple):
        return make_namedtuple, (name, tuple(value))
    if type(value).__module__.partition(".")[0] == "zoneinfo" and getattr(value, "key", None):
        return make_zone, (value.key,)
    return None
