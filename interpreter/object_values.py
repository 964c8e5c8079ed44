"""Values between two sides that share code and hold each other's objects.

A value is written as for any call (values.py), with references for the rest:

    object C, number   an object that stays at the host: the number of what it exports, and its own
    common, index      an entry of the table beside the value

The table lists, in the message's header, functions and classes by name, and instances
of common classes with the name of their class.  What an instance is made of follows in sections:
``new N``, the arguments that it is made with, where it has some, and ``state N``, a list of
its state, its items as a list has them, and its items as a dict has them.
"""

from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from .errors import FormatError, ValueRefused
from .values import decode, encode
from .wire import Buffer, Message, parse

NAME = "name"
"""In the table: a function, class or module by its name."""
NEW = "new"
"""In the table: an instance, made without its ``__init__``."""
CALL = "call"
"""In the table: an instance that its class makes of arguments, as it asked for with ``__reduce__``."""

OBJECT = "object"
"""What the kind of a reference to an object begins with."""

_PICKLE = b"\x80\x04"

Entry = Tuple[str, str]
Reference = Tuple[str, int]
ReferObject = Callable[[Any], Optional[Reference]]
"""Returns the reference to an object that stays at the host; None for any other."""
ResolveObject = Callable[[str, int], Any]
Describe = Callable[[Any], Optional[Entry]]
"""Returns how a value stands in the table; None where it does not."""


class Table:
    """What stands beside a value that is being written."""

    def __init__(self, refer_object: ReferObject, describe: Describe) -> None:
        self._refer_object = refer_object
        self._describe = describe
        self._numbers: Dict[int, int] = {}
        self.values: List[Any] = []
        self.entries: List[Entry] = []

    def refer(self, value: Any) -> Optional[Reference]:
        """Return the reference that stands for a value; None where it is plain data, or cannot travel."""
        reference = self._refer_object(value)
        if reference is not None:
            return reference
        index = self._numbers.get(id(value))
        if index is None:
            entry = self._describe(value)
            if entry is None:
                return None
            index = self._numbers[id(value)] = len(self.values)
            self.values.append(value)
            self.entries.append(entry)
        return "common", index


def write(value: Any, header: Dict[str, Any], allowed: Any, table: Table, *, ask_first: bool = False) -> List[Buffer]:
    """Return a value as buffers; as a bare pickle where there is neither ``header``, array nor table.

    With ``ask_first`` a plain container or function may be one that stays here, too.
    """
    message = Message(header)
    # The pickler asks of no plain container, and before Python 3.8 of no function.
    asked = ask_first and (isinstance(value, (list, dict, set, tuple)) or callable(value))
    top = table.refer(value) if asked else None
    if top is not None:
        header["top"] = list(top)
    else:
        encode(message, "value", value, allowed, table.refer)
    done = 0
    while done < len(table.values):  # and their parts may bring further ones
        kind = table.entries[done][0]
        if kind != NAME:
            made_of, state = _take_apart(kind, table.values[done])
            if made_of:
                encode(message, "new {}".format(done), made_of, allowed, table.refer)
            if state is not None:
                encode(message, "state {}".format(done), state, allowed, table.refer)
        done += 1
    if table.entries:
        header["table"] = [list(entry) for entry in table.entries]
    if not header and len(message.sections) == 1:
        return list(message.sections[0][1])
    return message.chunks()


def kind_of(value: Any) -> str:
    """Return how an instance is taken apart, NEW or CALL.  Raises what its class raises where it cannot be."""
    if isinstance(value, BaseException):
        return NEW
    function = value.__reduce_ex__(4)[0]
    return NEW if getattr(function, "__name__", "") in ("__newobj__", "__newobj_ex__") else CALL


def _take_apart(kind: str, value: Any) -> Tuple[Optional[List[Any]], Optional[List[Any]]]:
    """Return what an instance is made with, and its state and items."""
    if isinstance(value, BaseException):
        return [list(value.args), {}], [dict(vars(value)), None, None]
    function, arguments, *rest = value.__reduce_ex__(4)
    state, items, pairs = (rest + [None, None, None])[:3]
    parts = [state, None if items is None else list(items), None if pairs is None else [list(each) for each in pairs]]
    wanted = parts if parts != [None, None, None] else None
    if kind == CALL:
        if function is not type(value):
            raise ValueRefused("a {} is made by {!r}, not by its class".format(type(value).__name__, function))
        return [list(arguments), {}], wanted
    keywords = arguments[2] if function.__name__ == "__newobj_ex__" else {}
    positional = arguments[1] if function.__name__ == "__newobj_ex__" else arguments[1:]
    return ([list(positional), keywords] if positional or keywords else None), wanted


class _Rebuilding:
    """Makes a value again from a message."""

    def __init__(
        self,
        message: Message,
        types: Mapping[str, type],
        resolve_object: ResolveObject,
        load: Callable[[str, str], Any],
        check: Callable[[Any], None],
    ) -> None:
        self._message = message
        self._types = types
        self._resolve_object = resolve_object
        self._load = load
        self._check = check
        self._made: Dict[int, Any] = {}
        self._entries = message.header.get("table") or []

    def value(self) -> Any:
        for index in range(len(self._entries)):
            self._make(index)
        for index in reversed(range(len(self._entries))):
            if self._message.has("state {}".format(index)):
                self._set_state(self._made[index], self._decode("state {}".format(index)))
        top = self._message.header.get("top")
        return self._decode("value") if top is None else self._resolve(*top)

    def _decode(self, section: str) -> Any:
        self._check(self._message.get(section))
        return decode(self._message, section, self._types, self._resolve)

    def _resolve(self, kind: str, number: int) -> Any:
        if kind.startswith(OBJECT):
            return self._resolve_object(kind, number)
        if kind != "common" or not 0 <= number < len(self._entries):
            raise FormatError("the value refers to {} {}, which is not there".format(kind, number))
        return self._make(number)

    def _make(self, index: int) -> Any:
        if index in self._made:
            return self._made[index]
        kind, name = self._entries[index]
        found = self._load(kind, name)
        if kind == NAME:
            self._made[index] = found
            return found
        section = "new {}".format(index)
        arguments, keywords = self._decode(section) if self._message.has(section) else ([], {})
        if index not in self._made:
            made = found(*arguments, **keywords) if kind == CALL else found.__new__(found, *arguments, **keywords)
            if isinstance(made, BaseException) and kind == NEW:
                made.args = tuple(arguments)
            self._made[index] = made
        return self._made[index]

    def _set_state(self, made: Any, parts: Any) -> None:
        state, items, pairs = parts
        if items is not None:
            made.extend(items)
        for key, value in pairs or ():
            made[key] = value
        if state is None:
            return
        if hasattr(made, "__setstate__") and not isinstance(made, BaseException):
            made.__setstate__(state)
            return
        slots: Dict[str, Any] = {}
        if isinstance(state, tuple) and len(state) == 2:
            state, slots = state
        if state:
            vars(made).update(state)
        for name, value in (slots or {}).items():
            setattr(made, name, value)


def read(
    data: Buffer,
    types: Mapping[str, type],
    resolve_object: ResolveObject,
    load: Callable[[str, str], Any],
    check: Callable[[Any], None] = lambda _: None,
) -> Tuple[Any, Message]:
    """Return the value that ``write`` made ``data`` of, and its message; None for one that tells of an error.

    ``resolve_object`` gives what a number stands for, ``load`` what stands under a
    name, ``check`` looks at each pickle before it is read.
    """
    message = Message({}, [("value", [data])]) if bytes(data[:2]) == _PICKLE else parse(data)
    if "outcome" in message.header:
        return None, message
    return _Rebuilding(message, types, resolve_object, load, check).value(), message
