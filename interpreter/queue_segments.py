"""Where the tasks of a queue are kept: in the log, and beside it once their part of the log is discarded.

tasks/<number>      the entry of that number, which is large
tasks/<a>-<b>       the smaller entries that the blocks a to b of the log have added: a message with
                    their numbers as ``entries`` and a section ``entry`` for each
"""

import contextlib
import os
from typing import Dict, Iterable, List

from .errors import FormatError
from .queue_log import BLOCK, publish, read_message
from .queue_tasks import TaskReader
from .wire import Message, parse

LARGE = 1 << 18
"""Bytes from which an entry is kept as a file of its own."""
TOGETHER = 32
"""Packs of about the same size that are made one."""
_KEPT = 64
"""Entries that a reader keeps at hand."""


class SegmentFiles:
    """Reads the entries that added tasks to the queue in a folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._readers: Dict[int, TaskReader] = {}
        self._packed: Dict[int, memoryview] = {}

    def read(self, entry: int) -> TaskReader:
        """Return the tasks that the entry of that number has added."""
        reader = self._readers.get(entry)
        if reader is None:
            if len(self._readers) >= _KEPT:
                self._readers.clear()
            reader = self._readers[entry] = TaskReader(self._find(entry))
        return reader

    def _find(self, entry: int) -> Message:
        if entry in self._packed:
            return parse(self._packed[entry])
        for _ in range(3):  # it may be moved in between
            for path in (log_path(self._folder, entry), os.path.join(self._folder, "tasks", str(entry))):
                message = read_message(path)
                if message is not None:
                    return message
            for name in packs(self._folder):
                first, last = _blocks(name)
                pack = read_message(os.path.join(self._folder, "tasks", name)) if _holds(first, last, entry) else None
                if pack is not None and entry in pack.header["entries"]:
                    self._packed = dict(zip(pack.header["entries"], pack.all("entry")))
                    return parse(self._packed[entry])
        raise FormatError("the tasks of entry {} are not there any more".format(entry))


def keep_entries(folder: str, block: int, entries: Iterable[int]) -> None:
    """Keep those entries of a block that add tasks, as the block is about to be discarded."""
    small: List[int] = []
    chunks: List[bytes] = []
    for entry in entries:
        path = log_path(folder, entry)
        try:
            if os.stat(path).st_size >= LARGE:
                with contextlib.suppress(FileExistsError):
                    os.link(path, os.path.join(folder, "tasks", str(entry)))
                continue
            with open(path, "rb") as file:
                chunks.append(file.read())
        except FileNotFoundError:  # another process has done all that meanwhile
            return
        small.append(entry)
    if small:
        _publish_pack(folder, block, block, small, chunks)


def join_packs(folder: str) -> None:
    """Make one pack of many, so that tasks that were added one by one are few files."""
    levels: Dict[int, List[str]] = {}
    for name in packs(folder):
        first, last = _blocks(name)
        if os.stat(os.path.join(folder, "tasks", name)).st_size < LARGE * TOGETHER:
            levels.setdefault(_level(last - first + 1), []).append(name)
    for names in levels.values():
        if len(names) < TOGETHER:
            continue
        entries: List[int] = []
        chunks: List[bytes] = []
        for name in names:
            pack = read_message(os.path.join(folder, "tasks", name))
            if pack is None:  # another process is at it
                return
            entries += pack.header["entries"]
            chunks += [bytes(entry) for entry in pack.all("entry")]
        _publish_pack(folder, _blocks(names[0])[0], _blocks(names[-1])[1], entries, chunks)
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, "tasks", name))


def packs(folder: str) -> List[str]:
    """Return the names of the packs, in the order of their blocks."""
    return sorted((name for name in os.listdir(os.path.join(folder, "tasks")) if "-" in name[1:]), key=_blocks)


def log_path(folder: str, entry: int) -> str:
    """Return where an entry is as long as its block is there."""
    return os.path.join(folder, "log", str(entry // BLOCK), str(entry))


def _publish_pack(folder: str, first: int, last: int, entries: List[int], chunks: List[bytes]) -> None:
    pack = Message({"kind": "tasks", "format": 1, "entries": entries})
    for chunk in chunks:
        pack.add("entry", chunk)
    publish(os.path.join(folder, "tasks", "{}-{}".format(first, last)), pack.chunks())


def _blocks(name: str) -> "tuple[int, int]":
    first, _, last = name.partition("-")
    return int(first), int(last)


def _holds(first: int, last: int, entry: int) -> bool:
    return first <= entry // BLOCK <= last


def _level(blocks: int) -> int:
    level = 0
    while blocks >= TOGETHER:
        blocks //= TOGETHER
        level += 1
    return level
