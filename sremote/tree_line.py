"""The line to the far side of a copy of files: a program there, and its three streams."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from sremote.connectors.base import Completed
from sremote.connectors.stream import from_home
from sremote.errors import ConnectionLost, SremoteError
from sremote.host import Host
from sremote.interpreter.trees import START

END_TIMEOUT = 10.0
"""Seconds for the far side to end once its output has ended."""


class TreeLine:
    """Runs the far side on the host, as ``interpreter/trees.py`` says.  Raises NotReady where it has no Python."""

    def __init__(self, host: Host, role: str, path: str, options: Sequence[str]) -> None:
        self._host = host
        self._errors = bytearray()
        self._process = host.connector.start(host.command(far_command(host, role, path, options)))
        self._error_reader = threading.Thread(target=self._read_errors, daemon=True)
        self._error_reader.start()

    def write(self, data: memoryview) -> None:
        """Send ``data`` to the far side."""
        self._process.write(data)

    def read(self) -> bytes:
        """Return what has come from the far side; b"" at its end."""
        return self._process.read()

    def failure(self) -> SremoteError:
        """Return why the far side has ended too early."""
        try:
            status = self._process.wait(END_TIMEOUT)
        except SremoteError as error:
            return error
        self._error_reader.join(END_TIMEOUT)
        if status == 0 or not self._errors:
            return ConnectionLost(f"{self._host.where}: the line dropped")
        return self._host.failure_to_start(Completed(status, b"", bytes(self._errors)), "cannot copy")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()

    def _read_errors(self) -> None:
        with suppress(SremoteError):
            while data := self._process.read_stderr():
                self._errors[:] = (self._errors + data)[-4096:]


def far_command(host: Host, role: str, path: str, options: Sequence[str]) -> list[str]:
    """Return the command that sends or receives a tree on the host; pushes the interpreter where it is missing."""
    host.ensure_interpreter()
    probe = host.probe()
    # Without site and the user's variables: it starts in half the time, and needs neither.
    return [probe.python, "-sSE", "-c", START, probe.interpreter, role, from_home(path), *options]
