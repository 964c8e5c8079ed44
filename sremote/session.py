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
from typing import Any, Self

from sremote.allowed import allowed_types
from sremote.arguments import add_arguments, split_arguments
from sremote.connectors.base import OutputSink
from sremote.errors import ConnectionLost, RemoteExit, SremoteError, UsageError, WalltimeExceeded
from sremote.functions import add_function
from sremote.host import Host
from sremote.interpreter import frames
from sremote.interpreter.values import decode
from sremote.interpreter.wire import Header, Message
from sremote.line import Call
from sremote.pickle_grammar import check_pickle
from sremote.response import Response
from sremote.stream import Stream, lost

_NAME = struct.Struct(">H")


class Session:
    """Made by ``Client.session``.  Calls run one after the other, whichever thread makes them."""

    def __init__(
        self, host: Host, surroundings: Header, *, preload: Sequence[str] = (), output: OutputSink | None = None
    ) -> None:
        self.id = "session-" + secrets.token_hex(8)
        self._host = host
        self._output = output
        self._allowed = sorted(allowed_types)
        self._lock = threading.Lock()
        self._number = 0
        self._ended: SremoteError | None = None
        options = {
            "id": self.id,
            "surroundings": surroundings,
            "preload": list(preload),
            "allow": self._allowed,
        }
        self._stream = Stream(host, frames.pack(frames.SESSION, 0, json.dumps(options).encode()))
        self._frames = self._stream.read()
        try:
            self._result(0)
        except BaseException:
            self._stream.kill()
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
        request.header["target"] = add_function(request, function, self._host, allowed_types, (args, kwargs))
        add_arguments(request, list(args), kwargs, allowed_types)
        return self._call(request, None)

    def close(self) -> None:
        """End the process over there; nothing where it has ended."""
        self._ended = self._ended or UsageError(f"{self._host.where}: the session is closed")
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, request: Message, timeout: float | None) -> Any:
        short = _short_form(request) if self._allowed == sorted(allowed_types) else None
        with self._lock:
            if self._ended is not None:
                raise self._ended
            self._number += 1
            watchdog = None
            if timeout is not None:
                watchdog = threading.Timer(timeout, self._stop, [timeout])
                watchdog.start()
            try:
                self._send(request, short)
                return self._result(self._number)
            except KeyboardInterrupt:
                self._stream.kill()
                self._ended = ConnectionLost(f"{self._host.where}: the session was interrupted")
                raise
            finally:
                if watchdog is not None:
                    watchdog.cancel()

    def _send(self, request: Message, short: bytes | None) -> None:
        try:
            if short is not None:
                self._stream.write(frames.pack(frames.EVALUATE, self._number, short))
                return
            request.header.update(format=1, kind="request", id=self.id, allow=sorted(allowed_types))
            call = Call(self.id, request.chunks(), None)
            call.begin(self._number)
            chunks: Iterator[bytes | memoryview] = call.frames()
            for head in chunks:
                self._stream.write(bytes(head), next(chunks))
        except ConnectionLost:
            raise self._failure() from None

    def _result(self, wanted: int) -> Any:
        """Read frames until the result of call ``wanted`` is there; return its value or raise its error."""
        response = Call(self.id, (), None)
        try:
            for kind, number, payload in self._frames:
                if kind == frames.VALUE and number == wanted:
                    return self._value(payload)
                if kind in (frames.STDOUT, frames.STDERR):
                    if self._output is not None:
                        self._output("stdout" if kind == frames.STDOUT else "stderr", bytes(payload))
                elif number == wanted and kind in (frames.RESPONSE, frames.DATA) and response.take(payload):
                    return self._read_response(response).result()
        except ConnectionLost:
            pass
        raise self._failure()

    def _value(self, payload: memoryview) -> Any:
        check_pickle(payload)
        return decode(Message({}, [("value", [bytes(payload)])]), "value", allowed_types)

    def _read_response(self, response: Call) -> Response:
        return Response.read(self._host.name, self.id, response.response, allowed_types, trust=False)

    def _stop(self, timeout: float) -> None:
        self._ended = WalltimeExceeded(
            f"{self._host.where}: stopped at its time limit of {timeout:g} s; the session has ended", "Allow more time."
        )
        self._stream.kill()

    def _failure(self) -> SremoteError:
        """End the session, and return why it has ended."""
        if self._ended is None:
            try:
                status = self._stream.status()
            except SremoteError as error:
                self._ended = error
            else:
                dropped = status < 0 or status == 255
                self._ended = (
                    lost(self._host)
                    if dropped
                    else RemoteExit(
                        f"{self._host.where}: the session's process has ended with status {status}", status=status
                    )
                )
        self._stream.kill()
        return self._ended


def _short_form(request: Message) -> bytes | None:
    """Return the payload of an EVALUATE frame; None where the request needs its long form."""
    target = request.header["target"]
    if target["kind"] != "name" or len(request.sections) != 1:
        return None
    name = f"{target['module']}:{target['function']}".encode()
    payload = _NAME.pack(len(name)) + name + bytes(request.get("value"))
    return payload if len(payload) <= frames.CHUNK else None
