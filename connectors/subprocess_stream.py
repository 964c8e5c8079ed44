"""A program on this machine as a ``Process``: what local, command and openssh connectors start."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, TypeVar

from sremote.connectors.base import Process
from sremote.connectors.errors import ConnectionLost, LineTimeout

GRACE = 0.5
"""Seconds between SIGTERM, on which a program cleans up, and SIGKILL."""

T = TypeVar("T")


class SubprocessProcess(Process):
    """A program with its three streams, in a session of its own.

    A terminal's Ctrl-C does not reach it, so that the client can end it in order.
    ``name`` is how messages call the host.  Raises OSError where the program
    cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._program = argv[0]
        self._popen = subprocess.Popen(
            argv,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd=cwd,
            env=environment,
        )
        assert self._popen.stdin
        assert self._popen.stdout
        assert self._popen.stderr
        self._stdin = _Pipe(self._popen.stdin)
        self._stdout = _Pipe(self._popen.stdout)
        self._stderr = _Pipe(self._popen.stderr)

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")

        def write_all(pipe: IO[bytes]) -> None:
            rest = view
            while rest:
                rest = rest[pipe.write(rest) :]

        try:
            self._stdin.use(write_all)
        except (OSError, ValueError) as error:
            raise ConnectionLost(f"{self._name}: {self._program} takes no more input: {error}") from error

    def close_stdin(self) -> None:
        self._stdin.close()

    def read(self, size: int = 1 << 17) -> bytes:
        return _read(self._stdout, size)

    def read_stderr(self, size: int = 1 << 17) -> bytes:
        return _read(self._stderr, size)

    def wait(self, timeout: float | None = None) -> int:
        try:
            return self.outcome(self._popen.wait(timeout))
        except subprocess.TimeoutExpired:
            raise LineTimeout(f"{self._name}: {self._program} had not ended after {timeout} seconds") from None

    def outcome(self, status: int) -> int:
        """Return the command's exit status, given the program's.

        A program that carries a command elsewhere overrides this, to raise
        ConnectionLost where ``status`` says that the line failed.
        """
        return status

    def kill(self) -> None:
        self.close_stdin()
        if self._popen.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self._popen.wait(GRACE)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                with suppress(subprocess.TimeoutExpired):  # a program of another user (sudo) outlives this
                    self._popen.wait(GRACE)
        for pipe in (self._stdout, self._stderr):
            pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)


class _Pipe:
    """One end of a pipe, which one thread uses and another may close.

    Closed under a read, its number would be given to the next file that is opened, and
    the read would take what is meant for that.  So a user that is in the way closes it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._using = threading.Lock()
        self._closing = False

    def use(self, action: Callable[[IO[bytes]], T]) -> T:
        """Return what ``action`` returns of the open file.  Raises ValueError where it is closed, and OSError."""
        try:
            with self._using:
                return action(self._file)
        finally:
            if self._closing:
                self.close()

    def close(self) -> None:
        """Close it now, or when it is not in use any more."""
        self._closing = True
        if self._using.acquire(blocking=False):
            try:
                with suppress(OSError):
                    self._file.close()
            finally:
                self._using.release()


def _read(pipe: _Pipe, size: int) -> bytes:
    """Read what is there; a pipe that ``kill`` closed has ended."""
    try:
        return pipe.use(lambda file: file.read(size))
    except (OSError, ValueError):
        return b""
