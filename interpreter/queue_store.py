"""A queue on a file system that several nodes share.

<root>/queues/<name>/
    log/<block>/<number>        what changed the queue, in order; see ``queue_log``
    workers/<number>.journal    what a worker did; see ``queue_journal``
    workers/<number>.results
    snapshots/<number>          the state once the log's entries up to that number are applied
    tasks/<block>               the tasks that a discarded block of the log has added
"""

import contextlib
import os
import random
import shutil
import time
from typing import Callable, Dict, List, Optional

from .errors import FormatError
from .processes import HOST
from .queue_journal import read_journal
from .queue_log import BLOCK, Discarded, Log, publish, read_message
from .queue_snapshot import from_message, to_message
from .queue_state import State, change
from .queue_tasks import TaskReader
from .wire import Message, parse

FOLDERS = ("workers", "snapshots", "tasks")


class QueueMissing(FileNotFoundError):
    """There is no such queue, or it has been deleted."""


class Store:
    """A queue's files, and the state that they amount to as far as they have been read."""

    def __init__(self, root: str, name: str) -> None:
        self.name = name
        self.folder = os.path.join(root, "queues", name)
        self.log = Log(os.path.join(self.folder, "log"))
        self.state = State()

    def create(self) -> bool:
        """Make the queue, empty; False where it is there already."""
        if os.path.isdir(self.folder):
            return False
        aside = "{}/.{}.{}.{}.new".format(os.path.dirname(self.folder), self.name, HOST, os.getpid())
        shutil.rmtree(aside, ignore_errors=True)
        try:
            for folder in FOLDERS:
                os.makedirs(os.path.join(aside, folder), mode=0o700)
            log = Log(os.path.join(aside, "log"))
            log.create()
            log.append(0, change("create", format=1).chunks())
            os.rename(aside, self.folder)
            return True
        except OSError:
            if not os.path.isdir(self.folder):
                raise
            return False
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def delete(self) -> None:
        """Remove the queue with all that is in it.  Raises QueueMissing."""
        gone = "{}/.{}.{}.{}.gone".format(os.path.dirname(self.folder), self.name, HOST, os.getpid())
        try:
            os.rename(self.folder, gone)
        except FileNotFoundError:
            raise self._missing() from None
        shutil.rmtree(gone)

    def load(self) -> State:
        """Read the queue as it is now, journals included.  Raises QueueMissing."""
        self._load()
        self.refresh()
        self.fold()
        return self.state

    def refresh(self) -> None:
        """Read what has come to the log.  Raises QueueMissing."""
        while True:
            try:
                entry = self.log.read(self.state.position + 1)
            except Discarded:
                self._load()
                continue
            if entry is None:
                return
            self.state.apply(self.state.position + 1, entry)

    def fold(self) -> None:
        """Read what has come to the workers' journals."""
        for worker in self.state.workers.values():
            if worker.records is None or worker.folded < worker.records:
                data = read_journal(self.folder, worker.number, worker.folded, worker.records)
                if data:
                    self.state.fold(worker, data)

    def propose(self, decide: Callable[[State], Optional[Message]]) -> Optional[int]:
        """Append the entry that ``decide`` makes of the state, and return its number; None where it makes none.

        It is asked again where another process was first.  Raises QueueMissing.
        """
        refused = 0
        while True:
            self.refresh()
            entry = decide(self.state)
            if entry is None:
                return None
            number = self.state.position + 1
            try:
                if self.log.append(number, entry.chunks()):
                    self.state.apply(number, entry)
                    if number % BLOCK == 0:
                        self.compact()
                    return number
            except Discarded:
                self._load()
            refused += 1
            if refused > 2:
                time.sleep(random.uniform(0, 0.001 * 2 ** min(refused, 8)))

    def segment(self, entry: int) -> TaskReader:
        """Return the tasks that an entry has added."""
        return TaskReader(read_segment(self.folder, entry))

    # What keeps it small

    def compact(self) -> None:
        """Write a snapshot, and remove what it makes superfluous."""
        self.fold()
        self.state.forget_claims()
        position = self.state.position
        publish(self._snapshot(position), to_message(self.state).chunks())
        added: Dict[int, List[int]] = {}
        for segment in self.state.segments:
            added.setdefault(segment.entry // BLOCK, []).append(segment.entry)
        for block in self.log.blocks():
            if block < position // BLOCK:
                self._pack(block, added.get(block, []))
                self.log.discard(block)
        for number in self._snapshots()[:-1]:
            with contextlib.suppress(OSError):
                os.unlink(self._snapshot(number))

    def _pack(self, block: int, entries: List[int]) -> None:
        """Put the entries of a block that add tasks into one file."""
        path = os.path.join(self.folder, "tasks", str(block))
        if not entries or os.path.exists(path):
            return
        pack = Message({"kind": "tasks", "format": 1, "entries": entries})
        try:
            for entry in entries:
                with open(os.path.join(self.log.folder, str(block), str(entry)), "rb") as file:
                    pack.add("entry", file.read())
        except FileNotFoundError:  # another process has done it meanwhile
            return
        publish(path, pack.chunks())

    def _load(self) -> None:
        """Start from the latest snapshot."""
        while True:
            snapshots = self._snapshots()
            if not snapshots:
                self.state = State()
                return
            message = read_message(self._snapshot(snapshots[-1]))
            if message is not None:
                self.state = from_message(message)
                return

    def _snapshots(self) -> List[int]:
        try:
            return sorted(int(name) for name in os.listdir(os.path.join(self.folder, "snapshots")) if name.isdigit())
        except FileNotFoundError:
            raise self._missing() from None

    def _snapshot(self, position: int) -> str:
        return os.path.join(self.folder, "snapshots", str(position))

    def _missing(self) -> QueueMissing:
        return QueueMissing(2, "there is no queue {!r}".format(self.name), self.folder)


def read_segment(folder: str, entry: int) -> Message:
    """Return the entry of that number, which adds tasks to the queue in ``folder``."""
    for _ in range(2):  # it may be moved in between
        message = read_message(os.path.join(folder, "log", str(entry // BLOCK), str(entry)))
        if message is not None:
            return message
        pack = read_message(os.path.join(folder, "tasks", str(entry // BLOCK)))
        if pack is not None:
            return parse(pack.all("entry")[pack.header["entries"].index(entry)])
    raise FormatError("the tasks of entry {} are not there any more".format(entry))
