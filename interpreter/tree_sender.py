"""Sends a tree: lists it, and then sends what the receiver wants of it."""

import hashlib
import json
import os
import queue
import stat
import threading
import zlib
from struct import Struct
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple

from . import tree_frames as kinds
from .errors import FormatError
from .tree_frames import PIECE_SIZE, Incoming, Outgoing, ignore, to_text

CHECKSUM = Struct(">I")
CHANGED = "it changed while it was read"
_ROOM = PIECE_SIZE - CHECKSUM.size
_LIST_SIZE = PIECE_SIZE // 2
_LIST_ENTRIES = 500
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class Failure(NamedTuple):
    """One file or folder that could not be read or written; ``path`` is relative to the root."""

    path: str
    errno: int
    text: str


class Entry(NamedTuple):
    path: bytes
    kind: str
    mode: int
    mtime: int
    size: int
    target: bytes


class Sender:
    """Sends the tree at ``root`` through ``write``, which takes a buffer whole.

    ``found`` is told of the size of each file that is listed, ``sent`` of bytes as they are
    sent or turn out to be there already, and of the name of their file.
    """

    def __init__(
        self,
        root: bytes,
        write: Callable[[memoryview], None],
        *,
        compress: Optional[bool] = None,
        found: Callable[[int], None] = ignore,
        sent: Callable[[bytes, int], None] = ignore,
    ) -> None:
        self._root = root
        self._outgoing = Outgoing(write, compress)
        self._found = found
        self._sent = sent
        self._entries: List[Entry] = []
        self._complete = True
        self._events: "queue.Queue[Tuple[int, Any]]" = queue.Queue()
        self._stopped = False
        self._over = False
        self._unsettled = False
        self.failures: List[Failure] = []
        """What could not be read."""
        self.refused: List[Failure] = []
        """What the receiver could not write."""
        self.left_out: List[str] = []
        """Pipes, sockets and devices, which are not copied."""
        self.already_there = 0
        """Files that were the same over there."""
        self.copied = 0
        """Files that were sent whole."""

    def run(self, read: Callable[[], bytes]) -> bool:
        """Send it all; ``read`` gives what comes from the receiver, b"" at its end.

        Returns whether the receiver said that it is done; where not, it has gone.
        Raises what ``read`` and ``write`` raise, and FormatError.
        """
        reader = threading.Thread(target=self._listen, args=(read,), daemon=True)
        reader.start()
        try:
            return self._send()
        finally:
            self._outgoing.flush()

    def _send(self) -> bool:
        for payload, first in self._lists():
            self._outgoing.add(kinds.LIST, first, payload)
            self._outgoing.flush()
            while not self._events.empty():
                if not self._attend(*self._events.get()):
                    return False
            if self._stopped:
                break
        else:
            self._outgoing.add(kinds.LISTED, len(self._entries), b"1" if self._complete else b"")
            self._outgoing.flush()
        while not self._stopped:
            if self._events.empty():
                self._outgoing.flush()
            if not self._attend(*self._events.get()):
                return False
        return True

    def _listen(self, read: Callable[[], bytes]) -> None:
        """Read what the receiver says; digests are compared here, so that the line stays busy meanwhile."""
        try:
            incoming = Incoming(self._hear)
            while True:
                data = read()
                if not data:
                    break
                incoming.feed(data)
            self._events.put((0, None))
        except BaseException as error:
            self._events.put((0, error))

    def _hear(self, kind: int, number: int, payload: memoryview) -> None:
        if kind == kinds.ANSWER:
            answer = kinds.parse(payload)
            try:
                self._events.put((kinds.PIECE, [int(wanted) for wanted in answer["want"]]))
                differ, same = [], []
                for at, digest, settled in answer["have"]:
                    entry = self._entries[int(at)]
                    found = digest_of(self._path(entry))
                    if found != digest:
                        differ.append(int(at))
                    else:
                        self.already_there += 1
                        self._sent(entry.path, entry.size)
                        if not settled:
                            same.append(int(at))
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise FormatError("an answer is damaged: {!r}".format(error))
            self._events.put((kinds.PIECE, differ))
            self._events.put((kinds.SAME, same))
        elif kind in (kinds.ANSWERED, kinds.DONE):
            self._over = kind == kinds.DONE
            failed = [Failure(*failure) for failure in kinds.parse(payload or b"[]")]
            self._events.put((kind, (number, failed)))
        else:
            raise FormatError("a receiver says nothing of kind {}".format(kind))

    def _attend(self, kind: int, what: Any) -> bool:
        """Do what the receiver asks for; say whether it is there at all."""
        if kind == kinds.PIECE:
            for number in what:
                if not self._over:
                    self._send_file(number)
        elif kind == kinds.SAME:
            for number in what:
                self._outgoing.add(kinds.SAME, number)
                self._unsettled = True
        elif kind == kinds.ANSWERED:
            self._outgoing.add(kinds.FINISH, 0)
            self._outgoing.flush()
            if what[0] == 1 and not self._unsettled:
                self.refused += what[1]
                self._stopped = True
        elif kind == kinds.DONE:
            self.refused += what[1]
            self._stopped = True
        elif isinstance(what, BaseException):
            raise what
        else:
            return False
        return True

    def _lists(self) -> Iterator[Tuple[bytes, int]]:
        """Yield the tree's entries as the payloads of LIST, with the number of the first."""
        texts: List[str] = []
        size, first = 0, 0
        for entry in self._walk():
            self._entries.append(entry)
            if entry.kind == "f":
                self._found(entry.size)
            what: Any = to_text(entry.target) if entry.kind == "l" else entry.size
            text = json.dumps([to_text(entry.path), entry.kind, entry.mode, entry.mtime, what])
            if size + len(text) > _LIST_SIZE or len(texts) == _LIST_ENTRIES:
                yield "[{}]".format(",".join(texts)).encode("ascii"), first
                texts, size, first = [], 0, len(self._entries) - 1
            texts.append(text)
            size += len(text) + 1
        if texts:
            yield "[{}]".format(",".join(texts)).encode("ascii"), first

    def _walk(self) -> Iterator[Entry]:
        try:
            root = os.stat(self._root)
        except OSError as error:
            self._fail(b"", error)
            return
        if not stat.S_ISDIR(root.st_mode):
            if stat.S_ISREG(root.st_mode):
                yield Entry(b"", "f", root.st_mode & 0o7777, root.st_mtime_ns, root.st_size, b"")
            else:
                self._note(Failure("", 0, "it is neither a file nor a folder"))
            return
        self._root = os.path.realpath(self._root)
        yield Entry(b"", "d", root.st_mode & 0o7777, root.st_mtime_ns, 0, b"")
        folders = [b""]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(os.path.join(self._root, folder) if folder else self._root) as found:
                    items = sorted(found, key=lambda item: item.name)
            except OSError as error:
                self._fail(folder, error)
                continue
            inner = []
            for item in items:
                path = folder + b"/" + item.name if folder else item.name
                try:
                    entry = _entry(path, item)
                except OSError as error:
                    self._fail(path, error)
                    continue
                if entry is None:
                    self.left_out.append(to_text(path))
                    self._outgoing.add_json(kinds.LEFT_OUT, 0, to_text(path))
                    continue
                yield entry
                if entry.kind == "d":
                    inner.append(path)
            folders += reversed(inner)

    def _send_file(self, number: int) -> None:
        entry = self._entries[number]
        try:
            if entry.kind != "f":
                raise FormatError("entry {} is not a file".format(number))
            descriptor = os.open(self._path(entry), _READ | (os.O_NOFOLLOW if entry.path else 0))
            try:
                unchanged = self._send_content(number, entry, descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if isinstance(error, ConnectionError):  # the line's own
                raise
            self._fail(entry.path, error)
            self._outgoing.add(kinds.SKIP, number)
        else:
            if not unchanged:
                self._note(Failure(to_text(entry.path), 0, CHANGED))
                self._outgoing.add(kinds.SKIP, number)
        self._unsettled = True

    def _send_content(self, number: int, entry: Entry, descriptor: int) -> bool:
        """Send a file; return False before its last piece where it is not what was listed any more."""
        size, checksum = 0, 0
        data = os.read(descriptor, _ROOM)
        size = len(data)
        # What /proc shows has no size.
        while size != entry.size if entry.size else data:
            more = os.read(descriptor, _ROOM)
            if not more:
                break
            checksum = zlib.crc32(data, checksum)
            self._outgoing.add(kinds.PIECE, number, data)
            self._sent(entry.path, len(data))
            if self._over:
                return True
            data, size = more, size + len(more)
        now = os.fstat(descriptor)
        if (now.st_mtime_ns, now.st_size) != (entry.mtime, entry.size) or size != (entry.size or size):
            return False
        self._outgoing.add(kinds.LAST, number, CHECKSUM.pack(zlib.crc32(data, checksum)), data)
        self._sent(entry.path, len(data))
        self.copied += 1
        return True

    def _path(self, entry: Entry) -> bytes:
        return self._root + b"/" + entry.path if entry.path else self._root

    def _fail(self, path: bytes, error: OSError) -> None:
        self._note(Failure(to_text(path), error.errno or 0, error.strerror or str(error)))

    def _note(self, failure: Failure) -> None:
        self._complete = False
        self.failures.append(failure)
        self._outgoing.add_json(kinds.FAILED, 0, failure)


def digest_of(path: bytes) -> str:
    """Return the SHA-256 of a file's content in hex; "" where it cannot be read."""
    digest = hashlib.sha256()
    try:
        descriptor = os.open(path, _READ)
        try:
            while True:
                data = os.read(descriptor, 1 << 18)
                digest.update(data)
                if len(data) < 1 << 18:
                    return digest.hexdigest()
        finally:
            os.close(descriptor)
    except OSError:
        return ""


def _entry(path: bytes, item: "os.DirEntry[bytes]") -> Optional[Entry]:
    found = item.stat(follow_symlinks=False)
    mode = found.st_mode
    if stat.S_ISREG(mode):
        return Entry(path, "f", mode & 0o7777, found.st_mtime_ns, found.st_size, b"")
    if stat.S_ISDIR(mode):
        return Entry(path, "d", mode & 0o7777, found.st_mtime_ns, 0, b"")
    if stat.S_ISLNK(mode):
        return Entry(path, "l", 0, found.st_mtime_ns, 0, os.readlink(item.path))
    return None
