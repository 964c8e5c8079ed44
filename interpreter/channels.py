"""The channels of one end of a session, by number.

The thread that reads the line hands over each frame, and never waits for anything
here.  The courier, a thread of its own, calls the callbacks, and closes the channels
that nobody holds on to any more.
"""

import json
import pickle
import sys
import threading
import traceback
import weakref
from collections import deque
from typing import Any, Callable, Container, Deque, Dict, List, Mapping, Optional, Tuple

from . import frames
from .bells import Bell
from .channel import Channel
from .errors import FormatError, SremoteError, ValueRefused
from .failures import describe
from .functions import Refusal
from .values import PROTOCOL, decode, encode
from .wire import Buffer, Message, parse

Write = Callable[[int, int, Buffer], None]
"""Sends a frame: kind, number, payload."""
MOST_ANNOUNCED = 100000
"""Channels that may be on their way in values that nobody has received."""
_PICKLE = b"\x80\x04"
"""What the value of an item begins with where it needs no message around it."""
_GLOBAL = b"\x93"
"""The opcode of names, without which a pickle of plain data names none."""
_SCALARS = frozenset((type(None), bool, int, float, str, bytes))
"""Types whose pickles are plain data, whoever writes them."""
_ROOM = frames.CHUNK // 16
"""Characters of each text in a CLOSE frame, so that they fit it, however they are written."""


class RemoteError(SremoteError):
    """The other side closed the channel with an error."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        super().__init__(error_text(described))
        self.traceback = str(described.get("traceback") or "")
        """The traceback over there; empty where there is none."""


def error_text(described: Mapping[str, Any]) -> str:
    """Return an error of a CLOSE frame as one text, as the last line of a traceback has it."""
    kind = str(described.get("type") or "").replace(":", ".")
    if kind.startswith("builtins."):
        kind = kind[len("builtins.") :]
    return "{}: {}".format(kind, described.get("text")) if kind else str(described.get("text"))


class Channels:
    """Makes, finds and ends channels.

    ``write`` sends a frame; ``first`` is the first number of channels made at this
    end; ``owner`` is what ``Channel.gateway`` gives.
    """

    channel_class = Channel

    def __init__(self, write: Write, first: int, owner: Any = None) -> None:
        self.write = write
        self.owner = owner
        self.error: Optional[Exception] = None
        """What has ended the session."""
        self._next = first
        self._lock = threading.Lock()
        self._channels: "weakref.WeakValueDictionary[int, Channel]" = weakref.WeakValueDictionary()
        self._announced: Dict[int, Channel] = {}
        self._dropped: Deque[int] = deque()
        self._to_call: Deque[Channel] = deque()
        self._with_callback: Dict[int, Channel] = {}
        self._bell = Bell()
        self._courier: Optional[threading.Thread] = None

    def __len__(self) -> int:
        """How many channels are open."""
        return len(self._channels)

    def number(self) -> int:
        """Return the next number of this end."""
        with self._lock:
            self._next += 2
            return self._next - 2

    def new(self) -> Channel:
        """Make a channel; the other end of it is there once it has been sent over another one."""
        return self.open(self.number())

    def open(self, number: int) -> Channel:
        """Make this end of the channel of that number."""
        if self.error is not None:
            raise self.error
        channel = self.channel_class(self, number)
        with self._lock:
            self._channels[number] = channel
            self._have_courier()
        return channel

    def forget(self, channel: Channel) -> None:
        """Drop what may still come for a channel that was closed here."""
        self._channels.pop(channel.number, None)
        self._with_callback.pop(channel.number, None)

    def end(self, error: Exception, *, quietly: bool = False) -> None:
        """End all channels: the session is over, because of ``error``; ``quietly`` receivers get EOFError for it."""
        self.error = self.error or error
        for channel in list(self._channels.values()):
            channel.end(None if quietly else error)
        self._announced.clear()
        self._bell.ring()

    # What the thread that reads the line hands over

    def handle(self, kind: int, number: int, payload: memoryview) -> None:
        """Take a frame of a channel; one that was closed here drops it.  Never waits."""
        if kind == frames.ANNOUNCE:
            self._announce(number)
            return
        channel = self._channels.get(number)
        if channel is None:
            return
        if kind in (frames.ITEM, frames.PART):
            channel.take(kind, payload)
        elif kind == frames.CREDIT:
            channel.grant(payload)
        elif kind == frames.CLOSE:
            self._channels.pop(number, None)
            channel.end(self.read_error(payload) if payload else None)

    def _announce(self, number: int) -> None:
        if number in self._channels:
            return
        if len(self._announced) >= MOST_ANNOUNCED:
            raise FormatError("the stream is damaged: too many channels are announced")
        self._announced[number] = self.open(number)

    # Values

    def encode(self, value: Any) -> List[Buffer]:
        """Return a value as the buffers to send.  Raises ValueRefused where it cannot travel."""
        if type(value) in _SCALARS:
            return [pickle.dumps(value, PROTOCOL)]
        message = Message({})
        encode(message, "value", value, self.allowed(), self._refer)
        if len(message.sections) == 1:
            return list(message.sections[0][1])
        return message.chunks()

    def decode(self, data: "bytes | bytearray") -> Any:
        """Return the value that ``encode`` made ``data`` of."""
        if not data.startswith(_PICKLE):
            message = parse(data)
            self.check(message.get("value"))
            return decode(message, "value", self.types(), self._resolve)
        self.check(data)
        if _GLOBAL not in data:
            return pickle.loads(data)
        return decode(Message({}, [("value", [data])]), "value", self.types(), self._resolve)

    def check(self, data: "bytes | bytearray | memoryview") -> None:
        """Raise FormatError where a pickle is not plain data; what a client sends is code anyway."""

    def allowed(self) -> Container[str]:
        """Return the names of the user's types that may travel."""
        return ()

    def types(self) -> Mapping[str, type]:
        """Return the same types by name."""
        return {}

    def _refer(self, value: Any) -> Optional[Tuple[str, int]]:
        if not isinstance(value, Channel):
            return None
        if value._channels is not self:
            raise ValueRefused("a channel of another session cannot be sent", "Send one of this session's.")
        if value.number in self._channels:
            self.write(frames.ANNOUNCE, value.number, b"")
        return "channel", value.number

    def _resolve(self, kind: str, number: int) -> Any:
        if kind != "channel":
            raise ValueRefused("the value refers to a {}, which is unknown here".format(kind))
        announced = self._announced.pop(number, None)  # which may have been closed already, with what was sent on it
        channel = self._channels.get(number) or announced
        if channel is None:  # it was closed before this value was received
            channel = self.channel_class(self, number)
            channel.end(None)
        return channel

    # Errors

    def describe(self, error: Any) -> bytes:
        """Return an error, a text or an exception, as the payload of a CLOSE frame."""
        if isinstance(error, BaseException):
            found = describe(error, Message({}))
        else:
            found = {"type": "", "text": str(error), "traceback": ""}
        described = {name: _shortened(found[name]) for name in ("type", "text", "traceback")}
        if isinstance(error, Refusal):
            described = {"type": "", "text": str(error), "traceback": "", "reason": error.reason}
        return json.dumps(described, ensure_ascii=False).encode("utf-8", "backslashreplace")

    def read_error(self, payload: memoryview) -> Exception:
        """Return the exception that a CLOSE frame tells of."""
        try:
            described = json.loads(bytes(payload).decode("utf-8"))
        except ValueError:
            described = None
        if not isinstance(described, dict):
            raise FormatError("the stream is damaged: a channel's error cannot be read")
        return self.remote_error(described)

    def remote_error(self, described: Mapping[str, Any]) -> Exception:
        """Return the exception for an error with the keys type, text and traceback."""
        return RemoteError(described)

    def report(self, channel: Channel, error: Exception) -> None:
        """Tell of an error that a callback has raised."""
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        sys.stderr.write("sremote: the callback of {!r} has failed; {}".format(channel, "".join(lines)))

    # The courier

    def drop(self, number: int) -> None:
        """Have a channel closed that nobody holds on to any more; may be called from a finalizer."""
        self._dropped.append(number)
        self._bell.ring()

    def call_back(self, channel: Channel) -> None:
        """Have a channel's callback called with what has come."""
        if not channel._called_back:
            self._with_callback[channel.number] = channel
        self._to_call.append(channel)
        with self._lock:
            self._have_courier()
        self._bell.ring()

    def is_courier(self) -> bool:
        """Say whether this is the thread that calls the callbacks."""
        return threading.current_thread() is self._courier

    def _have_courier(self) -> None:
        """Start the courier where there is none, or it has ended with the session; with the lock."""
        if self._courier is None:
            self._courier = threading.Thread(target=self._deliver, name="sremote channels", daemon=True)
            self._courier.start()

    def _deliver(self) -> None:
        while True:
            with self._lock:
                if self.error is not None and not self._to_call:
                    self._courier = None
                    return
            self._bell.wait()
            while self._to_call:
                channel = self._to_call.popleft()
                channel.call_back()
                if channel._called_back:
                    self._with_callback.pop(channel.number, None)
                del channel
            while self._dropped:
                try:
                    self.write(frames.CLOSE, self._dropped.popleft(), b"")
                except (OSError, SremoteError):
                    self._dropped.clear()


def _shortened(text: Any) -> str:
    text = str(text)
    return text if len(text) <= _ROOM else "{}\n[…]\n{}".format(text[: _ROOM // 2], text[-_ROOM // 2 :])
