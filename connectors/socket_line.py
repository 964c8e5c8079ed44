"""The client's end of a ``socket:`` connection: many commands at once over one socket."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Sequence

from sremote.connectors.base import Process
from sremote.connectors.errors import ConnectionLost, LineTimeout, UsageError
from sremote.interpreter.errors import FormatError
from sremote.interpreter.socket_layer import Layer
from sremote.interpreter.socket_records import (
    DEAF,
    ERRORS,
    EXIT,
    INPUT,
    KILL,
    LARGEST,
    MISSED,
    OPEN,
    OUTPUT,
    PIECE,
    PING,
    PONG,
    ROOM,
    WINDOW,
    Reader,
    Writer,
    read_room,
    room,
)

RECEIVE = 1 << 18
_STATUS = struct.Struct(">i")
_LOST_REMEDY = "What was under way may or may not have happened."


class SocketLine:
    """A connection whose ends have proved themselves; ``first`` are bytes of records that have come already.

    A thread reads it and never waits for anybody, since no command is sent more than
    it has room for.  ``keepalive`` is the seconds of silence after which a sign of
    life is asked for.
    """

    def __init__(
        self,
        connection: socket.socket,
        layer: Layer,
        reader: Reader,
        writer: Writer,
        first: bytes,
        *,
        name: str,
        keepalive: float,
    ) -> None:
        self.name = name
        self.failure: str | None = None
        """Why nothing more will come; None while it lives."""
        self._socket = connection
        self._layer = layer
        self._reader = reader
        self._writer = writer
        self._keepalive = keepalive
        self._sending = threading.Lock()
        self._lock = threading.Lock()
        self._processes: dict[int, SocketProcess] = {}
        self._number = 0
        connection.settimeout(None)
        self._thread = threading.Thread(target=self._read, args=(first,), name=f"sremote {name}", daemon=True)
        self._thread.start()

    def open(self, argv: Sequence[bytes]) -> SocketProcess:
        """Start a command.  Raises ConnectionLost."""
        words = b"".join(word + b"\0" for word in argv)
        if len(words) > LARGEST - 64:
            raise UsageError(f"{self.name}: a command of {len(words)} bytes is too long", "Send data as its input.")
        with self._lock:
            if self.failure is not None:
                raise self.lost()
            self._number += 1
            process = self._processes[self._number] = SocketProcess(self, self._number, self._program(argv))
        self.send(OPEN, process.number, words)
        return process

    @staticmethod
    def _program(argv: Sequence[bytes]) -> str:
        return argv[0].decode(errors="replace")

    def send(self, kind: int, number: int, rest: bytes | memoryview = b"") -> None:
        """Send a record.  Raises ConnectionLost."""
        with self._sending:
            self._send(kind, number, rest)

    def _send(self, kind: int, number: int, rest: bytes | memoryview = b"") -> None:
        if self.failure is not None:
            raise self.lost()
        try:
            self._socket.sendall(self._layer.seal(*self._writer.record(kind, number, rest)))
        except (OSError, ssl.SSLError) as error:
            self._fail(str(error))
            raise self.lost() from error

    def forget(self, number: int) -> None:
        """Drop what still comes of a command."""
        with self._lock:
            self._processes.pop(number, None)

    def close(self) -> None:
        """Hang up; the commands see the ends of their streams."""
        self._fail("it was closed here")
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def lost(self) -> ConnectionLost:
        """Return the error for what needs the line once it is no more."""
        return ConnectionLost(f"{self.name}: the line dropped: {self.failure}", _LOST_REMEDY)

    def _fail(self, reason: str) -> None:
        with self._lock:
            if self.failure is None:
                self.failure = reason
            processes, self._processes = list(self._processes.values()), {}
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for process in processes:
            process.lose()

    # The thread that reads

    def _read(self, first: bytes) -> None:
        reason = "the host closed it"
        try:
            self._take(first)
            while data := self._receive():
                self._take(self._layer.open(data))
        except (OSError, ssl.SSLError, FormatError, LineTimeout) as error:
            reason = getattr(error, "message", None) or getattr(error, "strerror", None) or str(error)
        self._fail(reason)
        self._socket.close()

    def _receive(self) -> bytes:
        """Wait for bytes, and ask for a sign of life now and then."""
        readable = select.poll()
        readable.register(self._socket, select.POLLIN)
        for _ in range(MISSED):
            if readable.poll(self._keepalive * 1000):
                return self._socket.recv(RECEIVE)
            # A thread that waits for the line to take its bytes has asked already.
            if self._sending.acquire(blocking=False):
                try:
                    self._send(PING, 0)
                except ConnectionLost:
                    return b""
                finally:
                    self._sending.release()
        raise LineTimeout(f"the host has been silent for {MISSED * self._keepalive:g} s")

    def _take(self, data: bytes) -> None:
        for kind, number, rest in self._reader.feed(data):
            if kind == PING:
                with contextlib.suppress(ConnectionLost):
                    self.send(PONG, 0)
                continue
            with self._lock:
                process = self._processes.get(number)
            if process is not None:
                process.take(kind, rest)


class SocketProcess(Process):
    """A command of a ``SocketLine``."""

    def __init__(self, line: SocketLine, number: int, program: str) -> None:
        self.number = number
        self._line = line
        self._program = program
        self._changed = threading.Condition()
        self._streams = {OUTPUT: _Arrived(), ERRORS: _Arrived()}
        self._room = WINDOW
        self._deaf = False
        self._status: int | None = None
        self._lost = False
        self._killed = False

    def write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            with self._changed:
                self._changed.wait_for(lambda: self._room or self._closed)
                if self._closed:
                    raise self._no_input()
                piece = rest[: min(self._room, PIECE)]
                self._room -= len(piece)
            self._line.send(INPUT, self.number, piece)
            rest = rest[len(piece) :]

    def close_stdin(self) -> None:
        if not self._closed:
            self._deaf = True
            self._line.send(INPUT, self.number)

    def read(self, size: int = 1 << 17) -> bytes:
        return self._read(OUTPUT, size)

    def read_stderr(self, size: int = 1 << 17) -> bytes:
        return self._read(ERRORS, size)

    def wait(self, timeout: float | None = None) -> int:
        with self._changed:
            if not self._changed.wait_for(lambda: self._status is not None or self._lost or self._killed, timeout):
                raise LineTimeout(f"{self._line.name}: {self._program} had not ended after {timeout} seconds")
            if self._status is None:
                raise self._gone()
            return self._status

    def kill(self) -> None:
        with self._changed:
            ended = self._killed or self._lost or self._over
            self._killed = True
            self._changed.notify_all()
        self._line.forget(self.number)
        if not ended:
            with contextlib.suppress(ConnectionLost):
                self._line.send(KILL, self.number)

    def take(self, kind: int, rest: bytes) -> None:
        """Take a record of this command."""
        with self._changed:
            if kind in self._streams:
                self._streams[kind].add(rest)
            elif kind == EXIT:
                (self._status,) = _STATUS.unpack(rest)
            elif kind == ROOM:
                self._room += read_room(rest)[1]
            elif kind == DEAF:
                self._deaf = True
            self._changed.notify_all()

    def lose(self) -> None:
        """Learn that the line is no more."""
        with self._changed:
            self._lost = True
            self._changed.notify_all()

    @property
    def _closed(self) -> bool:
        return self._deaf or self._lost or self._killed or self._over

    @property
    def _over(self) -> bool:
        """Whether it has ended and so have its outputs: the host knows it no more."""
        return self._status is not None and all(stream.ended for stream in self._streams.values())

    def _read(self, kind: int, size: int) -> bytes:
        stream = self._streams[kind]
        with self._changed:
            self._changed.wait_for(lambda: stream.pieces or stream.ended or self._lost or self._killed)
            if self._killed:
                return b""
            data = stream.take(size)
            if not data and not stream.ended:
                raise self._gone()
            freed = stream.freed()
        if freed:
            with contextlib.suppress(ConnectionLost):
                self._line.send(ROOM, self.number, room(kind, freed))
        return data

    def _gone(self) -> ConnectionLost:
        if self._killed:
            return ConnectionLost(f"{self._line.name}: {self._program} was ended from here")
        return self._line.lost()

    def _no_input(self) -> ConnectionLost:
        if self._killed or self._lost:
            return self._gone()
        return ConnectionLost(f"{self._line.name}: {self._program} takes no more input")


class _Arrived:
    """What has come of a stream and was not read yet."""

    def __init__(self) -> None:
        self.pieces: deque[memoryview] = deque()
        self.ended = False
        self._freed = 0

    def add(self, data: bytes) -> None:
        if data:
            self.pieces.append(memoryview(data))
        else:
            self.ended = True

    def take(self, size: int) -> bytes:
        taken: list[memoryview] = []
        while self.pieces and size > 0:
            piece = self.pieces.popleft()
            if len(piece) > size:
                self.pieces.appendleft(piece[size:])
                piece = piece[:size]
            size -= len(piece)
            taken.append(piece)
        data = b"".join(taken)
        self._freed += len(data)
        return data

    def freed(self) -> int:
        """Return the bytes of room to give back: many at a time."""
        if self._freed < WINDOW // 2 or self.ended:
            return 0
        freed, self._freed = self._freed, 0
        return freed
