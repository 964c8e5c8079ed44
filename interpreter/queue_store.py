"""A queue on a file system that several nodes share.

<root>/queues/<name>/
    log/<block>/<number>        what changed the queue, in order; see ``queue_log``
    workers/<number>.journal    what a worker did; see ``queue_journal``
    workers/<number>.results
    snapshots/<number>          the state once the log's entries up to that number are applied
    tasks/<block>               the tasks that a discarded block of the log has added
"""

import os
import random
import shutil
import time
from typing import Callable, Optional

from .queue_compaction import compact, snapshots
from .queue_journal import read_journal
from .queue_log import BLOCK, Discarded, Log, read_message
from .queue_snapshot import from_message
from .queue_state import State, change
from .wire import Message

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
        aside = "{}/.{}.{}.new".format(os.path.dirname(self.folder), self.name, os.urandom(8).hex())
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
        gone = "{}/.{}.{}.gone".format(os.path.dirname(self.folder), self.name, os.urandom(8).hex())
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
        while not self._fold():
            self._load()
            self.refresh()

    def _fold(self) -> bool:
        """Do so; return False where a journal has become part of another, which the latest snapshot tells."""
        for worker in self.state.workers.values():
            if worker.records is None or worker.folded < worker.records:
                try:
                    data = read_journal(self.folder, worker.file, worker.folded, worker.records)
                except FileNotFoundError:  # it has not been made yet, unless it has been in use
                    if worker.records:
                        return False
                    continue
                self.state.fold(worker, data)
        return True

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

    def compact(self) -> None:
        """Write a snapshot, and remove what it makes superfluous."""
        self.fold()
        try:
            if compact(self.folder, self.state):
                return
        except FileNotFoundError:  # the queue is gone, or another process was quicker
            pass
        self._load()
        self.refresh()

    def _load(self) -> None:
        """Start from the latest snapshot."""
        while True:
            try:
                found = snapshots(self.folder)
            except FileNotFoundError:
                raise self._missing() from None
            if not found:
                self.state = State()
                return
            message = read_message(os.path.join(self.folder, "snapshots", str(found[-1])))
            if message is not None:
                self.state = from_message(message)
                return

    def _missing(self) -> QueueMissing:
        return QueueMissing(2, "there is no queue {!r}".format(self.name), self.folder)
