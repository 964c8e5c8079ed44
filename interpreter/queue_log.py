"""A queue's log: numbered entries, each put in its place by exactly one process.

    log/<block>/<number>    an entry, which is a message
    log/<block>/next/       an empty block: the only source that the next block can be made from

Whoever wants to change the queue reads the log to its end, decides, and links an
entry under the next number.  ``link`` succeeds for one; the others read what that one
did and decide again.  So all see the same changes in the same order, and nothing
else is needed: no lock, no clock, no server.

Old blocks go (``discard``) once a snapshot holds what they did.  A process that has
slept meanwhile cannot bring one back: a block is made by renaming the ``next`` of the
one before it, which exists once and has then moved.
"""

import contextlib
import errno
import itertools
import mmap
import os
import shutil
from typing import Optional, Sequence

from .errors import SremoteError
from .processes import HOST
from .wire import Buffer, Message, parse

BLOCK = 64
"""Entries of a block."""
_MAPPED = 1 << 16
"""Bytes from which an entry is mapped instead of read, as most of its readers want little of it."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""How file systems say that they have no hard links."""
_numbers = itertools.count()


class Discarded(Exception):
    """Where the log is to be read or written, it has been discarded: a snapshot holds what it did."""


class Log:
    """The log in a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def create(self) -> None:
        """Make an empty log; for a queue that nobody else can see yet."""
        os.makedirs(os.path.join(self.folder, "0", "next"), mode=0o700)

    def read(self, number: int) -> Optional[Message]:
        """Return an entry; None where the log has not come to it yet.  Raises Discarded."""
        path = self._path(number)
        message = read_message(path)
        if message is not None or os.path.isdir(os.path.dirname(path)):
            return message
        if number % BLOCK or not number or not os.path.isdir(os.path.dirname(self._path(number - 1))):
            raise Discarded
        return None

    def append(self, number: int, chunks: Sequence[Buffer]) -> bool:
        """Put an entry in its place; False where another process has put one there.  Raises Discarded.

        The caller has read all the entries before it.
        """
        if number and number % BLOCK == 0:
            self._open_block(number // BLOCK)
        try:
            return publish(self._path(number), chunks)
        except FileNotFoundError:
            if not os.path.isdir(os.path.dirname(self.folder)):
                raise
            raise Discarded from None

    def discard(self, block: int) -> None:
        """Remove a block for good."""
        folder = os.path.join(self.folder, str(block))
        gone = folder + ".gone"
        with contextlib.suppress(OSError):
            os.rename(folder, gone)
        shutil.rmtree(gone, ignore_errors=True)

    def blocks(self) -> "list[int]":
        """Return the blocks that are there, in order."""
        return sorted(int(name) for name in os.listdir(self.folder) if name.isdigit())

    def _open_block(self, block: int) -> None:
        source = os.path.join(self.folder, str(block - 1), "next")
        with contextlib.suppress(OSError):
            os.mkdir(os.path.join(source, "next"), 0o700)
        # Fails where another process has done it, which is as good.
        with contextlib.suppress(OSError):
            os.rename(source, os.path.join(self.folder, str(block)))

    def _path(self, number: int) -> str:
        return os.path.join(self.folder, str(number // BLOCK), str(number))


def publish(path: str, chunks: Sequence[Buffer]) -> bool:
    """Put a file in its place, whole and on disk; False where one is there already, which then stays."""
    folder = os.path.dirname(path)
    aside = os.path.join(folder, ".{}.{}.{}".format(HOST, os.getpid(), next(_numbers)))
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            # Over NFS the answer to a link that succeeded may be lost, and the second try then finds it there.
            if os.stat(aside).st_nlink != 2:
                return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            raise SremoteError("{}: its file system has no hard links, which queues need".format(folder)) from None
        _sync(folder)
        return True
    finally:
        with contextlib.suppress(OSError):
            os.unlink(aside)


def read_message(path: str) -> Optional[Message]:
    """Return the message in a file; None where there is no such file.  Raises FormatError."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size < _MAPPED:
                return parse(file.read())
            return parse(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _sync(folder: str) -> None:
    """Flush a folder, so that a file that was put there stays there whatever happens to the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
