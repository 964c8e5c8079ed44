"""A command on a machine behind ``sremote gateway``, with its three streams over one WebSocket.

Binary messages carry the streams: their first byte says which, the rest is data.
Text messages are JSON objects with one key each:

    to the gateway                              from it
    {"argv": [word, …]}   first, once           {"end": 1}      that stream has ended
    {"end": 0}            no more input         {"closed": 0}   nobody reads input any more
    {"took": [1, n]}      n bytes were read     {"took": [0, n]}
    {"kill": true}                              {"status": n}   the command's exit status; the last message

0 is standard input, 1 standard output, 2 standard error.  Of each stream at most
WINDOW bytes are under way that the other end has not said it took, so that a stream
that is not read holds up neither the others nor the memory of anybody.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from sremote.connectors.address import Address
from sremote.connectors.base import Process
from sremote.connectors.errors import ConnectionLost, HostKeyError, HostUnreachable, LineTimeout, SignInRefused
from sremote.connectors.http_session import HttpSession
from sremote.connectors.newt_dialect import Dialect
from sremote.connectors.newt_sign_in import SignIn
from sremote.connectors.stream import StreamConnector

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

PATH = "/sremote/run"
"""The path of the WebSocket."""
WINDOW = 1 << 22
"""Bytes of a stream that may be under way."""
PIECE = 1 << 16
"""Bytes of a stream in one message."""
MESSAGE_LIMIT = 1 << 20
"""Bytes of a message; the longest is the first, with the command's words."""
ANSWER_TIMEOUT = 5.0
"""Seconds in which a gateway answers to a WebSocket, before another connection is tried."""
PING = 30.0
"""Seconds between signs of life; a line without an answer for PING_TIMEOUT is lost."""
PING_TIMEOUT = 60.0

_silent = logging.getLogger("sremote.connectors.websockets")
_silent.setLevel(logging.INFO)  # at DEBUG it would show cookies and all that is sent


class GatewayStreams(StreamConnector):
    """Commands with open streams through a gateway that one has signed in to."""

    scheme = "newt"
    noisy = False

    def __init__(self, address: Address, http: HttpSession, sign_in: SignIn, dialect: Dialect) -> None:
        super().__init__(address, connect_timeout=http.connect_timeout)
        self._http = http
        self._sign_in = sign_in
        self._dialect = dialect

    def connect(self) -> None:
        """Nothing: each command has a connection of its own."""

    def close(self) -> None:
        """Nothing: a command ends with its process."""

    def open(self, argv: Sequence[str]) -> Process:
        seen = self._sign_in.count
        try:
            socket = self._dial()
        except SignInRefused:
            self._sign_in.sign_in(self._dialect, seen)
            socket = self._dial()
        return WebSocketProcess(socket, argv, self.name)

    def _dial(self) -> ClientConnection:
        """Open a WebSocket, over another connection where one gives no answer: nothing has been asked for yet."""
        first = min(ANSWER_TIMEOUT, self.connect_timeout / 2)
        try:
            return self._dial_once(first)
        except LineTimeout:
            pass
        try:
            return self._dial_once(self.connect_timeout - first)
        except LineTimeout as error:
            raise HostUnreachable(error.message) from error

    def _dial_once(self, timeout: float) -> ClientConnection:
        """Open a WebSocket.  Raises SignInRefused where the session has ended, LineTimeout after ``timeout``."""
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import connect

        parts = urlsplit(self._http.base)
        secure = parts.scheme == "https"
        url = urlunsplit(parts._replace(scheme="wss" if secure else "ws", path=parts.path + PATH))
        try:
            opened = connect(
                url,
                ssl=self._http.tls_context() if secure else None,
                additional_headers={"Cookie": self._http.cookies()},
                user_agent_header="sremote",
                compression=None,
                open_timeout=timeout,
                ping_interval=PING,
                ping_timeout=PING_TIMEOUT,
                max_size=MESSAGE_LIMIT,
                logger=_silent,
            )
            return opened.__enter__()  # the process closes it
        except InvalidStatus as error:
            if error.response.status_code in (401, 403):
                raise SignInRefused(f"{self.name}: the gateway's session has ended") from error
            raise HostUnreachable(
                f"{self.name}: the gateway refuses a WebSocket: {error.response.status_code}",
                "Where a proxy in between lets none through, give the option stream=false.",
            ) from error
        except ssl.SSLError as error:
            raise HostKeyError(f"{self.name}: the gateway's certificate is not trusted: {error}") from error
        except TimeoutError as error:
            raise LineTimeout(f"{self.name}: no answer within {self.connect_timeout:g} seconds") from error
        except (WebSocketException, EOFError, OSError) as error:
            raise HostUnreachable(
                f"{self.name}: cannot open a WebSocket: {error}",
                "Where a proxy in between lets none through, give the option stream=false.",
            ) from error


@dataclass
class _Incoming:
    """What came of one output stream and was not read yet."""

    data: bytearray
    ended: bool = False
    taken: int = 0
    """Bytes read since the gateway was last told."""


class WebSocketProcess(Process):
    """A command that was asked for over ``socket``, which it closes when it has ended."""

    def __init__(self, socket: ClientConnection, argv: Sequence[str], name: str) -> None:
        self._socket = socket
        self._name = name
        self._changed = threading.Condition()
        self._streams = {1: _Incoming(bytearray()), 2: _Incoming(bytearray())}
        self._room = WINDOW
        self._takes_input = True
        self._status: int | None = None
        self._killed = False
        self._failure: str | None = None
        self._tell({"argv": list(argv)})
        threading.Thread(target=self._receive, name=f"sremote {name}", daemon=True).start()

    def write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            with self._changed:
                self._changed.wait_for(lambda: self._room > 0 or not self._writable())
                if not self._writable():
                    raise self._lost("it no longer reads its standard input")
                size = min(self._room, PIECE, len(rest))
                self._room -= size
            self._send(b"\0" + bytes(rest[:size]))
            rest = rest[size:]

    def close_stdin(self) -> None:
        if self._writable():
            self._tell({"end": 0})

    def read(self, size: int = 1 << 17) -> bytes:
        return self._read(1, size)

    def read_stderr(self, size: int = 1 << 17) -> bytes:
        return self._read(2, size)

    def wait(self, timeout: float | None = None) -> int:
        with self._changed:
            if not self._changed.wait_for(lambda: self._status is not None or self._gone(), timeout):
                raise LineTimeout(f"{self._name}: the command had not ended after {timeout:g} s")
            if self._status is None:
                raise self._lost("it ended without telling its status")
            return self._status

    def kill(self) -> None:
        with self._changed:
            first, self._killed = not self._killed, True
            ended = self._status is not None or self._failure is not None
            self._changed.notify_all()
        if first:
            if not ended:
                with suppress(ConnectionLost):
                    self._tell({"kill": True})
            self._socket.close()

    def _read(self, number: int, size: int) -> bytes:
        stream = self._streams[number]
        with self._changed:
            self._changed.wait_for(lambda: stream.data or stream.ended or self._gone())
            if self._killed:
                return b""
            data = bytes(stream.data[:size])
            del stream.data[:size]
            if not data and not stream.ended:
                raise self._lost("its output ended")
            stream.taken += len(data)
            told, stream.taken = (stream.taken, 0) if stream.taken > WINDOW // 4 else (0, stream.taken)
        if told:
            with suppress(ConnectionLost):  # what has come is good all the same
                self._tell({"took": [number, told]})
        return data

    def _receive(self) -> None:
        reason = "the gateway hung up"
        try:
            for message in self._socket:
                with self._changed:
                    if isinstance(message, bytes):
                        self._streams[message[0]].data += memoryview(message)[1:]
                    else:
                        self._take(json.loads(message))
                    self._changed.notify_all()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        with self._changed:
            self._failure = reason
            self._changed.notify_all()
        self._socket.close()

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"took": [0, int(size)]}:
                self._room += size
            case {"end": 1 | 2 as number}:
                self._streams[number].ended = True
            case {"closed": 0}:
                self._takes_input = False
            case {"status": int(status)}:
                self._status = status

    def _tell(self, message: dict[str, Any]) -> None:
        self._send(json.dumps(message))

    def _send(self, message: bytes | str) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            self._socket.send(message)
        except (ConnectionClosed, OSError) as error:
            raise self._lost("it takes no more input") from error

    def _writable(self) -> bool:
        return self._takes_input and self._status is None and not self._gone()

    def _gone(self) -> bool:
        return self._killed or self._failure is not None

    def _lost(self, what: str) -> ConnectionLost:
        if self._killed:
            return ConnectionLost(f"{self._name}: the command was ended from here")
        if self._status is not None or self._failure is None:
            return ConnectionLost(f"{self._name}: the command has gone: {what}")
        return ConnectionLost(
            f"{self._name}: the line dropped: {self._failure}",
            "What was under way may or may not have happened.",
        )
