"""Where a command's output begins, and where it ends, whatever else a host prints.

A token that nobody can guess stands there.  What comes before the first is noise of
login scripts; content that does not end in one was cut.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import BinaryIO

from sremote.connectors.base import Process
from sremote.connectors.errors import HostError

NOISE_LIMIT = 1 << 16
"""Bytes that login scripts may print before the command."""
_SCRIPT = 'cd; printf %s%s "$1" "$2"; printf %s%s "$1" "$2" >&2; shift 2; exec "$@"'

log = logging.getLogger("sremote.connectors")


def make_token() -> tuple[str, str]:
    """Return a new token in halves, so that a shell that echoes its commands does not print it whole."""
    return secrets.token_hex(8), secrets.token_hex(8)


def with_token(argv: Sequence[str], token: tuple[str, str]) -> list[str]:
    """Return a command that goes home, prints ``token`` on both streams and becomes ``argv``."""
    return ["/bin/sh", "-c", _SCRIPT, "sh", *token, *argv]


class QuietProcess(Process):
    """A process whose output begins behind a token."""

    def __init__(self, process: Process, token: tuple[str, str], name: str) -> None:
        self._process = process
        self._name = name
        self._stdout = _AfterToken(process.read, token, name)
        self._stderr = _AfterToken(process.read_stderr, token, name, required=False)

    def write(self, data: bytes | memoryview) -> None:
        self._process.write(data)

    def close_stdin(self) -> None:
        self._process.close_stdin()

    def read(self, size: int = 1 << 17) -> bytes:
        return self._stdout.read(size)

    def read_stderr(self, size: int = 1 << 17) -> bytes:
        return self._stderr.read(size)

    def wait(self, timeout: float | None = None) -> int:
        status = self._process.wait(timeout)
        if self._stdout.ended_early:
            words = (self._stderr.noise or self._stdout.noise).decode(errors="replace").strip()
            reason = words.splitlines()[-1] if words else f"its shell ended with status {status}"
            raise HostError(
                f"{self._name}: the command was not started: {reason}",
                "See what the login shell there does with: sh -c 'echo hello'.",
            )
        return status

    def kill(self) -> None:
        self._process.kill()


class _AfterToken:
    """Reads a stream from behind a token on; what came before is noise.

    A stream without the token is all noise, or, where it is not ``required``, all output.
    """

    def __init__(
        self, read: Callable[[int], bytes], token: tuple[str, str], name: str, *, required: bool = True
    ) -> None:
        self._read = read
        self._token = "".join(token).encode()
        self._name = name
        self._required = required
        self._found = False
        self._rest = b""
        self.noise = b""
        self.ended_early = False
        """Whether the stream ended without the token."""

    def read(self, size: int) -> bytes:
        while not self._found and not self.ended_early:
            self._look(self._read(size))
        data, self._rest = self._rest[:size], self._rest[size:]
        return data if data or self.ended_early else self._read(size)

    def _look(self, data: bytes) -> None:
        self.ended_early = not data
        before, token, after = (self.noise + data).partition(self._token)
        self.noise, self._rest, self._found = before, after, bool(token)
        if self.ended_early and not self._required:
            self._rest = before
        if len(before) > NOISE_LIMIT:
            raise HostError(
                f"{self._name}: more than {NOISE_LIMIT} bytes were printed before the command",
                "Let the login scripts there print only on a terminal.",
            )
        if token and before:
            log.debug("%s: printed before the command: %r", self._name, before)


class UpToToken:
    """Writes to a file all but the token that ends the stream."""

    def __init__(self, target: BinaryIO, token: tuple[str, str]) -> None:
        self._target = target
        self._token = "".join(token).encode()
        self._held = b""

    def write(self, data: bytes) -> None:
        data = self._held + data
        self._held = data[-len(self._token) :]
        if len(data) > len(self._token):
            self._target.write(memoryview(data)[: -len(self._token)])

    @property
    def is_whole(self) -> bool:
        return self._held == self._token
