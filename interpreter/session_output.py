"""What a session's process prints, sent on as it comes: Python's at once, that of children through pipes."""

import io
import os
import select
import sys
import threading
from typing import Any, Callable, Dict

from . import frames
from .wire import Buffer


class Output:
    """Takes the standard output and error of this process; ``send`` sends a frame."""

    def __init__(self, send: Callable[[int, int, Buffer], None]) -> None:
        self._send = send
        self._draining = threading.Lock()
        self.pipes: Dict[int, int] = {}
        """The ends that are read, and the kind of frame that each is sent as."""

    def take(self) -> None:
        """Put pipes behind the descriptors 1 and 2, and send on what Python prints without them."""
        for number, kind in ((1, frames.STDOUT), (2, frames.STDERR)):
            readable, writable = os.pipe()
            os.dup2(writable, number)
            os.close(writable)
            os.set_blocking(readable, False)
            self.pipes[readable] = kind
        sys.stdout = sys.__stdout__ = self._text_stream(1, frames.STDOUT)  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self._text_stream(2, frames.STDERR)  # type: ignore[misc]

    def _text_stream(self, number: int, kind: int) -> io.TextIOWrapper:
        binary = io.BufferedWriter(_Printer(self, number, kind))
        return io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", line_buffering=True)

    def print(self, kind: int, data: Buffer) -> None:
        """Send output on."""
        for piece in frames.pieces([data], frames.CHUNK):
            self._send(kind, 0, piece)

    def flush(self) -> None:
        """Send on all that has been printed up to now."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        while self.drain():
            pass

    def drain(self) -> bool:
        """Send on what the pipes hold; say whether they held anything."""
        with self._draining:  # so that what another thread has read is on its way before a value is
            readable, _, _ = select.select(list(self.pipes), [], [], 0)
            for pipe in readable:
                self.print(self.pipes[pipe], os.read(pipe, frames.CHUNK))
        return bool(readable)


class _Printer(io.RawIOBase):
    """Takes what Python prints, and is the descriptor that child processes inherit."""

    def __init__(self, output: Output, number: int, kind: int) -> None:
        super().__init__()
        self._output = output
        self._number = number
        self._kind = kind

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: Any) -> int:
        self._output.print(self._kind, bytes(data))
        return len(data)
