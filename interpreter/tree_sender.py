"""Sends a tree: lists it, and then sends what the receiver wants of it."""

import os
import stat
import zlib

from . import tree_frames as kinds
from .errors import FormatError
from .tree_frames import HAD, NUMBER, PIECE_SIZE, Entry, Failure, Incoming, Outgoing, ignore
from .tree_threads import Queue, start_new_thread

TYPE_CHECKING = False  # as typing has it
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Optional, Tuple

CHANGED = "it changed while it was read"
_ROOM = PIECE_SIZE - NUMBER.size
_LISTED_AT_ONCE = 500
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_GONE = 0
"""What the reading thread says, in place of a kind, where the receiver has gone or its words cannot be read."""


class Sender:
    """Sends the tree at ``root`` through ``write``, which takes a buffer whole.

    ``found`` is told of the size of each file that is listed, ``sent`` of bytes as they
    are sent or turn out to be there already, with their file's path.  ``compress`` is
    as in ``Outgoing``.  ``select`` is given each path, and says whether that is sent.
    """

    def __init__(
        self,
        root: bytes,
        write: "Callable[[memoryview], None]",
        *,
        compress: "Optional[bool]" = None,
        found: "Callable[[int], None]" = ignore,
        sent: "Callable[[bytes, int], None]" = ignore,
        select: "Optional[Callable[[bytes], bool]]" = None,
    ) -> None:
        self._root = root
        self._select = select
        self._outgoing = Outgoing(write, compress)
        self._found = found
        self._sent = sent
        self._entries: List[Entry] = []
        self._events: Queue[Tuple[int, Any]] = Queue()
        self._received_done = False
        self._receiver_has_work = False
        self.failures: List[Failure] = []
        """What could not be read."""
        self.refused: List[Failure] = []
        """What the receiver could not write."""
        self.left_out: List[bytes] = []
        """Pipes, sockets and devices, which are not copied."""
        self.already_there = 0
        """Files that were the same over there."""
        self.copied = 0
        """Files that were sent whole."""

    def run(self, read: "Callable[[], bytes]") -> bool:
        """Send it all; ``read`` gives what comes from the receiver, b"" at its end.

        Returns whether the receiver has it all; where not, it has gone.  Raises what
        ``read`` and ``write`` raise, and FormatError.
        """
        start_new_thread(self._listen, (read,))
        for first, payload in self._lists():
            self._outgoing.add(kinds.LIST, first, payload)
            self._outgoing.flush()
            while not self._events.empty() and not self._received_done:
                if not self._attend(*self._events.get()):
                    return False
        self._outgoing.add(kinds.LISTED, len(self._entries), b"" if self.failures else b"1")
        done = False
        while not done:
            if self._events.empty():
                self._outgoing.flush()
            kind, what = self._events.get()
            if not self._attend(kind, what):
                return False
            done = kind == kinds.DONE or (kind == kinds.ANSWERED and what and not self._receiver_has_work)
        return True

    def list(self) -> None:
        """Send the list only, for a connector that has no streams; ``answer`` does the rest."""
        for first, payload in self._lists():
            self._outgoing.add(kinds.LIST, first, payload)
        self._outgoing.add(kinds.LISTED, len(self._entries), b"" if self.failures else b"1")
        self._outgoing.flush()

    def answer(self, data: bytes) -> bool:
        """Send what the receiver asks for in ``data``, all that it says of the list; say whether that is anything."""
        Incoming(self._hear).feed(data)
        while not self._events.empty():
            self._attend(*self._events.get())
        self._outgoing.flush()
        return self._receiver_has_work

    def conclude(self, data: bytes) -> bool:
        """Take what the receiver says of all that was sent; say whether it has it all."""
        self.refused.clear()
        Incoming(self._hear_the_end).feed(data)
        return self._received_done

    def _hear_the_end(self, kind: int, number: int, payload: memoryview) -> None:
        if kind in (kinds.FAILED, kinds.DONE):
            self._hear(kind, number, payload)

    def _attend(self, kind: int, what: "Any") -> bool:
        """Do what the receiver asks for; say whether it is there at all."""
        if kind == _GONE:
            if what is not None:
                raise what
            return False
        if kind == kinds.WANT:
            self._receiver_has_work = True
            for number in what:
                if not self._received_done:
                    self._send_file(number)
        elif kind == kinds.SAME:
            self._receiver_has_work = True
            for number in what:
                self._outgoing.add(kinds.SAME, number)
        elif kind == kinds.ANSWERED:
            self._outgoing.add(kinds.FINISH, 0)
            self._outgoing.flush()
        return True

    # What the receiver says; in a thread of its own, so that the line stays busy while digests are compared

    def _listen(self, read: "Callable[[], bytes]") -> None:
        try:
            incoming = Incoming(self._hear)
            data = read()
            while data:
                incoming.feed(data)
                data = read()
            self._events.put((_GONE, None))
        except BaseException as error:
            self._events.put((_GONE, error))

    def _hear(self, kind: int, number: int, payload: memoryview) -> None:
        if kind == kinds.WANT:
            self._events.put((kind, kinds.unpack_numbers(payload)))
        elif kind == kinds.HAVE:
            self._compare(payload)
        elif kind == kinds.FAILED:
            self.refused.append(kinds.unpack_failure(payload))
        elif kind in (kinds.ANSWERED, kinds.DONE):
            self._received_done = kind == kinds.DONE
            self._receiver_has_work = self._receiver_has_work or (kind == kinds.ANSWERED and number == 0)
            self._events.put((kind, number))
        else:
            raise FormatError("a receiver says nothing of kind {}".format(kind))

    def _compare(self, payload: memoryview) -> None:
        differ, same = [], []
        for number, settled, digest in HAD.iter_unpack(payload):
            entry = self._entries[number]
            if digest_of(self._path(entry), entry.size) != digest:
                differ.append(number)
                continue
            self.already_there += 1
            self._sent(entry.path, entry.size)
            if not settled:
                same.append(number)
        if differ:
            self._events.put((kinds.WANT, differ))
        if same:
            self._events.put((kinds.SAME, same))

    # The list

    def _lists(self) -> "Iterator[Tuple[int, bytes]]":
        """Yield the tree's entries as the payloads of LIST, with the number of the first."""
        packed: List[bytes] = []
        size, first = 0, 0
        for entry in self._walk():
            text = kinds.pack_entry(entry)
            if size + len(text) > PIECE_SIZE or len(packed) == _LISTED_AT_ONCE:
                yield first, b"".join(packed)
                packed, size, first = [], 0, len(self._entries)
            self._entries.append(entry)
            if entry.kind == b"f":
                self._found(entry.size)
            packed.append(text)
            size += len(text)
        yield first, b"".join(packed)

    def _walk(self) -> "Iterator[Entry]":
        try:
            root = os.stat(self._root)
        except OSError as error:
            self._fail(Failure.of_error(b"", error))
            return
        entry = _entry(b"", root, self._root)
        if entry is None:
            self._fail(Failure(b"", 0, "it is neither a file nor a folder"))
            return
        yield entry
        folders = [b""] if entry.kind == b"d" else []
        while folders:
            folder = folders.pop()
            prefix = folder + b"/" if folder else b""
            try:
                with os.scandir(self._root + b"/" + folder) as found:
                    items = sorted(found, key=lambda item: item.name)
            except OSError as error:
                self._fail(Failure.of_error(folder, error))
                continue
            inner = []
            for item in items:
                path = prefix + item.name
                if self._select is not None and not self._select(item.path):
                    continue
                try:
                    entry = _entry(path, item.stat(follow_symlinks=False), item.path)
                except OSError as error:
                    self._fail(Failure.of_error(path, error))
                    continue
                if entry is None:
                    self.left_out.append(path)
                    self._outgoing.add(kinds.LEFT_OUT, 0, path)
                    continue
                yield entry
                if entry.kind == b"d":
                    inner.append(path)
            folders += reversed(inner)

    # The files

    def _send_file(self, number: int) -> None:
        entry = self._entries[number]
        if entry.kind != b"f":
            raise FormatError("entry {} is not a file".format(number))
        try:
            descriptor = os.open(self._path(entry), _READ | (os.O_NOFOLLOW if entry.path else 0))
            try:
                self._send_content(number, entry, descriptor)
            finally:
                os.close(descriptor)
        except ConnectionError:  # the line's own
            raise
        except OSError as error:
            self._outgoing.add(kinds.SKIP, number)
            self._fail(Failure.of_error(entry.path, error))

    def _send_content(self, number: int, entry: Entry, descriptor: int) -> None:
        data = os.read(descriptor, min(entry.size + 1, _ROOM))
        size, checksum = len(data), 0
        while size != entry.size if entry.size else data:  # what /proc shows has no size
            more = os.read(descriptor, _ROOM)
            if not more:
                break
            checksum = zlib.crc32(data, checksum)
            self._outgoing.add(kinds.PIECE, number, data)
            self._sent(entry.path, len(data))
            if self._received_done:
                return
            data, size = more, size + len(more)
        now = os.fstat(descriptor)
        if now.st_size != entry.size or now.st_mtime_ns != entry.mtime or (entry.size and size != entry.size):
            raise OSError(0, CHANGED)
        self._outgoing.add(kinds.LAST, number, NUMBER.pack(zlib.crc32(data, checksum)) + data)
        self._sent(entry.path, len(data))
        self.copied += 1

    def _path(self, entry: Entry) -> bytes:
        return self._root + b"/" + entry.path if entry.path else self._root

    def _fail(self, failure: Failure) -> None:
        self.failures.append(failure)
        self._outgoing.add(kinds.FAILED, 0, kinds.pack_failure(failure))


def digest_of(path: bytes, size: int) -> bytes:
    """Return the SHA-256 of a file's content, which has about ``size`` bytes; zeros where it cannot be read."""
    from hashlib import sha256  # here, as what is new needs none

    size = min(size + 1, PIECE_SIZE)  # no more than is needed, as memory of that size is had from the system each time
    try:
        descriptor = os.open(path, _READ)
        try:
            data = os.read(descriptor, size)
            if len(data) < size:
                return sha256(data).digest()
            digest = sha256(data)
            while data:
                data = os.read(descriptor, PIECE_SIZE)
                digest.update(data)
            return digest.digest()
        finally:
            os.close(descriptor)
    except OSError:
        return bytes(32)


def _entry(path: bytes, found: os.stat_result, place: bytes) -> "Optional[Entry]":
    mode = found.st_mode
    if stat.S_ISREG(mode):
        return Entry(path, b"f", mode & 0o7777, found.st_mtime_ns, found.st_size, b"")
    if stat.S_ISDIR(mode):
        return Entry(path, b"d", mode & 0o7777, found.st_mtime_ns, 0, b"")
    if stat.S_ISLNK(mode):
        return Entry(path, b"l", 0, found.st_mtime_ns, 0, os.readlink(place))
    return None
