"""A living process on a host: what it imports and makes stays, and a call costs one bare message.

Nothing of it is durable: when the line drops, the process ends.  For that there is
``Client.call``.
"""

from __future__ import annotations

import json
import secrets
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Self

from sremote.allowed import allowed_types
from sremote.arguments import add_arguments, split_arguments
from sremote.channel import Channel, ClientChannels
from sremote.connectors.base import OutputSink
from sremote.errors import ConnectionLost, SremoteError, UsageError, WalltimeExceeded
from sremote.functions import add_function, add_text
from sremote.host import Host
from sremote.interpreter import frames
from sremote.interpreter.channels import Write
from sremote.interpreter.values import decode
from sremote.interpreter.wire import Header, Message
from sremote.line import Call
from sremote.pickle_grammar import check_pickle
from sremote.response import Response
from sremote.session_line import Answer, SessionLine
from sremote.stream import lost

_NAME = struct.Struct(">H")
_SIZE = struct.Struct(">Q")
EXECMODELS = {"thread": "own", "main_thread_only": "main", "main_thread_first": "free"}
"""Where code that ``remote_exec`` sends runs: each in a thread of its own; one after the other in
the main thread, as calls do; or in the main thread where that is idle, else in a thread of its own."""


class Session:
    """Made by ``Client.session``.  Calls run one after the other, whichever thread makes them.

    Code that ``remote_exec`` starts runs beside them, and talks over its channel.
    """

    def __init__(
        self,
        host: Host,
        surroundings: Header,
        *,
        preload: Sequence[str] = (),
        output: OutputSink | None = None,
        execmodel: str = "thread",
        channels: Callable[[Write, str, str, object], ClientChannels] = ClientChannels,
        owner: object = None,
        name: str = "",
    ) -> None:
        """``execmodel`` says where ``remote_exec`` runs code, see EXECMODELS.

        ``channels`` makes the channels of this end, whose ``gateway`` is then ``owner``
        (default: the session); ``name`` is what the gateway over there is called.
        """
        if execmodel not in EXECMODELS:
            raise UsageError(f"there is no execmodel {execmodel!r}", f"Those there are: {', '.join(EXECMODELS)}.")
        self.id = "session-" + secrets.token_hex(8)
        self._thread = EXECMODELS[execmodel]
        self.host = host
        self._allowed = sorted(allowed_types)
        self._lock = threading.Lock()
        options = {
            "id": self.id,
            "surroundings": surroundings,
            "preload": list(preload),
            "allow": self._allowed,
            "name": name,
            "execmodel": execmodel,
        }
        first = frames.pack(frames.SESSION, 0, json.dumps(options).encode())
        self._line = SessionLine(host, first, output, lambda write: channels(write, host.where, self.id, owner or self))
        try:
            self._wait(Answer(0, self.id))
        except BaseException as error:
            self._line.kill(error if isinstance(error, SremoteError) else lost(host))
            raise

    def call(
        self,
        module: str,
        function: str,
        args: Sequence[Any] | Mapping[str, Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> Any:
        """Call ``module.function`` in the session's process and return its value, as ``Client.call`` does in a new one.

        At the ``timeout``, in seconds, and on an interrupt, the whole session ends.
        """
        positional, keywords = split_arguments(args, kwargs)
        request = Message({"target": {"kind": "name", "module": module, "function": function}})
        add_arguments(request, positional, keywords, allowed_types)
        return self._call(request, timeout)

    def call_function(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function of this program in the session's process, sent by value; see ``Client.call_function``."""
        request = Message({})
        request.header["target"] = add_function(request, function, self.host, allowed_types, (args, kwargs))
        add_arguments(request, list(args), kwargs, allowed_types)
        return self._call(request, None)

    def remote_exec(self, source: str | Callable[..., Any] | ModuleType, /, **kwargs: Any) -> Channel:
        """Run code in a thread of the session's process, beside all else there, and return a channel to it.

        ``source`` is Python source that finds its end of the channel as ``channel``, a
        module of this program whose source is sent so, or a function that is called
        with the channel and ``kwargs``.  When the code ends, the channel is closed.
        What it raised is raised here as RemoteError by ``receive`` and ``waitclose``.
        """
        request = Message({})
        if isinstance(source, str | ModuleType):
            if kwargs:
                raise UsageError("arguments go with a function, not with source text or a module")
            add_text(request, source)
        else:
            request.header["target"] = add_function(request, source, self.host, allowed_types, kwargs)
        return self._open(request, kwargs, self._thread)

    def open_channel(self, module: str, function: str, /, *, thread: str = "own", **kwargs: Any) -> Channel:
        """As ``remote_exec``, for a function that the host has, by name; it is called with its channel first.

        ``thread`` is "own", or "main" for the thread that makes the session's calls, which wait then.
        """
        request = Message({"target": {"kind": "name", "module": module, "function": function}})
        return self._open(request, kwargs, thread)

    def newchannel(self) -> Channel:
        """Make a channel, to be sent over another one; whoever receives it has the other end."""
        channel: Any = self._line.channels.new()
        self._line.read_channels()
        return channel  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the process over there; nothing where it has ended."""
        self._line.close(UsageError(f"{self.host.where}: the session is closed"))

    def kill(self, reason: SremoteError | None = None) -> None:
        """End the process over there at once, with all its children; whoever waits gets ``reason``."""
        self._line.end_at_once(reason or UsageError(f"{self.host.where}: the session was ended from here"))

    @property
    def is_open(self) -> bool:
        """Whether the process over there lives, as far as is known."""
        return self._line.ended is None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, request: Message, kwargs: Mapping[str, Any], thread: str) -> Channel:
        """``thread`` is where it runs: "own", "main", or "free" for the main thread where that is idle."""
        add_arguments(request, [], dict(kwargs), allowed_types)
        request.header.update(format=1, kind="request", id=self.id, allow=sorted(allowed_types), thread=thread)
        chunks = request.chunks()
        size = _SIZE.pack(sum(len(memoryview(chunk).cast("B")) for chunk in chunks))
        channel: Any = self._line.channels.new()
        self._line.read_channels()
        kind = frames.OPEN
        for piece in frames.pieces(chunks, frames.CHUNK - len(size)):
            self._line.write_head(frames.HEAD.pack(kind, channel.number, len(size) + len(piece)) + size, piece)
            kind, size = frames.DATA, b""
        return channel  # type: ignore[no-any-return]

    def _call(self, request: Message, timeout: float | None) -> Any:
        short = _short_form(request) if self._allowed == sorted(allowed_types) else None
        with self._lock:
            answer = Answer(self._line.channels.number(), self.id)
            watchdog = None
            if timeout is not None:
                watchdog = threading.Timer(timeout, self._stop, [timeout])
                watchdog.start()
            self._line.expect(answer)
            try:
                self._send(request, short, answer.number)
                return self._wait(answer)
            except KeyboardInterrupt:
                self._line.kill(ConnectionLost(f"{self.host.where}: the session was interrupted"))
                raise
            finally:
                if watchdog is not None:
                    watchdog.cancel()

    def _send(self, request: Message, short: bytes | None, number: int) -> None:
        if short is not None:
            self._line.write(frames.EVALUATE, number, short)
            return
        request.header.update(format=1, kind="request", id=self.id, allow=sorted(allowed_types))
        call = Call(self.id, request.chunks(), None)
        call.begin(number)
        chunks: Iterator[bytes | memoryview] = call.frames()
        for head in chunks:
            self._line.write_head(bytes(head), next(chunks))

    def _wait(self, answer: Answer) -> Any:
        """Return the value of the call that ``answer`` is to, or raise its error."""
        self._line.expect(answer)
        self._line.wait(answer)
        if answer.value is not None:
            check_pickle(answer.value)
            return decode(Message({}, [("value", [answer.value])]), "value", allowed_types)
        data = answer.response.response
        return Response.read(self.host.name, self.id, data, allowed_types, trust=False).result()

    def _stop(self, timeout: float) -> None:
        self._line.kill(
            WalltimeExceeded(
                f"{self.host.where}: stopped at its time limit of {timeout:g} s; the session has ended",
                "Allow more time.",
            )
        )


def _short_form(request: Message) -> bytes | None:
    """Return the payload of an EVALUATE frame; None where the request needs its long form."""
    target = request.header["target"]
    if target["kind"] != "name" or len(request.sections) != 1:
        return None
    name = f"{target['module']}:{target['function']}".encode()
    payload = _NAME.pack(len(name)) + name + bytes(request.get("value"))
    return payload if len(payload) <= frames.CHUNK else None
