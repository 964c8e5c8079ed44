"""The host's end of remote objects: calls of functions and methods, in as many threads as the client wants.

Each thread of the client has a channel, and here a thread that serves it, request by
request, in order.  All of them share the objects that stay here.

A request is a list: its kind, what it is about (the number of an object, or 0), a name, a list of
positional and a dict of keyword arguments, and a list of the objects that the client
holds no longer, each with how many times it had come.  An answer is the value, or the
error as a response has it.  CLASS and a JSON list come before an answer that holds an
object of a class that this channel has not told of.
"""

import json
import threading
import zlib
from types import FunctionType
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from .channel import Channel
from .errors import ChannelClosed, ValueRefused
from .execution import AllowedTypes
from .failures import describe
from .object_definitions import is_common
from .object_exports import Exports, exports_of
from .object_scope import Scope, describe_value, load
from .object_values import OBJECT, Table, read, write
from .wire import Buffer, Message

CLASS = b"C"
"""Before a JSON list: the number of a class, and what it exports."""
COMPRESSED = b"Z"
"""Before a message that zlib has made smaller."""
SMALL = 512
"""Bytes of a message that are not worth compressing."""


class _Held:
    """An object that stays here as long as the client has a proxy of it."""

    __slots__ = ("count", "exports", "value")

    def __init__(self, value: Any, exports: Exports) -> None:
        self.value = value
        self.exports = exports
        self.count = 0


class Objects:
    """The objects that one client holds."""

    def __init__(self, definitions: str, allowed: List[str]) -> None:
        self.scope = Scope(definitions)
        self.allowed = frozenset(allowed)
        self.types = AllowedTypes(self.allowed)
        self._lock = threading.Lock()
        self._held: Dict[int, _Held] = {}
        self._numbers: Dict[int, int] = {}
        self._next = 1
        self._classes: Dict[int, Exports] = {}
        self._class_numbers: Dict[int, int] = {}

    def hold(self, value: Any, exports: Exports) -> Tuple[int, int]:
        """Keep an object for the client; return the numbers of its class and its own."""
        with self._lock:
            number = self._numbers.get(id(value))
            if number is None:
                number, self._next = self._next, self._next + 1
                self._numbers[id(value)] = number
                self._held[number] = _Held(value, exports)
            held = self._held[number]
            held.count += 1
            kind = self._class_numbers.get(id(held.exports))
            if kind is None:
                kind = self._class_numbers[id(held.exports)] = len(self._classes)
                self._classes[kind] = held.exports
            return kind, number

    def release(self, number: int, count: int) -> None:
        """Forget an object once the client holds nothing of what it was given."""
        with self._lock:
            held = self._held.get(number)
            if held is None:
                return
            held.count -= count
            if held.count <= 0:
                del self._held[number], self._numbers[id(held.value)]
        del held  # outside the lock: its end may run any code

    def exports(self, kind: int) -> Exports:
        """Return what a class exports, by its number."""
        return self._classes[kind]

    def get(self, number: int) -> _Held:
        """Return an object that the client holds.  Raises ReferenceError."""
        try:
            return self._held[number]
        except KeyError:
            raise ReferenceError("there is no object {} here any more".format(number)) from None

    def __len__(self) -> int:
        return len(self._held)


class Lane:
    """One channel and its thread."""

    def __init__(self, channel: Optional[Channel], objects: Objects, compress: bool) -> None:
        self._channel = channel
        self._objects = objects
        self._compress = compress
        self._told: Set[int] = set()
        self._given: List[Tuple[int, int]] = []
        scope = objects.scope
        self._kinds: Dict[str, Callable[[int, str, List[Any], Dict[str, Any]], Any]] = {
            "call": lambda _, name, args, kwargs: scope.find(name)(*args, **kwargs),
            "method": self._method,
            "get": self._get,
            "set": self._set,
            "member": self._member,
            "eval": lambda _, source, *__: scope.evaluate(source),
            "exec": lambda _, source, *__: scope.execute(source),
            "define": lambda _, name, args, __: scope.define(name, *args),
            "import": lambda _, name, *__: scope.import_module(name),
            "value": lambda _, name, *__: scope.find(name),
            "assign": lambda _, name, args, __: scope.assign(name, *args),
            "count": lambda *_: len(objects),
            "ping": lambda *_: None,
        }

    def serve(self) -> None:
        """Answer requests until the channel is closed."""
        channel = self._channel
        assert channel is not None
        while True:
            try:
                data = channel.receive_bytes()
            except EOFError:
                return
            answer = self._answer(data)
            try:
                for text in self._news():
                    channel.send_bytes([CLASS + text])
                channel.send_bytes(answer)
            except ChannelClosed:
                return
            del data, answer  # so that nothing is held while it waits

    def answer_directly(self, request: bytes) -> List[Any]:
        """Return what is new about classes, and the answer."""
        answer = self._answer(request)
        return [self._news(), bytes(answer[0]) if len(answer) == 1 else b"".join(bytes(each) for each in answer)]

    def _answer(self, data: Buffer) -> List[Buffer]:
        answer = self._answer_plainly(data)
        return shortened(answer) if self._compress else answer

    def _answer_plainly(self, data: Buffer) -> List[Buffer]:
        self._given = []
        try:
            result = self._carry_out(data)
            return write(result, {}, self._objects.allowed, Table(self._refer, describe_value), ask_first=True)
        except ValueRefused as error:
            self._take_back()
            return Message({"outcome": "unencodable", "text": error.message}).chunks()
        except BaseException as error:
            self._take_back()
            message = Message({"outcome": "raised", "format": 1, "kind": "response"})
            message.header["error"] = describe(error, message, self._objects.allowed)
            return message.chunks()

    def _take_back(self) -> None:
        for _, number in self._given:
            self._objects.release(number, 1)
        self._given = []

    def _carry_out(self, data: Buffer) -> Any:
        request, _ = read(expanded(data), self._objects.types, self._resolve, load)
        kind, number, name, args, kwargs, released = request
        for each, count in released:
            self._objects.release(each, count)
        return self._kinds[kind](number, name, args, kwargs)

    def _refer(self, value: Any) -> Optional[Tuple[str, int]]:
        exports = exports_of(value)
        if exports is None or (isinstance(value, FunctionType) and is_common(value)):
            return None
        kind, number = self._objects.hold(value, exports)
        self._given.append((kind, number))
        return "{} {}".format(OBJECT, kind), number

    def _resolve(self, _: str, number: int) -> Any:
        return self._objects.get(number).value

    def _news(self) -> List[bytes]:
        """Return what the client is to learn of the classes of the objects in the latest answer."""
        news = []
        for kind, _ in self._given:
            if kind not in self._told:
                self._told.add(kind)
                news.append(json.dumps([kind, self._objects.exports(kind).described()]).encode("utf-8"))
        return news

    # What is asked of an object

    def _method(self, number: int, name: str, args: List[Any], kwargs: Dict[str, Any]) -> Any:
        held = self._objects.get(number)
        if name not in held.exports.methods:
            raise _not_exported(held, name)
        if name in _BUILT_IN:
            return _BUILT_IN[name](held.value, *args)
        return getattr(held.value, name)(*args, **kwargs)

    def _get(self, number: int, name: str, *_: Any) -> Any:
        held = self._objects.get(number)
        if not held.exports.has_attribute(name):
            raise _not_exported(held, name)
        return getattr(held.value, name)

    def _set(self, number: int, name: str, args: List[Any], _: Any) -> None:
        held = self._objects.get(number)
        if not held.exports.has_attribute(name):
            raise _not_exported(held, name)
        setattr(held.value, name, args[0])

    def _member(self, number: int, name: str, *_: Any) -> Any:
        """Return whether a name is that of a method, and else its value."""
        held = self._objects.get(number)
        if name in held.exports.methods:
            return [True, None]
        return [False, self._get(number, name)]


def _not_exported(held: _Held, name: str) -> AttributeError:
    return AttributeError("{!r} object exports no {!r}".format(held.exports.name, name))


_BUILT_IN: Dict[str, Callable[..., Any]] = {
    "__iter__": iter,
    "__next__": next,
    "__len__": len,
    "__bool__": bool,
    "__str__": str,
    "__bytes__": bytes,
    "__reversed__": reversed,
}
"""Methods that Python calls in ways of its own, some of which exist without being written."""


class Group:
    """A client: its objects, and the lane of the main thread, which needs no channel."""

    def __init__(self, objects: Objects, main: "Lane", compress: bool) -> None:
        self.objects = objects
        self.main = main
        self.compress = compress


_groups: Dict[str, Group] = {}


def begin(group: str, definitions: str, allowed: List[str], compress: bool) -> None:
    """Make ready for a client, before anything else of it."""
    objects = Objects(definitions, allowed)
    _groups[group] = Group(objects, Lane(None, objects, compress), compress)


def serve(channel: Channel, group: str) -> None:
    """Serve one thread of a client."""
    found = _groups[group]
    Lane(channel, found.objects, found.compress).serve()


def answer(group: str, request: bytes) -> List[Any]:
    """Answer a request of the main thread: return what to learn of classes, and the answer."""
    return _groups[group].main.answer_directly(request)


def shortened(buffers: List[Buffer]) -> List[Buffer]:
    """Return a message smaller, where that is worth it."""
    if sum(len(memoryview(each).cast("B")) for each in buffers) <= SMALL:
        return buffers
    return [COMPRESSED + zlib.compress(b"".join(bytes(each) for each in buffers), 1)]


def expanded(data: Buffer) -> Buffer:
    """Return a message as it was before ``shortened``."""
    return zlib.decompress(memoryview(data)[1:]) if bytes(data[:1]) == COMPRESSED else data
