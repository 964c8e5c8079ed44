"""Copies files and folders between this machine and a host."""

from __future__ import annotations

import os
import posixpath
import secrets
import stat
import tarfile
import tempfile
from pathlib import Path

from sremote.errors import FileMissing, HostError, UsageError
from sremote.host import Host

_UNPACK = """
import os, sys, tarfile
archive, target = sys.argv[1:]
target = os.path.join(os.path.expanduser("~"), target)
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
source = os.path.join(os.path.expanduser("~"), source)
if not os.path.lexists(source):
    print("missing")
elif os.path.isdir(source):
    os.makedirs(os.path.dirname(archive), 0o700, exist_ok=True)
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(source, ".")
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
        with local.open("rb") as file:
            host.connector.put(file, target, mode=stat.S_IMODE(os.fstat(file.fileno()).st_mode))
        return
    archive = _archive(host)
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(local, ".")
        file.seek(0)
        host.connector.put(file, archive)
    host.check(host.run_python(_UNPACK, archive, remote), f"cannot write {remote}")


def pull(host: Host, remote: str, local: Path) -> None:
    """Copy ``remote`` of the host to ``local``, as ``Client.pull`` says."""
    archive = _archive(host)
    host.ensure_interpreter()
    done = host.run_python(_PACK, remote, archive)
    host.check(done, f"cannot read {remote}")
    kind, _, mode = done.stdout.decode().strip().partition(" ")
    if kind == "missing":
        raise FileMissing(f"{host.name}: no such file or folder: {remote}")
    if kind == "file":
        target = local / posixpath.basename(remote) if local.is_dir() else local
        _pull_file(host, remote, target, int(mode))
    elif kind == "folder":
        try:
            _pull_folder(host, archive, local)
        finally:
            host.execute(["rm", "-f", archive])
    else:
        raise HostError(f"{host.name}: {remote}: unexpected answer {kind!r}")


def _archive(host: Host) -> str:
    return posixpath.join(host.probe().root, "jobs", f"{secrets.token_hex(8)}.partial.tar")


def _pull_file(host: Host, remote: str, target: Path, mode: int) -> None:
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    _make_folder(target.parent)
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
        _make_folder(local)
        with tarfile.open(fileobj=file) as tar:
            tar.extractall(local, filter="data")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error
