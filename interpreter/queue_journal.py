"""A worker's journal: which tasks it has begun and how they ended, written by that worker alone.

    workers/<number>.journal    records of 40 bytes
    workers/<number>.results    what the records point to: what a task returned and printed

A record is put there by one ``write``, a result before its record.  So whatever
kills a worker, what it had recorded is there; and what its machine had not put to
disk when that went down is found and left out by ``valid_records``.
"""

import os
import struct
import time
from typing import BinaryIO, Dict, List, NamedTuple, Optional

from .wire import Message

RECORD = struct.Struct(">BBHIIIQdd")
SHORT = struct.Struct(">BxxxII28x")
"""The part of a record that tells a task's state: kind, claim and task."""
START, SUCCEEDED, FAILED = 1, 2, 3
"""The kinds of records."""
ENDS = ("returned", "raised", "exited", "killed", "walltime", "refused", "unencodable", "unwritten")
"""How a task ended, as a response's ``outcome`` has it; a record holds the index."""

NONE = [("value", (b"\x80\x04N.",))]
"""What a function that returns None leaves, if it printed nothing; nothing is kept of that."""


class Record(NamedTuple):
    """One record.  ``status`` is the exit status or the signal; ``time`` on the worker's clock."""

    kind: int
    end: int
    status: int
    claim: int
    task: int
    length: int
    offset: int
    time: float
    seconds: float


class Journal:
    """Writes a worker's journal.  Its descriptors may be shared with a forked process, while one of both writes."""

    def __init__(self, folder: str, number: int) -> None:
        """Make the files.  Raises FileExistsError where they are there."""
        self.path = journal_path(folder, str(number))
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._journal = os.open(self.path, flags, 0o600)
        self._results = os.open(results_path(folder, str(number)), flags, 0o600)

    def start(self, claim: int, task: int) -> None:
        """Record that a task is about to run."""
        self._write(RECORD.pack(START, 0, 0, claim, task, 0, 0, time.time(), 0.0))

    def finish(self, claim: int, task: int, result: Message, succeeded: bool, seconds: float) -> None:
        """Record how a task ended.  ``result`` is a response without what all responses have."""
        header = result.header
        end = ENDS.index(header["outcome"])
        status = int(header.get("status") or header.get("signal") or 0)
        offset = length = 0
        nothing = header == {"outcome": "returned"} and result.sections == NONE
        if not nothing and (result.sections or set(header) - {"outcome", "status", "signal"}):
            data = memoryview(result.to_bytes())
            length = len(data)
            offset = os.lseek(self._results, 0, os.SEEK_END)
            try:
                while data:
                    data = data[os.write(self._results, data) :]
            except OSError:  # a part of it would take the room that the record needs
                os.ftruncate(self._results, offset)
                raise
        kind = SUCCEEDED if succeeded else FAILED
        self._write(RECORD.pack(kind, end, status, claim, task, length, offset, time.time(), seconds))

    def mend(self) -> None:
        """Cut off the part of a record that a killed process may have left at the end."""
        size = os.fstat(self._journal).st_size
        if size % RECORD.size:
            os.ftruncate(self._journal, size - size % RECORD.size)

    def count(self) -> int:
        """Return how many records there are."""
        return os.fstat(self._journal).st_size // RECORD.size

    def records(self, first: int) -> List[Record]:
        """Return the records from number ``first`` on."""
        size = (self.count() - first) * RECORD.size
        return read_records(os.pread(self._journal, size, first * RECORD.size)) if size > 0 else []

    def flush(self) -> None:
        """Put what was recorded to disk: the results first, as records point to them."""
        os.fsync(self._results)
        os.fsync(self._journal)

    def close(self) -> None:
        os.close(self._journal)
        os.close(self._results)

    def _write(self, record: bytes) -> None:
        written = os.write(self._journal, record)
        if written != len(record):
            self.mend()
            raise OSError(28, "No space left on device", self.path)


def journal_path(folder: str, name: str) -> str:
    """Return where a journal is; a worker's is called by its number."""
    return os.path.join(folder, "workers", name + ".journal")


def results_path(folder: str, name: str) -> str:
    """Return where the results are that its records point to."""
    return os.path.join(folder, "workers", name + ".results")


def read_journal(folder: str, name: str, first: int, last: Optional[int] = None) -> bytes:
    """Return a journal's whole records from number ``first`` on, before number ``last``.

    Raises FileNotFoundError where there is none: not yet, or not any more.
    """
    with open(journal_path(folder, name), "rb") as file:
        file.seek(first * RECORD.size)
        data = file.read() if last is None else file.read(max(0, last - first) * RECORD.size)
    return data[: len(data) - len(data) % RECORD.size]


def read_records(data: bytes) -> List[Record]:
    """Return records as they are told apart."""
    return [Record(*fields) for fields in RECORD.iter_unpack(data)]


def valid_records(folder: str, name: str, first: int) -> int:
    """Return how many records of a worker hold, the first ``first`` of which are known to.

    Those that do not are what a machine had not put to disk when it went down.
    """
    count = first
    try:
        records = read_records(read_journal(folder, name, first))
        size = os.stat(results_path(folder, name)).st_size
    except FileNotFoundError:  # it was killed before it made them
        return count
    for record in records:
        if record.kind not in (START, SUCCEEDED, FAILED) or record.offset + record.length > size:
            break
        count += 1
    return count


class ResultReader:
    """Reads what records point to; the files stay open in between."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files: Dict[str, BinaryIO] = {}

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return a result; less than ``length`` where its machine has gone down before it was on disk.

        Raises FileNotFoundError where the file is gone, or has become part of another.
        """
        if not length:
            return b""
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = open(results_path(self._folder, name), "rb")
        return os.pread(file.fileno(), length, offset)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()
