"""One command of a ``socket:`` connection: a process and its three pipes."""

import contextlib
import os
import signal
import subprocess
from collections import deque
from typing import Deque, Dict, List, Optional

from .socket_records import ERRORS, OUTPUT, PIECE, WINDOW


class Command:
    """A process in a session of its own, which begins in the home directory.

    Its output is read and its input written by the loop of the connection, as far as
    the other end has room.
    """

    def __init__(self, number: int, words: List[bytes]) -> None:
        self.number = number
        self._popen = _start(words)
        assert self._popen.stdin
        assert self._popen.stdout
        assert self._popen.stderr
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            os.set_blocking(pipe.fileno(), False)
        self.input: Optional[int] = self._popen.stdin.fileno()
        """The descriptor that its standard input is written to; None once that is closed."""
        self.outputs: Dict[int, int] = {OUTPUT: self._popen.stdout.fileno(), ERRORS: self._popen.stderr.fileno()}
        """The descriptors that are read, until they end."""
        self.room = {OUTPUT: WINDOW, ERRORS: WINDOW}
        """Bytes of each output that the other end has room for."""
        self.waiting: Deque[memoryview] = deque()
        """Input that the process has not taken yet."""
        self.waiting_size = 0
        self.input_ends = False
        self.told = False
        """Whether the other end knows how it ended."""

    @property
    def pid(self) -> int:
        return self._popen.pid

    def status(self) -> Optional[int]:
        """Return the exit status, or minus a signal's number; None while it runs."""
        return self._popen.poll()

    def read(self, stream: int) -> Optional[bytes]:
        """Return what there is of an output: no bytes at its end, None where there is nothing yet."""
        try:
            data = os.read(self.outputs[stream], min(PIECE, self.room[stream]))
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        self.room[stream] -= len(data)
        return data

    def write(self) -> int:
        """Write waiting input as far as the process takes it; return how much.  Raises OSError once it takes none."""
        written = 0
        assert self.input is not None
        try:
            while self.waiting:
                taken = os.write(self.input, self.waiting[0])
                written += taken
                rest = self.waiting[0][taken:]
                if rest:
                    self.waiting[0] = rest
                else:
                    self.waiting.popleft()
        except BlockingIOError:
            pass
        self.waiting_size -= written
        return written

    def close_input(self) -> None:
        """End its standard input; nothing where that is done."""
        if self.input is not None:
            self.input = None
            self.waiting.clear()
            self.waiting_size = 0
            assert self._popen.stdin
            self._popen.stdin.close()

    def close_output(self, stream: int) -> None:
        """Read no more of an output."""
        if self.outputs.pop(stream, None) is not None:
            pipe = self._popen.stdout if stream == OUTPUT else self._popen.stderr
            assert pipe
            pipe.close()

    def signal(self, number: int) -> None:
        """Send a signal to its process group; nothing where it has ended."""
        if self.status() is None:
            with contextlib.suppress(OSError):  # gone, or another user's by now
                os.killpg(self.pid, number)


def _start(words: List[bytes]) -> "subprocess.Popen[bytes]":
    # What cannot be started is left to a shell to say, with status 126 or 127 as on every other host.
    home = os.path.expanduser("~")
    for argv in (words, [b"/bin/sh", b"-c", b'exec "$@"', b"sh"] + words):
        try:
            return subprocess.Popen(
                argv,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=home,
                start_new_session=True,
            )
        except OSError as error:
            reason = error
    raise reason


def harmless_signals() -> None:
    """Let broken pipes be errors and hang-ups nothing, in this process and not in its commands."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # which subprocess sets back
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # which ends with exec
