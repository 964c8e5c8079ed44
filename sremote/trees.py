"""Copies files and folders between this machine and a host, sending only what differs.

Both sides run the same code, ``interpreter/tree_sender.py`` and ``tree_receiver.py``;
here are the drops of the line between them, and the errors that people see.
"""

from __future__ import annotations

import errno
import logging
import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypedDict, TypeVar, Unpack

from sremote.connectors.base import Capability
from sremote.errors import (
    ConnectionLost,
    FileMissing,
    FormatError,
    HostError,
    HostFull,
    PermissionRefused,
    UsageError,
)
from sremote.host import Host
from sremote.interpreter.tree_frames import Failure
from sremote.interpreter.tree_receiver import Receiver
from sremote.interpreter.tree_sender import Sender
from sremote.reconnect import again
from sremote.scattered import ScatteredSender
from sremote.tree_line import TreeLine
from sremote.tree_progress import ProgressCallback, Tally
from sremote.tree_requests import pull_by_requests, push_by_requests

log = logging.getLogger("sremote")

T = TypeVar("T")

FRUITLESS = 3
"""Drops of the line, one after the other, between which no file arrived, before a copy is given up."""
_SHOWN = 3
_COMPRESS: dict[bool | None, tuple[str, ...]] = {None: (), True: ("compress",), False: ("no-compress",)}

_REFUSALS: dict[int, type[HostError]] = {
    errno.ENOENT: FileMissing,
    errno.EACCES: PermissionRefused,
    errno.EPERM: PermissionRefused,
    errno.EROFS: PermissionRefused,
    errno.ENOSPC: HostFull,
    errno.EDQUOT: HostFull,
}


class CopyOptions(TypedDict, total=False):
    """How ``Client.push`` and ``Client.pull`` copy; all may be left out."""

    always_copy: bool
    """Send every file, whatever is there (default: a file of the same size is sent only where its digest differs)."""
    delete: bool
    """Remove what is in the target's folders and not in the source's (default: leave it)."""
    compress: bool | None
    """Whether to compress what becomes smaller (default: None, where the line is slow)."""
    progress: ProgressCallback | None
    """Is told how far the copy has come."""
    select: Callable[[Path], bool] | None
    """``push`` only: is given each path in the folder, and says whether that, with all that is in it, is copied."""


@dataclass(frozen=True)
class Copied:
    """What a push or pull did."""

    files: int
    """Files whose content was sent."""
    unchanged: int
    """Files that were the same already."""
    left_out: tuple[str, ...]
    """Pipes, sockets and devices, which are not copied; relative to what was copied."""


@dataclass
class _Attempt:
    """What one attempt over one line came to."""

    number: int
    sent: int = 0
    arrived: int = 0
    """Files that need not be sent again."""


def push(
    host: Host,
    local: Path,
    remote: str,
    **how: Unpack[CopyOptions],
) -> Copied:
    """Copy ``local`` to ``remote`` on the host, as ``Client.push`` says."""
    _check(how)
    if not local.exists():
        raise UsageError(f"{local}: no such file or folder here")
    if not local.is_dir() and not local.is_file():
        raise UsageError(f"{local} is neither a file nor a folder", "Copy what is in it instead.")
    if remote.endswith("/") and not local.is_dir():
        remote = posixpath.join(remote, local.name)
    tally = Tally(how.get("progress"))
    select = how.get("select")

    def sender_of(write: Callable[[memoryview], None]) -> Sender:
        return Sender(
            os.fsencode(local),
            write,
            compress=how.get("compress"),
            found=tally.found,
            sent=tally.moved,
            select=None if select is None else lambda path: select(Path(os.fsdecode(path))),
        )

    options = ["delete"] if how.get("delete") else []
    sender, copied = _send(host, sender_of, remote, options, tally, always_copy=how.get("always_copy", False))
    _raise_refused(host, "write", remote, sender.refused)
    _raise_here("read", local, sender.failures)
    return copied


def push_files(
    host: Host,
    files: Mapping[str, Path | None],
    *,
    always_copy: bool = False,
    progress: ProgressCallback | None = None,
) -> Copied:
    """Copy files each to its own absolute place on the host, all in one pass; None makes a folder.

    Folders on the way are made; those that are there stay as they are.  Errors and all
    else are as with ``push``.
    """
    tally = Tally(progress)

    def sender_of(write: Callable[[memoryview], None]) -> Sender:
        return ScatteredSender(files, write, found=tally.found, sent=tally.moved)

    sender, copied = _send(host, sender_of, "/", ["scattered"], tally, always_copy=always_copy)
    _raise_refused(host, "write", "/", sender.refused)
    _raise_here("read what goes to", Path("/"), sender.failures)
    return copied


def _send(
    host: Host,
    sender_of: Callable[[Callable[[memoryview], None]], Sender],
    remote: str,
    options: list[str],
    tally: Tally,
    *,
    always_copy: bool,
) -> tuple[Sender, Copied]:
    first_options = [*options, "always-copy"] if always_copy else options

    def attempt(attempted: _Attempt) -> Sender:
        tally.restart()
        options_now = options if attempted.number else first_options
        if Capability.STREAM not in host.connector.capabilities:
            return push_by_requests(host, sender_of, remote, options_now)
        with TreeLine(host, "receive", remote, options_now) as line:
            sender = sender_of(line.write)
            try:
                done = sender.run(line.read)
            except ConnectionLost as error:
                raise line.failure() from error
            finally:
                attempted.sent, attempted.arrived = sender.copied, sender.already_there
            if not done:
                raise line.failure()
        return sender

    sender, sent = _resume(host, attempt)
    tally.tell()
    return sender, Copied(sent + sender.copied, sender.already_there, _as_text(sender.left_out))


def pull(
    host: Host,
    remote: str,
    local: Path,
    **how: Unpack[CopyOptions],
) -> Copied:
    """Copy ``remote`` of the host to ``local``, as ``Client.pull`` says."""
    _check(how)
    target = local
    tally = Tally(how.get("progress"))

    def place(kind: bytes) -> bytes:
        nonlocal target
        if kind == b"f" and local.is_dir():
            target = local / posixpath.basename(remote.rstrip("/"))
        if kind == b"d" and local.exists() and not local.is_dir():
            raise UsageError(f"{local} is here already, and is not a folder")
        return os.fsencode(target)

    def attempt(attempted: _Attempt) -> Receiver:
        def receiver_of(write: Callable[[memoryview], None]) -> Receiver:
            tally.restart()
            always = how.get("always_copy", False) and not attempted.number
            delete = how.get("delete", False)
            return Receiver(place, write, always_copy=always, delete=delete, found=tally.found, written=tally.moved)

        if Capability.STREAM not in host.connector.capabilities:
            return pull_by_requests(host, remote, receiver_of)
        with TreeLine(host, "send", remote, _COMPRESS[how.get("compress")]) as line:
            receiver = receiver_of(line.write)
            try:
                while not receiver.done:
                    data = line.read()
                    if not data:
                        raise line.failure()
                    receiver.feed(data)
            except FormatError as error:
                raise HostError(f"{host.where}: what it sent was not unpacked: {error.message}") from error
            finally:
                receiver.close()
                attempted.sent = attempted.arrived = receiver.copied
        return receiver

    receiver, sent = _resume(host, attempt)
    tally.tell()
    copied = Copied(sent + receiver.copied, receiver.files - receiver.copied, _as_text(receiver.left_out))
    _raise_refused(host, "read", remote, receiver.unread)
    _raise_here("write", target, receiver.failures)
    return copied


def _check(how: CopyOptions) -> None:
    if unknown := sorted(how.keys() - CopyOptions.__annotations__.keys()):
        known = ", ".join(CopyOptions.__annotations__)
        raise UsageError(f"there is no option {unknown[0]!r}", f"Those for a copy: {known}.")


def _resume(host: Host, attempt: Callable[[_Attempt], T]) -> tuple[T, int]:
    """Return what ``attempt`` returns, and the files sent; after a drop it is done again, as long as files arrive.

    What has arrived whole is found to be the same then.
    """
    fruitless = sent = 0
    best = -1
    for number in count():
        attempted = _Attempt(number)
        try:
            result = attempt(attempted)
        except ConnectionLost as error:
            sent += attempted.sent
            fruitless = 0 if attempted.arrived > best else fruitless + 1
            best = max(best, attempted.arrived)
            if fruitless == FRUITLESS:
                raise
            log.info("%s: going on with the copy after: %s", host.where, error.message)
            again(host.connector, lambda: None)
        else:
            return result, sent
    raise AssertionError("a count has no end")


def _as_text(left_out: Sequence[bytes]) -> tuple[str, ...]:
    paths = tuple(map(os.fsdecode, left_out))
    for path in paths:
        log.warning("not copied, as it is neither a file nor a folder: %s", path)
    return paths


def _raise_refused(host: Host, verb: str, remote: str, failures: Sequence[Failure]) -> None:
    """Raise what the host refused."""
    if not failures:
        return
    first = failures[0]
    if verb == "read" and first.errno == errno.ENOENT and not first.path:
        raise FileMissing(f"{host.where}: no such file or folder: {remote}")
    full = [failure for failure in failures if issubclass(_kind(failure), HostFull)]
    kind = _kind((full or failures)[0])
    raise kind(f"{host.where}: cannot {verb} {_names(remote, full or failures)}")


def _raise_here(verb: str, local: Path, failures: Sequence[Failure]) -> None:
    """Raise what this machine refused."""
    if failures:
        raise UsageError(f"cannot {verb} {_names(str(local), failures)}")


def _kind(failure: Failure) -> type[HostError]:
    return _REFUSALS.get(failure.errno, HostError)


def _names(root: str, failures: Sequence[Failure]) -> str:
    """Return what failed and why: ``a/b: Permission denied; a/c: File exists; and 3 more``."""
    shown = [f"{posixpath.join(root, os.fsdecode(each.path)) if each.path else root}: {each.text}" for each in failures]
    if len(shown) > _SHOWN:
        shown[_SHOWN:] = [f"and {len(shown) - _SHOWN} more"]
    return "; ".join(shown)
