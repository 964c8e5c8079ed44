"""What a client asks of a queue; each function here is one request."""

import functools
import os
from typing import Any, Container, Dict, List, Optional, Sequence, Tuple

from .errors import FormatError
from .queue_journal import ENDS, RECORD, Record, ResultReader, read_journal, read_records, valid_records
from .queue_ranges import pack_ranges, to_ranges
from .queue_state import (
    DELETED,
    FAILED,
    HELD,
    NAMES,
    NO_RECORD,
    READY,
    STARTED,
    SUCCEEDED,
    WAITING,
    State,
    Worker,
    change,
    locate,
)
from .queue_store import QueueMissing, Store
from .queue_tasks import StoredTask, TaskReader, check_tasks, read_after
from .queue_workers import is_gone
from .wire import Header, Message, parse

ANSWER = 32 << 20
"""Bytes of results from which an answer is long enough; the rest is asked for again."""
_STATE_NAMES = {code: name for name, codes in NAMES.items() for code in codes}


def create(root: str, name: str) -> bool:
    """Make a queue; False where it is there."""
    os.makedirs(os.path.join(root, "queues"), mode=0o700, exist_ok=True)
    return Store(root, name).create()


def add(root: str, name: str, tasks: bytes) -> Optional[int]:
    """Add tasks, an entry as ``queue_tasks`` has it; return the number of the first.

    The queue is made where it is not there.  None where the entry comes after tasks
    that are not there.
    """
    entry = parse(tasks)
    check_tasks(entry)
    store = Store(root, name)
    if not os.path.isdir(store.folder):
        create(root, name)

    def decide(state: State) -> Optional[Message]:
        if entry.header["id"] in state.added:
            return None
        for _, other in read_after(entry):
            if other >= len(state.states) or (other >= 0 and state.states[other] == DELETED):
                return None
        store.fold()
        return entry

    store.propose(decide)
    return store.state.added.get(entry.header["id"])


def queues(root: str) -> List[Dict[str, Any]]:
    """Return the queues that are there, each with its ``status``."""
    try:
        names = sorted(os.listdir(os.path.join(root, "queues")))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        if not name.startswith("."):
            try:
                found.append(status(root, name))
            except (QueueMissing, FormatError):
                continue
    return found


def status(root: str, name: str) -> Dict[str, Any]:
    """Return how many tasks are in each state, and how the workers are.

    Keys: ``name``, ``paused``, ``tasks`` (by state), ``workers`` (those that have not
    left, each with ``number``, ``host``, ``pid``, ``job``, ``batch`` and ``state``:
    live, dead or unknown), ``blocked`` (tasks that wait for some that failed).
    """
    state = Store(root, name).load()
    verdicts = {True: "dead", False: "live", None: "unknown"}
    return {
        "name": name,
        "paused": state.paused,
        "tasks": {one: state.count(one) for one in NAMES},
        "blocked": _blocked(state),
        "workers": [dict(_about(worker), state=verdicts[is_gone(root, worker)]) for worker in state.live_workers()],
    }


def tasks(root: str, name: str, select: Header, limit: Optional[int]) -> List[Tuple[Any, ...]]:
    """Return tasks: number, state, attempts, priority, target, value, whether that has arrays, after, worker, record.

    ``select`` is as ``_selected`` has it; ``record`` is the last one of a finished task.
    """
    store = Store(root, name)
    state = store.load()
    chosen = _selected(store, state, select)[:limit]
    records = _last_records(store, chosen)
    segments = _Segments(store)
    found = []
    for task in chosen:
        stored = segments.find(task)
        worker = _worker_of(state, task)
        found.append(
            (
                task,
                _STATE_NAMES[state.states[task]],
                state.attempt(task),
                state.priorities.get(task, 0),
                stored.target,
                bytes(stored.value),
                stored.arrays,
                state.after.get(task, []),
                None if worker is None else _about(worker),
                records[task] and tuple(records[task] or ()),
            )
        )
    return found


def results(root: str, name: str, select: Header) -> "tuple[List[Tuple[Any, ...]], List[int]]":
    """Return the results of finished tasks, and the tasks whose results did not fit this answer.

    Each: number, whether it is a command, outcome, status, when it ended, how long it
    took, and the result's message, which may be empty.  Tasks that have not finished are left out.
    """
    store = Store(root, name)
    state = store.load()
    chosen = [task for task in _selected(store, state, select) if state.states[task] in (SUCCEEDED, FAILED)]
    records = _last_records(store, chosen)
    found: List[Tuple[Any, ...]] = []
    size = 0
    reader, segments = ResultReader(store.folder), _Segments(store)
    for task in chosen:
        record = records[task]
        is_command = segments.find(task).target["kind"] in ("command", "shell")
        if record is None:
            found.append((task, is_command, "lost", 0, 0.0, 0.0, b""))
            continue
        data = reader.read(state.workers_of[task], record)
        size += len(data) + RECORD.size
        if found and size > ANSWER:
            break
        outcome = ENDS[record.end] if len(data) == record.length else "lost"
        found.append((task, is_command, outcome, record.status, record.time, record.seconds, data))
    reader.close()
    return found, chosen[len(found) :]


def retry(root: str, name: str, select: Header, attempts: Optional[int], priority: Optional[int]) -> Dict[str, int]:
    """Give failed tasks another attempt, but for those that have had ``attempts``; return ``retried`` and ``spent``."""
    counts = {"retried": 0, "spent": 0}

    def choose(store: Store, state: State) -> List[int]:
        failed = [task for task in _selected(store, state, select) if state.states[task] == FAILED]
        chosen = [task for task in failed if attempts is None or state.attempt(task) < attempts]
        counts.update(retried=len(chosen), spent=len(failed) - len(chosen))
        return chosen

    _change_tasks(root, name, "retry", choose, **({} if priority is None else {"priority": priority}))
    return counts


def rerun(root: str, name: str, select: Header) -> int:
    """Have finished tasks done anew, their attempts counted from the beginning; return how many."""
    return _change_tasks(
        root,
        name,
        "rerun",
        lambda store, state: [
            task for task in _selected(store, state, select) if state.states[task] in (SUCCEEDED, FAILED)
        ],
    )


def prioritize(root: str, name: str, select: Header, priority: int) -> int:
    """Set the priority of tasks that have not begun; return how many."""
    return _change_tasks(
        root,
        name,
        "priority",
        lambda store, state: [
            task for task in _selected(store, state, select) if state.states[task] in (READY, WAITING, HELD, FAILED)
        ],
        priority=priority,
    )


def delete(root: str, name: str, select: Header) -> Dict[str, int]:
    """Delete tasks.

    Returns how many are ``deleted``, in a worker's hands (``held``), or come before
    others that stay (``needed``).
    """
    counts = {"deleted": 0, "held": 0, "needed": 0}

    def choose(store: Store, state: State) -> List[int]:
        selected = _selected(store, state, select)
        going = {task for task in selected if state.states[task] not in (HELD, STARTED)}
        held = len(selected) - len(going)
        # What comes after it must go as well, or have succeeded.
        for task in sorted(going, reverse=True):
            if any(
                one not in going and state.states[one] not in (SUCCEEDED, DELETED)
                for one in state.successors.get(task, ())
            ):
                going.discard(task)
        counts.update(deleted=len(going), held=held, needed=len(selected) - held - len(going))
        return sorted(going)

    _change_tasks(root, name, "delete", choose)
    return counts


def delete_queue(root: str, name: str, force: bool) -> List[Dict[str, Any]]:
    """Remove a queue; unless ``force`` not while workers may be at work: these are returned, and nothing is removed."""
    store = Store(root, name)
    at_work = [] if force else [_about(one) for one in store.load().live_workers() if not is_gone(root, one)]
    if not at_work:
        store.delete()
    return at_work


def pause(root: str, name: str, paused: bool) -> bool:
    """Hand out no more tasks, or do so again; return whether that changed something."""
    store = Store(root, name)
    entry = store.propose(lambda state: None if state.paused == paused else change("pause", paused=paused))
    return entry is not None


def recover(root: str, name: str, known_dead: Sequence[int], attempts: Optional[int]) -> Dict[str, Any]:
    """Take their tasks from workers that are provably dead.

    What they had begun counts as an attempt; where that is the last of ``attempts``
    it has failed.  Returns ``recovered`` and ``failed`` (how many tasks), ``workers`` (those
    that are given up) and ``unknown`` (those that nobody can judge from here).
    """
    store = Store(root, name)
    counts: Dict[str, Any] = {"recovered": 0, "failed": 0, "workers": [], "unknown": []}
    dead = frozenset(known_dead)
    while True:
        taken: Dict[str, Any] = {}
        if store.propose(functools.partial(_give_up, root, store, dead, attempts, taken)) is None:
            break
        counts["recovered"] += taken["recovered"]
        counts["failed"] += taken["failed"]
        counts["workers"].append(taken["worker"])
    counts["unknown"] = [_about(one) for one in store.state.live_workers() if is_gone(root, one, dead) is None]
    if counts["workers"] and not store.state.live_workers():
        store.compact()
    return counts


def _give_up(
    root: str,
    store: Store,
    dead: Container[int],
    attempts: Optional[int],
    taken: Dict[str, Any],
    state: State,
) -> Optional[Message]:
    """Return the entry that gives up the next dead worker; None where there is none.

    It says how many of the worker's records count.  Should the worker live after all, what it
    records from then on does not.
    """
    for worker in state.live_workers():
        if not is_gone(root, worker, dead):
            continue
        records = max(worker.folded, valid_records(store.folder, worker.number, worker.folded))
        state.fold(worker, read_journal(store.folder, worker.number, worker.folded, records))
        started, unstarted = state.held_by(worker, STARTED), state.held_by(worker, HELD)
        failed = [task for task in started if attempts is not None and state.attempt(task) >= attempts]
        started = [task for task in started if task not in frozenset(failed)]
        entry = change(
            "release", to_ranges(sorted(started + unstarted)), worker=worker.number, records=records, lost=True
        )
        entry.add("started", pack_ranges(to_ranges(started)))
        entry.add("failed", pack_ranges(to_ranges(failed)))
        taken.update(recovered=len(started) + len(unstarted), failed=len(failed), worker=_about(worker))
        return entry
    return None


class _Segments:
    """Finds tasks as they were added."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._readers: Dict[int, TaskReader] = {}

    def find(self, task: int) -> StoredTask:
        segment = locate(self._store.state.segments, task)
        reader = self._readers.get(segment.entry)
        if reader is None:
            reader = self._readers[segment.entry] = self._store.segment(segment.entry)
        return reader[task - segment.first]


def _change_tasks(root: str, name: str, kind: str, choose: Any, **header: Any) -> int:
    """Append an entry about the tasks that ``choose(store, state)`` returns; return how many those are."""
    store = Store(root, name)
    chosen: List[int] = []

    def decide(state: State) -> Optional[Message]:
        store.fold()
        chosen[:] = choose(store, state)
        return change(kind, to_ranges(chosen), **header) if chosen else None

    store.propose(decide)
    return len(chosen)


def _selected(store: Store, state: State, select: Header) -> List[int]:
    """Return the tasks that are meant: of ``numbers``, in one of ``states``, with ``exit_status``; each optional."""
    numbers = select.get("numbers")
    found = range(len(state.states)) if numbers is None else sorted(set(numbers))
    wanted = select.get("states")
    codes = frozenset(code for name in (wanted or NAMES) for code in NAMES[name])
    chosen = [task for task in found if 0 <= task < len(state.states) and state.states[task] in codes]
    exit_status = select.get("exit_status")
    if exit_status is None:
        return chosen
    records = _last_records(store, chosen)
    return [
        task
        for task, record in records.items()
        if record is not None and ENDS[record.end] == "exited" and record.status == exit_status
    ]


def _last_records(store: Store, chosen: Sequence[int]) -> Dict[int, Optional[Record]]:
    """Return the record with which each of these tasks ended; None where there is none."""
    state = store.state
    journals: Dict[int, List[Record]] = {}
    found: Dict[int, Optional[Record]] = {}
    for task in chosen:
        found[task] = None
        if state.states[task] in (SUCCEEDED, FAILED) and state.records[task] != NO_RECORD:
            worker = state.workers_of[task]
            if worker not in journals:
                journals[worker] = read_records(read_journal(store.folder, worker, 0))
            if state.records[task] < len(journals[worker]):
                found[task] = journals[worker][state.records[task]]
    return found


def _worker_of(state: State, task: int) -> Optional[Worker]:
    if state.states[task] in (SUCCEEDED, FAILED):
        return state.workers.get(state.workers_of[task])
    if state.states[task] in (HELD, STARTED):
        return state.workers[state.claimers[state.claims[task]]]
    return None


def _about(worker: Worker) -> Dict[str, Any]:
    process = worker.about["process"]
    return {
        "number": worker.number,
        "host": process.get("host"),
        "pid": process.get("pid"),
        "job": worker.about.get("job"),
        "batch": worker.about.get("batch"),
    }


def _blocked(state: State) -> int:
    """Return how many tasks wait, directly or through others, for one that failed."""
    reached = set()
    waiting = list(state.in_state(FAILED)) if state.successors else []
    while waiting:
        for task in state.successors.get(waiting.pop(), ()):
            if task not in reached and state.states[task] == WAITING:
                reached.add(task)
                waiting.append(task)
    return len(reached)
