"""The host's end of one ``socket:`` connection: many commands at once, in one process.

One loop waits for records, for the pipes of the commands and for their ends.  It
reads a pipe only as far as the client has said that it has room, and while little waits for the
line; so nothing grows where somebody does not read.  When the line ends, the pipes
are closed and the commands are left to themselves, as an ssh server leaves them.
"""

import contextlib
import os
import selectors
import signal
import socket
import ssl
import struct
import time
from collections import deque
from typing import Callable, Deque, Dict, List, Optional, Tuple

from .errors import FormatError, SremoteError
from .socket_command import Command
from .socket_layer import Layer
from .socket_records import (
    DEAF,
    ERRORS,
    EXIT,
    INPUT,
    KILL,
    MISSED,
    OPEN,
    OUTPUT,
    PING,
    PONG,
    ROOM,
    WINDOW,
    Reader,
    Writer,
    read_room,
    room,
)
from .wire import Buffer

MOST_COMMANDS = 256
"""Commands of one connection at once."""
FULL = 1 << 20
"""Bytes that wait for the line before the commands' pipes are left alone."""
OVERFULL = 1 << 21
"""Bytes that wait for the line where a client asks and never reads; that ends it."""
RECEIVE = 1 << 18
KILL_GRACE = 0.5
"""Seconds between SIGTERM, on which a command cleans up, and SIGKILL."""

_STATUS = struct.Struct(">i")


class LineEnded(Exception):
    """The line is no more; the text says why."""


class Connection:
    """One connection, whose ends have proved themselves."""

    def __init__(
        self,
        connection: socket.socket,
        layer: Layer,
        reader: Reader,
        writer: Writer,
        *,
        keepalive: float,
        log: Callable[[str], None],
    ) -> None:
        self._socket = connection
        self._layer = layer
        self._reader = reader
        self._writer = writer
        self._keepalive = keepalive
        self._log = log
        self._commands: Dict[int, Command] = {}
        self._line: Deque[memoryview] = deque()
        self._line_size = 0
        self._heard = self._pinged = time.monotonic()
        self._kills: List[Tuple[float, Command]] = []
        self._selector = selectors.DefaultSelector()
        self._watched: Dict[int, int] = {}
        self._actions: Dict[int, Callable[[int], None]] = {}
        self._woken, self._wakeup = os.pipe()

    def run(self, first: bytes) -> str:
        """Serve the connection until it ends, and say why it did; ``first`` is what has come of the records."""
        self._socket.setblocking(False)
        for end in (self._woken, self._wakeup):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakeup)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, _stop)
        self._watch(self._woken, selectors.EVENT_READ, self._look_for_ends)
        self._watch(self._socket.fileno(), selectors.EVENT_READ, self._serve_line)
        try:
            self._take(first)
            while True:
                for key, events in self._selector.select(self._pause()):
                    self._actions.get(key.fd, _nothing)(events)
                self._keep_time()
        except LineEnded as end:
            return str(end)
        except (SremoteError, OSError, ssl.SSLError) as error:
            return str(error)
        finally:
            self._close()

    # The line

    def _serve_line(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        if events & selectors.EVENT_READ:
            try:
                data = self._socket.recv(RECEIVE)
            except BlockingIOError:
                return
            if not data:
                raise LineEnded("the client has gone")
            self._heard = time.monotonic()
            self._take(self._layer.open(data))

    def _take(self, data: bytes) -> None:
        for kind, number, rest in self._reader.feed(data):
            command = self._commands.get(number)
            if kind == OPEN:
                self._open(number, rest)
            elif kind == PING:
                self._send(PONG, 0)
            elif command is None:
                continue  # it has ended meanwhile
            elif kind == INPUT:
                self._take_input(command, rest)
            elif kind == ROOM:
                stream, size = read_room(rest)
                command.room[stream] = min(command.room.get(stream, 0) + size, WINDOW)
                self._attend(command)
            elif kind == KILL:
                self._kill(command)

    def _send(self, kind: int, number: int, rest: Buffer = b"") -> None:
        data = self._layer.seal(*self._writer.record(kind, number, rest))
        self._line.append(memoryview(data))
        self._line_size += len(data)
        if self._line_size > OVERFULL:
            raise LineEnded("the client does not read")
        if len(self._line) == 1:
            self._flush()

    def _flush(self) -> None:
        was_full = self._line_size >= FULL
        try:
            while self._line:
                sent = self._socket.send(self._line[0])
                self._line_size -= sent
                if sent == len(self._line[0]):
                    self._line.popleft()
                else:
                    self._line[0] = self._line[0][sent:]
        except BlockingIOError:
            pass
        waiting = selectors.EVENT_WRITE if self._line else 0
        self._watch(self._socket.fileno(), selectors.EVENT_READ | waiting, self._serve_line)
        if was_full and self._line_size < FULL:
            for command in self._commands.values():
                self._attend(command)

    # Time

    def _pause(self) -> float:
        now = time.monotonic()
        ends = [self._pinged + self._keepalive, self._heard + MISSED * self._keepalive]
        ends.extend(when for when, _ in self._kills)
        return max(0.0, min(ends) - now)

    def _keep_time(self) -> None:
        now = time.monotonic()
        if now - self._heard >= MISSED * self._keepalive:
            raise LineEnded("the client has been silent for {:g} s".format(MISSED * self._keepalive))
        if now - self._pinged >= self._keepalive:
            self._pinged = now
            if now - self._heard >= self._keepalive:
                self._send(PING, 0)
        for when, command in [kill for kill in self._kills if kill[0] <= now]:
            self._kills.remove((when, command))
            command.signal(signal.SIGKILL)

    # The commands

    def _open(self, number: int, rest: bytes) -> None:
        words = rest.split(b"\0")[:-1]
        if number in self._commands or not words or not rest.endswith(b"\0"):
            raise FormatError("a command that cannot be")
        if len(self._commands) >= MOST_COMMANDS:
            self._refuse(number, "sremote: more than {} commands at once\n".format(MOST_COMMANDS))
            return
        try:
            command = Command(number, words)
        except OSError as error:  # no process, no descriptors
            self._refuse(number, "sremote: no process can be started: {}\n".format(error.strerror))
            return
        self._commands[number] = command
        self._log("command {}: {}".format(number, os.fsdecode(words[0])))
        self._attend(command)

    def _refuse(self, number: int, text: str) -> None:
        self._send(ERRORS, number, text.encode("utf-8"))
        for stream in (OUTPUT, ERRORS):
            self._send(stream, number)
        self._send(EXIT, number, _STATUS.pack(126))

    def _attend(self, command: Command) -> None:
        """Watch those pipes of a command on which something can be done."""
        for stream, pipe in command.outputs.items():
            ready = command.room[stream] > 0 and self._line_size < FULL
            self._watch(pipe, selectors.EVENT_READ if ready else 0, _Output(self, command, stream))
        if command.input is not None:
            ready = bool(command.waiting)
            self._watch(command.input, selectors.EVENT_WRITE if ready else 0, _Input(self, command))

    def read_output(self, command: Command, stream: int) -> None:
        """Pass on what a command has written, unless so much waits for the line that it is to wait, too."""
        pipe = command.outputs[stream]
        if self._line_size >= FULL:
            self._watch(pipe, 0)
            return
        data = command.read(stream)
        if data is None:
            return
        if not data:
            self._watch(pipe, 0)
            command.close_output(stream)
        self._send(stream, command.number, data)
        if data and (command.room[stream] <= 0 or self._line_size >= FULL):
            self._watch(pipe, 0)
        self._forget_if_done(command)

    def _take_input(self, command: Command, data: bytes) -> None:
        if command.input is None:
            return
        if data:
            command.waiting.append(memoryview(data))
            command.waiting_size += len(data)
            if command.waiting_size > WINDOW:
                raise FormatError("more input than there was room for")
        else:
            command.input_ends = True
        self.write_input(command)

    def write_input(self, command: Command) -> None:
        """Give a command what waits for it."""
        if command.input is None:
            return
        try:
            written = command.write()
        except OSError:
            self._watch(command.input, 0)
            command.close_input()
            self._send(DEAF, command.number)
            return
        if written:
            self._send(ROOM, command.number, room(INPUT, written))
        if command.input_ends and not command.waiting:
            self._watch(command.input, 0)
            command.close_input()
        else:
            self._watch(command.input, selectors.EVENT_WRITE if command.waiting else 0, _Input(self, command))

    def _look_for_ends(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        for command in list(self._commands.values()):
            status = command.status()
            if status is not None and not command.told:
                command.told = True
                self._send(EXIT, command.number, _STATUS.pack(status))
                self._forget_if_done(command)

    def _kill(self, command: Command) -> None:
        del self._commands[command.number]
        self._release(command)
        if command.status() is None:
            command.signal(signal.SIGTERM)
            self._kills.append((time.monotonic() + KILL_GRACE, command))

    def _forget_if_done(self, command: Command) -> None:
        if command.told and not command.outputs:
            self._commands.pop(command.number, None)
            self._release(command)

    def _release(self, command: Command) -> None:
        for stream, pipe in list(command.outputs.items()):
            self._watch(pipe, 0)
            command.close_output(stream)
        if command.input is not None:
            self._watch(command.input, 0)
            command.close_input()

    # What the loop waits for

    def _watch(self, file: int, events: int, action: Optional[Callable[[int], None]] = None) -> None:
        """Wait for events of a descriptor, or no longer."""
        before = self._watched.get(file, 0)
        if action is not None and events:
            self._actions[file] = action
        if events == before:
            return
        if not events:
            self._selector.unregister(file)
            del self._watched[file], self._actions[file]
            return
        if before:
            self._selector.modify(file, events)
        else:
            self._selector.register(file, events)
        self._watched[file] = events

    def _close(self) -> None:
        for command in list(self._commands.values()):
            self._release(command)
        for _, command in self._kills:
            command.signal(signal.SIGKILL)
        self._socket.close()


class _Output:
    """Reads one output of a command when there is something."""

    def __init__(self, connection: Connection, command: Command, stream: int) -> None:
        self._connection = connection
        self._command = command
        self._stream = stream

    def __call__(self, _: int) -> None:
        if self._stream in self._command.outputs:
            self._connection.read_output(self._command, self._stream)


class _Input:
    """Writes a command's input when there is room."""

    def __init__(self, connection: Connection, command: Command) -> None:
        self._connection = connection
        self._command = command

    def __call__(self, _: int) -> None:
        self._connection.write_input(self._command)


def _stop(*_: object) -> None:
    raise LineEnded("the server was stopped")


def _nothing(_: int) -> None:
    """The action for a descriptor that is no longer watched."""
