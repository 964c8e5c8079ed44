"""The files that the gateway may touch: those below the allowed folders, wherever symbolic links lead.

A path is resolved first and must then be below an allowed folder.  So that nobody can
put a link into its way between that and the opening, what was opened is asked where it
is, and everything else happens relative to it.
"""

from __future__ import annotations

import errno
import grp
import hashlib
import os
import pwd
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CHUNK = 1 << 20


class Outside(PermissionError):
    """A path leads out of the allowed folders."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "it is not in a folder that the gateway was allowed with --allow")


class Damaged(OSError):
    """What came is not what the sender says that it sent."""

    def __init__(self) -> None:
        super().__init__(errno.EBADMSG, "it was cut or changed on its way; what stood there is as it was")


@dataclass(frozen=True)
class OpenFile:
    """A file that is open for reading."""

    descriptor: int
    size: int
    tag: str
    """Changes when the file does: an ETag."""

    def sha256(self) -> str:
        """Return the checksum of all of it, in hexadecimal."""
        checked = hashlib.sha256()
        place = 0
        while data := os.pread(self.descriptor, CHUNK, place):
            checked.update(data)
            place += len(data)
        return checked.hexdigest()


class Files:
    """Files below ``allowed``, with relative paths from ``home``; every method raises OSError where it cannot."""

    def __init__(self, allowed: Sequence[Path], home: Path) -> None:
        self._allowed = [os.path.realpath(folder) for folder in allowed]
        self._home = home

    @contextmanager
    def reading(self, path: str) -> Iterator[OpenFile]:
        """Open a regular file."""
        place = self._resolve(path)
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._check(descriptor, place)
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, "Is a directory")
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            tag = f'"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"'
            yield OpenFile(descriptor, found.st_size, tag)
        finally:
            os.close(descriptor)

    @contextmanager
    def writing(self, path: str, mode: int) -> Iterator[Writer]:
        """Give a writer whose file takes the place of ``path`` when ``finish`` is called, and else goes away."""
        folder, name = os.path.split(self._resolve(path, last=False))
        if name in ("", ".", ".."):
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        place = self._make_folder(folder)
        try:
            with suppress(FileNotFoundError):
                if stat.S_ISDIR(os.stat(name, dir_fd=place).st_mode):
                    raise IsADirectoryError(errno.EISDIR, "Is a directory")
            writer = Writer(place, name, mode)
            try:
                yield writer
            finally:
                writer.discard()
        finally:
            os.close(place)

    def delete(self, path: str) -> None:
        """Delete a file or a link, not what it leads to."""
        folder, name = os.path.split(self._resolve(path, last=False))
        place = self._open_folder(folder)
        try:
            os.unlink(name, dir_fd=place)
        finally:
            os.close(place)

    def list(self, path: str) -> list[dict[str, str]]:
        """Return a folder's entries, or a file's own, as NEWT has them."""
        place = self._resolve(path)
        if not stat.S_ISDIR(os.stat(place).st_mode):
            folder = self._open_folder(os.path.dirname(place))
            names = [os.path.basename(place)]
        else:
            folder = self._open_folder(place)
            names = sorted(os.listdir(folder))
        try:
            return [entry for name in names if (entry := _entry(folder, name)) is not None]
        finally:
            os.close(folder)

    def _resolve(self, path: str, *, last: bool = True) -> str:
        """Return where a path leads, without links but for the ``last`` part's; it is below an allowed folder."""
        if not path or "\0" in path:
            raise OSError(errno.EINVAL, "it is not a path")
        if path == "~" or path.startswith("~/"):
            path = "./" + path[2:]
        full = os.path.join(self._home, path)
        if last:
            place = os.path.realpath(full)
        else:
            folder, name = os.path.split(full)
            place = os.path.join(os.path.realpath(folder), name)
        if not self._is_allowed(os.path.dirname(place) if not last else place):
            raise Outside
        return place

    def _is_allowed(self, place: str) -> bool:
        return any(folder == "/" or place == folder or place.startswith(folder + "/") for folder in self._allowed)

    def _check(self, descriptor: int, place: str) -> None:
        """Raise Outside where what was opened is not where it should be: a link was put into the way meanwhile."""
        if not self._is_allowed(place_of(descriptor) or os.path.realpath(place)):
            raise Outside

    def _open_folder(self, place: str) -> int:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._check(descriptor, place)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _make_folder(self, place: str) -> int:
        """Open a folder; what is missing of it is made, with mode 0700, from a folder that was checked on."""
        missing: list[str] = []
        while True:
            try:
                here = self._open_folder(place)
                break
            except FileNotFoundError:
                place, name = os.path.split(place)
                missing.append(name)
        for name in reversed(missing):
            try:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=here)
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            finally:
                os.close(here)
            here = below
        return here


class Writer:
    """A file on its way, beside its place."""

    def __init__(self, folder: int, name: str, mode: int) -> None:
        self._folder = folder
        self._name = name
        self._mode = mode
        self._partial = f".{secrets.token_hex(8)}.part"
        self._descriptor = os.open(
            self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
        )
        self._checked = hashlib.sha256()
        self._there = True

    def write(self, data: bytes | bytearray) -> None:
        """Append ``data``."""
        self._checked.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def finish(self, sha256: str | None) -> None:
        """Put the file into its place.  Raises Damaged where its checksum is not ``sha256``."""
        if sha256 is not None and self._checked.hexdigest() != sha256:
            raise Damaged
        os.fchmod(self._descriptor, self._mode)
        os.replace(self._partial, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._there = False

    def discard(self) -> None:
        """Close the file, and remove it where it has not got its place."""
        os.close(self._descriptor)
        if self._there:
            with suppress(FileNotFoundError):
                os.unlink(self._partial, dir_fd=self._folder)


def place_of(descriptor: int) -> str | None:
    """Return where an open file is, as Linux and macOS tell; None elsewhere."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        pass
    try:
        import fcntl

        found = fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024))  # type: ignore[attr-defined, unused-ignore]
    except (AttributeError, OSError):
        return None
    return os.fsdecode(bytes(found).partition(b"\0")[0])


def _entry(folder: int, name: str) -> dict[str, str] | None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    link = ""
    if stat.S_ISLNK(found.st_mode):
        with suppress(OSError):
            link = os.readlink(name, dir_fd=folder)
    return {
        "perms": stat.filemode(found.st_mode),
        "hardlinks": str(found.st_nlink),
        "user": _name(lambda: pwd.getpwuid(found.st_uid).pw_name, found.st_uid),
        "group": _name(lambda: grp.getgrgid(found.st_gid).gr_name, found.st_gid),
        "size": str(found.st_size),
        "date": time.strftime("%Y-%m-%d %H:%M", time.localtime(found.st_mtime)),
        "name": _text(name),
        "symlink": _text(link),
    }


def _name(find: object, number: int) -> str:
    try:
        return str(find())  # type: ignore[operator]
    except KeyError:
        return str(number)


def _text(name: str) -> str:
    """Return a name as JSON can hold it: bytes that are not UTF-8 show as replacement characters."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
