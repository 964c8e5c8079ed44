"""``local:`` is this machine: commands as subprocesses, files as copies."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from sremote.connectors.base import Process
from sremote.connectors.errors import FileMissing, HostError, HostFull, PermissionRefused
from sremote.connectors.stream import StreamConnector, from_home
from sremote.connectors.subprocess_stream import SubprocessProcess

_REFUSALS: dict[int | None, type[HostError]] = {
    errno.ENOENT: FileMissing,
    errno.EACCES: PermissionRefused,
    errno.EPERM: PermissionRefused,
    errno.EROFS: PermissionRefused,
    errno.ENOSPC: HostFull,
    errno.EDQUOT: HostFull,
}


class LocalConnector(StreamConnector):
    """This machine as a host; commands start in the home directory."""

    scheme = "local"
    noisy = False

    @property
    def name(self) -> str:
        return "local"

    def connect(self) -> None:
        """Nothing: this machine is here."""

    def close(self) -> None:
        """Nothing."""

    def open(self, argv: Sequence[str]) -> Process:
        home = str(Path.home())
        # What cannot be started is left to a shell to say, with status 126 or 127 as on every other host.
        for command in (argv, ["/bin/sh", "-c", 'exec "$@"', "sh", *argv]):
            try:
                return SubprocessProcess(command, name=self.name, cwd=home)
            except OSError as error:
                reason = error
        raise HostError(f"{self.name}: cannot start {argv[0]} in {home}: {reason.strerror}") from reason

    def put(self, source: bytes | BinaryIO, path: str, *, mode: int = 0o600) -> None:
        place = _place(path)
        with self._refusals("write", path):
            _make_folder(place.parent)
            if place.is_dir():
                raise IsADirectoryError(errno.EISDIR, "Is a directory")
            partial = place.with_name(f".{secrets.token_hex(8)}.part")
            try:
                with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    shutil.copyfileobj(BytesIO(source) if isinstance(source, bytes) else source, file, 1 << 20)
                    os.fchmod(file.fileno(), mode)
                partial.replace(place)
            finally:
                partial.unlink(missing_ok=True)

    def get(self, path: str, target: BinaryIO) -> None:
        with self._refusals("read", path):
            file = _place(path).open("rb")
        with file:
            shutil.copyfileobj(file, target, 1 << 20)

    @contextmanager
    def _refusals(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = _REFUSALS.get(error.errno, HostError)
            raise kind(f"{self.name}: cannot {verb} {path}: {error.strerror or error}") from error


def _place(path: str) -> Path:
    return Path.home() / from_home(path)


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, each with mode 0700 where it is new."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
