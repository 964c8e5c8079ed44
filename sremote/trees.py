"""Copies files and folders between this machine and a host."""

from __future__ import annotations

import os
import posixpath
import secrets
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sremote.connectors.stream import from_home
from sremote.errors import FileMissing, HostError, SremoteError, UsageError
from sremote.host import Host

_UNPACK = """
import os, sys, tarfile
archive, target = sys.argv[1:]
os.chdir(os.path.expanduser("~"))
try:
    os.makedirs(target, exist_ok=True)
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "fully_trusted_filter"):
            tar.extraction_filter = tarfile.fully_trusted_filter
        tar.extractall(target)
finally:
    os.unlink(archive)
"""

_PACK = """
import os, stat, sys, tarfile
source, archive = sys.argv[1:]
os.chdir(os.path.expanduser("~"))
if not os.path.exists(source):
    print("missing")
elif os.path.isdir(source):
    os.makedirs(os.path.dirname(archive), 0o700, exist_ok=True)
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(os.path.realpath(source), ".", filter=lambda item: None if item.isdev() else item)
    print("folder")
else:
    print("file", stat.S_IMODE(os.stat(source).st_mode))
"""


def push(host: Host, local: Path, remote: str) -> None:
    """Copy ``local`` to ``remote`` on the host, as ``Client.push`` says."""
    if not local.exists():
        raise UsageError(f"{local}: no such file or folder here")
    if not local.is_dir():
        target = posixpath.join(remote, local.name) if remote.endswith("/") else remote
        with _refusals("read", local), local.open("rb") as file:
            host.connector.put(file, target, mode=stat.S_IMODE(os.fstat(file.fileno()).st_mode))
        return
    archive = _archive(host)
    with tempfile.TemporaryFile() as file:
        with _refusals("read", local), tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(local.resolve(), ".")
        file.seek(0)
        host.connector.put(file, archive)
    host.check(host.run_python(_UNPACK, archive, from_home(remote)), f"cannot write {remote}")


def pull(host: Host, remote: str, local: Path) -> None:
    """Copy ``remote`` of the host to ``local``, as ``Client.pull`` says."""
    archive = _archive(host)
    done = host.run_python(_PACK, from_home(remote), archive)
    host.check(done, f"cannot read {remote}")
    kind, _, mode = done.stdout.decode().strip().partition(" ")
    if kind == "missing":
        raise FileMissing(f"{host.where}: no such file or folder: {remote}")
    if kind == "file":
        target = local / posixpath.basename(remote) if local.is_dir() else local
        with _refusals("write", target):
            _pull_file(host, remote, target, int(mode))
    elif kind == "folder":
        try:
            _pull_folder(host, archive, local)
        finally:
            host.execute(["rm", "-f", archive])
    else:
        raise HostError(f"{host.where}: {remote}: unexpected answer {kind!r}")


def _archive(host: Host) -> str:
    return posixpath.join(host.probe().root, "jobs", f"{secrets.token_hex(8)}.partial.tar")


def _pull_file(host: Host, remote: str, target: Path, mode: int) -> None:
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with beside.open("wb") as file:
            host.connector.get(remote, file)
        beside.chmod(mode)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _pull_folder(host: Host, archive: str, local: Path) -> None:
    if local.exists() and not local.is_dir():
        raise UsageError(f"{local} is here already, and is not a folder")
    with tempfile.TemporaryFile() as file:
        host.connector.get(archive, file)
        file.seek(0)
        with _refusals("write", local):
            try:
                _unpack(file, local)
            except tarfile.TarError as error:
                raise HostError(f"{host.where}: what it sent was not unpacked: {error}") from error


def _unpack(file: IO[bytes], local: Path) -> None:
    """Unpack an archive that nobody vouches for: nothing of it is written outside ``local``."""
    local.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=file, errorlevel=2) as tar:  # any failure counts
        # Links may point anywhere, as they did there; they come last, so that no file is written through them.
        for are_links in (False, True):
            members = [member for member in tar.getmembers() if member.issym() == are_links]
            tar.extractall(local, members, filter=_as_data)  # noqa: S202  # filtered


def _as_data(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """Refuse what would be written elsewhere, as tarfile's filter does; keep the permissions, but not the owner."""
    if member.issym():
        return tarfile.data_filter(member.replace(linkname="."), folder).replace(linkname=member.linkname)
    return tarfile.data_filter(member, folder).replace(mode=member.mode & 0o777)


@contextmanager
def _refusals(verb: str, path: Path) -> Iterator[None]:
    """Say it in a sentence where this machine refuses."""
    try:
        yield
    except SremoteError:
        raise
    except OSError as error:
        raise UsageError(f"cannot {verb} {error.filename or path}: {error.strerror or error}") from error
