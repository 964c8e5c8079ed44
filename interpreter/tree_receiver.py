"""Receives a tree: compares what is listed with what is there, and writes what comes.

Nobody vouches for the sender: nothing is written outside the tree's root, whatever
names and links it lists.  Files are written beside their places and renamed.
"""

import errno
import os
import stat
import zlib

from . import tree_frames as kinds
from .errors import FormatError
from .tree_frames import NUMBER, Entry, Failure, Incoming, Outgoing, ignore
from .tree_sender import digest_of
from .tree_threads import Queue, allocate_lock, start_new_thread

TYPE_CHECKING = False  # as typing has it
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Set, Tuple

    Comparable = Tuple[int, Entry, bool]

_HASHED_FILES = 100
_HASHED_BYTES = 8 << 20
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Receiver:
    """Writes the tree that arrives to where ``place`` says, given the kind of its root: f or d.

    ``write`` takes what goes back to the sender.  ``always_copy`` wants files whatever
    is there; ``delete`` removes what the sender does not have.  ``found`` and ``written``
    are told of sizes as the sender's ``found`` and ``sent`` are.  With ``scattered`` the
    folders are only the way to the files: those that are there stay as they are, and
    may be links.
    """

    def __init__(
        self,
        place: "Callable[[bytes], bytes]",
        write: "Callable[[memoryview], None]",
        *,
        always_copy: bool = False,
        delete: bool = False,
        scattered: bool = False,
        found: "Callable[[int], None]" = ignore,
        written: "Callable[[bytes, int], None]" = ignore,
    ) -> None:
        self._place = place
        self._outgoing = Outgoing(write, compress=False)
        self._incoming = Incoming(self._take)
        self._always_copy = always_copy
        self._delete = delete
        self._scattered = scattered
        self._found = found
        self._written = written
        self._root = b""
        self._single = True
        self._count = 0
        self._partial_name = ".{}.part".format(os.urandom(8).hex()).encode("ascii")
        self._outstanding: Dict[int, Entry] = {}
        self._wanted: Set[int] = set()
        self._folders: Dict[bytes, Tuple[Entry, os.stat_result]] = {}
        self._touched: Set[bytes] = set()
        self._new: Set[bytes] = set()
        self._links: List[Entry] = []
        self._names: Set[bytes] = set()
        self._to_hash: Queue[Optional[List[Comparable]]] = Queue()
        self._hashing = False
        self._answering = allocate_lock()
        self._compared: Set[int] = set()
        self._current: Optional[_Partial] = None
        self._sender_read_all = False
        self.failures: List[Failure] = []
        """What could not be written."""
        self.unread: List[Failure] = []
        """What the sender could not read."""
        self.left_out: List[bytes] = []
        """What the sender does not copy: pipes, sockets and devices."""
        self.files = 0
        """Files that were listed."""
        self.done = False
        self.copied = 0
        """Files that came whole."""

    def feed(self, data: bytes) -> None:
        """Take what arrives from the sender.  Raises FormatError, and what ``place`` and ``write`` raise."""
        if not self.done:
            self._incoming.feed(data)
            self._outgoing.flush()

    @property
    def needs_more(self) -> bool:
        """Whether anything is to come, or to be compared."""
        return bool(self._outstanding)

    def wait_until_answered(self) -> None:
        """Wait until every entry that has been listed is answered."""
        with self._answering:
            pass

    def close(self) -> None:
        """Remove what was half written; ends the threads."""
        if self._hashing:
            self._to_hash.put(None)
        if self._current is not None:
            self._current.remove()
            self._current = None

    def _take(self, kind: int, number: int, payload: memoryview) -> None:
        if self.done:
            return
        if kind == kinds.LIST:
            self._list(number, payload)
        elif kind == kinds.LISTED:
            self._listed(number, bool(payload))
        elif kind in (kinds.PIECE, kinds.LAST):
            self._write(number, payload, kind == kinds.LAST)
        elif kind == kinds.SAME:
            self._settle(self._outstanding.pop(number))
        elif kind == kinds.SKIP:
            self._give_up(number)
        elif kind == kinds.FAILED:
            self.unread.append(kinds.unpack_failure(payload))
        elif kind == kinds.LEFT_OUT:
            self.left_out.append(bytes(payload))
        elif kind == kinds.FINISH:
            self._finish()
            for each in sorted(self._wanted):
                self._fail(self._outstanding[each].path, OSError(0, "it has not come"))
            self._end()
        else:
            raise FormatError("a sender says nothing of kind {}".format(kind))

    def _end(self) -> None:
        self._outgoing.add(kinds.DONE, 0)
        self._outgoing.flush()
        self.done = True

    # What is there already

    def _list(self, first: int, payload: memoryview) -> None:
        want: List[int] = []
        have: List[Comparable] = []
        for number, entry in enumerate(kinds.unpack_entries(payload), first):
            _check(entry)
            if number != self._count or (number and self._single):
                raise FormatError("entry {} is not expected".format(number))
            self._count += 1
            if self._delete:
                self._names.add(entry.path)
            try:
                if number == 0:
                    self._begin(entry)
                if entry.kind == b"d":
                    self._make_folder(entry)
                elif number and _folder_of(entry.path) not in self._folders:
                    pass  # its folder has failed, and that has been told
                elif entry.kind == b"l":
                    self._compare_link(entry)
                else:
                    self.files += 1
                    self._found(entry.size)
                    self._compare_file(number, entry, want, have)
            except OSError as error:
                self._fail(entry.path, error)
                if number == 0:
                    self._end()
                    return
        if want:
            self._wanted.update(want)
            self._outgoing.add(kinds.WANT, 0, kinds.pack_numbers(want))
            self._outgoing.flush()
        if have:
            if not self._hashing:
                self._hashing = True
                self._answering.acquire()
                start_new_thread(self._hash, ())
            self._to_hash.put(have)

    def _begin(self, entry: Entry) -> None:
        if entry.path or entry.kind == b"l":
            raise FormatError("the tree has no root")
        self._root = self._place(entry.kind)
        self._single = entry.kind == b"f"
        os.makedirs(os.path.dirname(self._root) or b".", exist_ok=True)

    def _path(self, entry: Entry) -> bytes:
        return self._root + b"/" + entry.path if entry.path else self._root

    def _make_folder(self, entry: Entry) -> None:
        parent = _folder_of(entry.path)
        if entry.path and parent not in self._folders:
            return
        path = self._path(entry)
        try:
            os.mkdir(path, 0o777 if self._scattered else 0o700)
            self._touched.update((parent, entry.path))
            self._new.add(entry.path)
        except FileExistsError:
            # Where a link stands in its place, files would be written elsewhere; only the root may be one.
            there = os.lstat(path) if entry.path and not self._scattered else os.stat(path)
            if not stat.S_ISDIR(there.st_mode):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        else:
            there = os.lstat(path)
        if (
            there.st_mode & 0o700 != 0o700 and not self._scattered
        ):  # so that it can be written into; put right at the end
            os.chmod(path, stat.S_IMODE(there.st_mode) | 0o700)
            self._touched.add(entry.path)
        self._folders[entry.path] = (entry, there)

    def _compare_link(self, entry: Entry) -> None:
        try:
            if os.readlink(self._path(entry)) == entry.target:
                return
        except OSError:
            pass
        self._links.append(entry)

    def _compare_file(self, number: int, entry: Entry, want: "List[int]", have: "List[Comparable]") -> None:
        self._outstanding[number] = entry
        if number and _folder_of(entry.path) in self._new:
            want.append(number)
            return
        try:
            there = os.lstat(self._path(entry))
        except FileNotFoundError:
            want.append(number)
        else:
            if stat.S_ISDIR(there.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if self._always_copy or not stat.S_ISREG(there.st_mode) or there.st_size != entry.size:
                want.append(number)
            else:
                settled = stat.S_IMODE(there.st_mode) == entry.mode and there.st_mtime_ns == entry.mtime
                have.append((number, entry, settled))

    def _hash(self) -> None:
        """Tell the sender the digests of what is there; a thread of its own, so that files come meanwhile."""
        try:
            self._hash_all()
        except ConnectionError:
            pass  # the other thread finds the line gone too
        finally:
            self._answering.release()

    def _hash_all(self) -> None:
        while True:
            files = self._to_hash.get()
            if files is None:
                return
            if not files:
                self._answered()
                return
            answers, size = [], 0
            for number, entry, settled in files:
                answers.append((number, settled, digest_of(self._path(entry), entry.size)))
                self._compared.add(number)
                self._written(entry.path, entry.size)
                size += entry.size
                if len(answers) == _HASHED_FILES or size > _HASHED_BYTES:
                    self._answer(answers)
                    answers, size = [], 0
            if answers:
                self._answer(answers)

    def _answer(self, had: "List[Tuple[int, bool, bytes]]") -> None:
        self._outgoing.add(kinds.HAVE, 0, kinds.pack_had(had))
        self._outgoing.flush()

    def _listed(self, count: int, complete: bool) -> None:
        if count != self._count:
            raise FormatError("{} entries came of {}".format(self._count, count))
        self._sender_read_all = complete
        if not self._wanted:
            self._finish()
        if not self._hashing:
            self._answered()
        else:
            self._to_hash.put([])

    def _answered(self) -> None:
        self._outgoing.add(kinds.ANSWERED, 0 if self._wanted else 1)
        self._outgoing.flush()

    # What comes

    def _write(self, number: int, data: memoryview, last: bool) -> None:
        entry = self._outstanding.get(number)
        if entry is None:  # it has failed
            return
        if last:
            (checksum,) = NUMBER.unpack_from(data)
            data = data[NUMBER.size :]
        try:
            path = self._path(entry)
            current = self._current
            if current is None or current.number != number:
                if current is not None:
                    raise FormatError("a file ended before its last piece")
                folder = path[: path.rindex(b"/") + 1] if b"/" in path else b""
                if number in self._compared:  # it was told as done, and is not
                    self._compared.remove(number)
                    self._written(entry.path, -entry.size)
                current = self._current = _Partial(number, folder + self._partial_name)
            current.write(data)
            if last:
                current.finish(path, entry, checksum)
                self._current = None
                self.copied += 1
                self._wanted.discard(number)
                del self._outstanding[number]
                self._touched.add(_folder_of(entry.path))
        except OSError as error:
            self._give_up(number)
            self._fail(entry.path, error)
        self._written(entry.path, len(data))

    def _give_up(self, number: int) -> None:
        if self._current is not None and self._current.number == number:
            self._current.remove()
            self._current = None
        self._wanted.discard(number)
        self._outstanding.pop(number, None)

    def _settle(self, entry: Entry) -> None:
        path = self._path(entry)
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise FileExistsError(errno.EEXIST, "it has become something else")
            os.chmod(path, entry.mode)
            os.utime(path, ns=(entry.mtime, entry.mtime))
        except OSError as error:
            self._fail(entry.path, error)

    # When all has come

    def _finish(self) -> None:
        """Make the links, remove what is to go, and set permissions and times of folders; may be done twice."""
        links, self._links = self._links, []
        for entry in links:
            try:
                self._make_link(entry)
            except OSError as error:
                self._fail(entry.path, error)
        if self._delete and self._sender_read_all and not self._single:
            for folder in list(self._folders):
                self._remove_others(folder)
        for entry, before in () if self._scattered else reversed(list(self._folders.values())):
            mode = entry.mode | (before.st_mode & 0o7000)
            if entry.path in self._touched or stat.S_IMODE(before.st_mode) != mode or before.st_mtime_ns != entry.mtime:
                try:
                    os.chmod(self._path(entry), mode)
                    os.utime(self._path(entry), ns=(entry.mtime, entry.mtime))
                except OSError as error:
                    self._fail(entry.path, error)

    def _make_link(self, entry: Entry) -> None:
        path = self._path(entry)
        self._touched.add(_folder_of(entry.path))
        partial = os.path.join(os.path.dirname(path), self._partial_name)
        os.symlink(entry.target, partial)
        try:
            os.utime(partial, ns=(entry.mtime, entry.mtime), follow_symlinks=False)
            os.rename(partial, path)
        except OSError:
            os.unlink(partial)
            raise

    def _remove_others(self, folder: bytes) -> None:
        path = self._path(self._folders[folder][0])
        try:
            with os.scandir(path) as found:
                items = [
                    item for item in found if (folder + b"/" + item.name if folder else item.name) not in self._names
                ]
            for item in items:
                self._touched.add(folder)
                if item.is_dir(follow_symlinks=False):
                    import shutil  # takes a while to import, and is seldom needed

                    shutil.rmtree(item.path)
                else:
                    os.unlink(item.path)
        except OSError as error:
            self._fail(folder, error)

    def _fail(self, path: bytes, error: OSError) -> None:
        failure = Failure.of_error(path, error)
        self.failures.append(failure)
        self._outgoing.add(kinds.FAILED, 0, kinds.pack_failure(failure))
        if error.errno in _FATAL:
            self._end()


class _Partial:
    """A file that is being written beside its place."""

    def __init__(self, number: int, path: bytes) -> None:
        self.number = number
        self._path = path
        self._checksum = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def write(self, data: memoryview) -> None:
        self._checksum = zlib.crc32(data, self._checksum)
        written = os.write(self._file, data)
        while written < len(data):
            written += os.write(self._file, data[written:])

    def finish(self, place: bytes, entry: Entry, checksum: int) -> None:
        """Rename it to its place.  Raises OSError where it is not what was sent."""
        if checksum != self._checksum:
            raise OSError(errno.EIO, "its checksum is wrong")
        os.fchmod(self._file, entry.mode)
        os.utime(self._file, ns=(entry.mtime, entry.mtime))
        descriptor, self._file = self._file, -1
        os.close(descriptor)
        os.rename(self._path, place)

    def remove(self) -> None:
        """Remove it, as it will not be whole."""
        if self._file >= 0:
            os.close(self._file)
        if os.path.lexists(self._path):
            os.unlink(self._path)


def _folder_of(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _check(entry: Entry) -> None:
    """Raise FormatError for an entry that leads elsewhere; drop what permissions it should not have."""
    path, kind = entry.path, entry.kind
    if path and (b"\0" in path or not {b"", b".", b".."}.isdisjoint(path.split(b"/"))):
        raise FormatError("the sender lists a name that leads elsewhere: {!r}".format(path))
    if kind not in (b"d", b"f", b"l"):
        raise FormatError("the sender lists what is neither a file nor a folder nor a link")
    entry.mode &= 0o777
