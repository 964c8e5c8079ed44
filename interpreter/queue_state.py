"""What a queue's log and journals amount to: the state of each task, and who works on them.

``apply`` takes the log's entries in order, ``fold`` a worker's journal.  A record of
a journal counts only for a task that its worker holds: under the claim that the
record names.  So it does not matter whether an entry or a record is read first, and
a worker whose tasks were taken away can record what it likes.
"""

import array
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional

from .errors import FormatError
from .queue_journal import FAILED as JOURNAL_FAILED
from .queue_journal import SHORT, START
from .queue_journal import SUCCEEDED as JOURNAL_SUCCEEDED
from .queue_ranges import Ranges, numbers_of, pack_ranges, unpack_ranges
from .queue_tasks import read_after, read_priorities
from .wire import Header, Message

READY, WAITING, HELD, STARTED, SUCCEEDED, FAILED, DELETED = range(7)
"""READY may be claimed; WAITING comes after tasks that have not succeeded; HELD is claimed and not begun."""
NAMES = {
    "WAITING": (WAITING,),
    "PENDING": (READY, HELD),
    "RUNNING": (STARTED,),
    "SUCCEEDED": (SUCCEEDED,),
    "FAILED": (FAILED,),
}
"""The states as users see them."""
MOST_ATTEMPTS = 255
NO_RECORD = 0xFFFFFFFF
"""Stands for the record of a task whose worker was given up before it could make one."""


class Worker:
    """A worker: its number is that of the entry with which it joined."""

    def __init__(self, number: int, about: Header) -> None:
        self.number = number
        self.about = about
        """``process`` (as ``this_process`` has it), and what else it tells of itself."""
        self.file = str(number)
        """What its journal is called, which may have become part of a larger one."""
        self.first_record = 0
        """Where its journal begins in that."""
        self.first_result = 0
        """Where its results begin in those of that."""
        self.folded = 0
        """Records of its journal that are in the state."""
        self.records: Optional[int] = None
        """How many of its records count, once it has gone; None while it may work."""
        self.lost = False
        """Whether it was given up instead of leaving by itself."""


class Segment:
    """The tasks of one entry."""

    def __init__(self, first: int, count: int, entry: int) -> None:
        self.first = first
        self.count = count
        self.entry = entry


class State:
    """The state of a queue once the entries up to ``position`` are applied."""

    def __init__(self) -> None:
        self.position = -1
        self.paused = False
        self.states = bytearray()
        self.attempts = bytearray()
        """For each task how many attempts are over, and not the last."""
        self.claims = array.array("I")
        """The entry by which each task is held, or was when it ended; 0 where it is not."""
        self.workers_of = array.array("I")
        """The worker whose journal says how it ended."""
        self.records = array.array("I")
        """The number of that record."""
        self.segments: List[Segment] = []
        self.workers: Dict[int, Worker] = {}
        self.claimers: Dict[int, int] = {}
        """The worker of each claim, of which some tasks may not have ended."""
        self.added: Dict[str, int] = {}
        """The first task of each entry that added some, by the entry's id."""
        self.priorities: Dict[int, int] = {}
        """Those that are not 0."""
        self.after: Dict[int, List[int]] = {}
        """What a task comes after."""
        self.successors: Dict[int, List[int]] = {}
        self._unmet: Dict[int, int] = {}
        self._hint = 0
        """No task before it is READY, but for those with a priority."""
        self._ranked: Optional[List[int]] = None

    # What is asked of it

    def count(self, name: str) -> int:
        """Return how many tasks are in a state, as users see it."""
        return sum(self.states.count(bytes([code])) for code in NAMES[name])

    def in_state(self, *codes: int) -> Iterator[int]:
        """Yield the tasks in any of these states, in order."""
        wanted = frozenset(codes)
        return (number for number, code in enumerate(self.states) if code in wanted)

    def live_workers(self) -> List[Worker]:
        """Return the workers that have not gone."""
        return [worker for worker in self.workers.values() if worker.records is None]

    def held_by(self, worker: Worker, code: int) -> List[int]:
        """Return the tasks that a worker holds and that are in a state: HELD or STARTED."""
        return [task for task in self.in_state(code) if self.claimers[self.claims[task]] == worker.number]

    def attempt(self, task: int) -> int:
        """Return how often a task has been begun since it was added or asked for again."""
        begun = self.states[task] in (STARTED, SUCCEEDED, FAILED) and self.claims[task] > 0
        return self.attempts[task] + begun

    def choose(self, limit: int) -> List[int]:
        """Return up to ``limit`` READY tasks: those of the highest priority first, then the oldest."""
        chosen: List[int] = []
        ranked = self._by_priority()
        for task in ranked:
            if len(chosen) == limit or self.priorities[task] < 0:
                break
            if self.states[task] == READY:
                chosen.append(task)
        position = self._hint
        first = True
        while len(chosen) < limit:
            position = self.states.find(READY, position)
            if position < 0:
                break
            if first and position not in self.priorities:
                self._hint, first = position, False
            if position not in self.priorities:
                chosen.append(position)
            position += 1
        for task in ranked:
            if len(chosen) == limit:
                break
            if self.priorities[task] < 0 and self.states[task] == READY:
                chosen.append(task)
        return chosen

    def _by_priority(self) -> List[int]:
        if self._ranked is None:
            self._ranked = sorted(self.priorities, key=lambda task: (-self.priorities[task], task))
        if len(self._ranked) > 1000:
            # Those that are taken stay taken, mostly; what makes one READY again clears the list.
            self._ranked = [task for task in self._ranked if self.states[task] in (READY, WAITING)]
        return self._ranked

    # What changes it

    def apply(self, number: int, entry: Message) -> None:
        """Take an entry of the log.  Raises FormatError where a newer sremote has written it."""
        kind = entry.header.get("kind")
        handler: Optional[Callable[[int, Message], None]] = getattr(self, "_take_{}".format(kind), None)
        if handler is None:
            raise FormatError("entry {} is a {!r}: of a newer sremote".format(number, kind))
        handler(number, entry)
        self.position = number

    def _take_create(self, number: int, entry: Message) -> None:
        if entry.header.get("format") != 1:
            raise FormatError("the queue is of format {!r}, not 1".format(entry.header.get("format")))

    def _take_add(self, number: int, entry: Message) -> None:
        first, count = len(self.states), entry.header["count"]
        self.segments.append(Segment(first, count, number))
        self.added[entry.header["id"]] = first
        self.states += bytes(count)
        self.attempts += bytes(count)
        for numbers in (self.claims, self.workers_of, self.records):
            numbers.frombytes(bytes(count * numbers.itemsize))
        priorities = read_priorities(entry)
        if priorities is not None:
            self._prioritize((first + offset, priority) for offset, priority in enumerate(priorities))
        for offset, other in read_after(entry):
            self._depend(first + offset, other if other >= 0 else first - 1 - other)

    def _take_join(self, number: int, entry: Message) -> None:
        self.workers[number] = Worker(number, entry.header["about"])

    def _take_claim(self, number: int, entry: Message) -> None:
        for first, count in tasks_of(entry):
            self.states[first : first + count] = bytes([HELD]) * count
            self.claims[first : first + count] = array.array("I", [number]) * count
        self.claimers[number] = entry.header["worker"]

    def _take_release(self, number: int, entry: Message) -> None:
        """A worker gives tasks back, or it is given up and they are taken from it.

        ``started`` are those that it had begun; ``failed`` those that are not to be begun again.
        """
        self._count_attempts(unpack_ranges(entry.get("started")))
        self._free(tasks_of(entry))
        for first, count in unpack_ranges(entry.get("failed")):
            self.states[first : first + count] = bytes([FAILED]) * count
            self.workers_of[first : first + count] = array.array("I", [entry.header["worker"]]) * count
            self.records[first : first + count] = array.array("I", [NO_RECORD]) * count
        if "records" in entry.header:
            worker = self.workers[entry.header["worker"]]
            worker.records = entry.header["records"]
            worker.lost = bool(entry.header.get("lost"))

    def _take_retry(self, number: int, entry: Message) -> None:
        """Failed tasks get another attempt."""
        self._count_attempts(tasks_of(entry))
        self._free(tasks_of(entry))
        if "priority" in entry.header:
            self._prioritize((task, entry.header["priority"]) for task in numbers_of(tasks_of(entry)))

    def _take_rerun(self, number: int, entry: Message) -> None:
        """Finished tasks are to be done anew; what came after them and has not begun waits again."""
        for task in numbers_of(tasks_of(entry)):
            if self.states[task] == SUCCEEDED:
                for successor in self.successors.get(task, ()):
                    self._unmet[successor] = self._unmet.get(successor, 0) + 1
                    if self.states[successor] == READY:
                        self.states[successor] = WAITING
        for first, count in tasks_of(entry):
            self.attempts[first : first + count] = bytes(count)
        self._free(tasks_of(entry))

    def _take_delete(self, number: int, entry: Message) -> None:
        for first, count in tasks_of(entry):
            self.states[first : first + count] = bytes([DELETED]) * count
            self.claims[first : first + count] = array.array("I", [0]) * count
            for task in range(first, first + count):
                self.priorities.pop(task, None)
        self._ranked = None

    def _take_priority(self, number: int, entry: Message) -> None:
        self._prioritize((task, entry.header["priority"]) for task in numbers_of(tasks_of(entry)))

    def _take_pause(self, number: int, entry: Message) -> None:
        self.paused = bool(entry.header["paused"])

    def _count_attempts(self, ranges: Ranges) -> None:
        for task in numbers_of(ranges):
            self.attempts[task] = min(self.attempts[task] + 1, MOST_ATTEMPTS)

    def _free(self, ranges: Ranges) -> None:
        """Nobody holds these tasks any more: they may be claimed, or wait."""
        for first, count in ranges:
            self.states[first : first + count] = bytes([READY]) * count
            self.claims[first : first + count] = array.array("I", [0]) * count
            self._hint = min(self._hint, first)
            if self._unmet:
                for task in range(first, first + count):
                    if self._unmet.get(task):
                        self.states[task] = WAITING
        self._ranked = None

    def _prioritize(self, pairs: "Iterable[tuple[int, int]]") -> None:
        for task, priority in pairs:
            if priority:
                self.priorities[task] = priority
            elif self.priorities.pop(task, None) is not None:
                self._hint = min(self._hint, task)
        self._ranked = None

    def _depend(self, task: int, other: int) -> None:
        self.after.setdefault(task, []).append(other)
        self.successors.setdefault(other, []).append(task)
        if self.states[other] != SUCCEEDED:
            self._unmet[task] = self._unmet.get(task, 0) + 1
            if self.states[task] == READY:
                self.states[task] = WAITING

    def forget_claims(self) -> None:
        """Forget whose claims those were of which all tasks have ended."""
        open_claims = {self.claims[task] for task in self.in_state(HELD, STARTED)}
        self.claimers = {claim: self.claimers[claim] for claim in sorted(open_claims)}

    def restore_dependencies(self) -> None:
        """Find what waits for what from ``after`` and ``states``, where those were read from a snapshot."""
        for task, others in self.after.items():
            for other in others:
                self.successors.setdefault(other, []).append(task)
            unmet = sum(self.states[other] != SUCCEEDED for other in others)
            if unmet:
                self._unmet[task] = unmet

    def fold(self, worker: Worker, data: bytes) -> None:
        """Take a worker's records from number ``worker.folded`` on.

        It stops before the records of a claim that is not in the state yet.
        """
        states, claims, position = self.states, self.claims, self.position
        index = worker.folded
        for kind, claim, task in SHORT.iter_unpack(data):
            if claim > position:
                break
            if claims[task] == claim:
                state = states[task]
                if kind == START:
                    if state == HELD:
                        states[task] = STARTED
                elif state in (STARTED, HELD):
                    self.workers_of[task] = worker.number
                    self.records[task] = index
                    if kind == JOURNAL_SUCCEEDED:
                        states[task] = SUCCEEDED
                        if task in self.successors:
                            self._succeed(task)
                    elif kind == JOURNAL_FAILED:
                        states[task] = FAILED
            index += 1
        worker.folded = index

    def _succeed(self, task: int) -> None:
        for successor in self.successors[task]:
            unmet = self._unmet.get(successor, 0) - 1
            if unmet > 0:
                self._unmet[successor] = unmet
                continue
            self._unmet.pop(successor, None)
            if self.states[successor] == WAITING:
                self.states[successor] = READY
                self._hint = min(self._hint, successor)
                self._ranked = None


def tasks_of(entry: Message) -> Ranges:
    """Return the tasks that an entry is about."""
    return unpack_ranges(entry.get("tasks"))


def locate(segments: List[Segment], task: int) -> Segment:
    """Return the segment that holds a task."""
    low, high = 0, len(segments)
    while high - low > 1:
        middle = (low + high) // 2
        if segments[middle].first <= task:
            low = middle
        else:
            high = middle
    return segments[low]


def change(kind: str, ranges: Optional[Ranges] = None, **header: Any) -> Message:
    """Return an entry of the log that is about some tasks."""
    message = Message(dict(header, kind=kind))
    if ranges:
        message.add("tasks", pack_ranges(ranges))
    return message
