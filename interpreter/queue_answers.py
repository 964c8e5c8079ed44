"""What a client is told of a queue; each public function here is one request."""

import os
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, TypeVar

from .errors import FormatError
from .queue_journal import ENDS, RECORD, Record, ResultReader, read_journal, read_records
from .queue_segments import SegmentFiles
from .queue_state import FAILED, HELD, NAMES, NO_RECORD, STARTED, SUCCEEDED, WAITING, State, Worker, locate
from .queue_store import QueueMissing, Store
from .queue_tasks import StoredTask
from .queue_workers import is_gone
from .wire import Header

ANSWER = 32 << 20
"""Bytes of results from which an answer is long enough; the rest is asked for again."""
TRIES = 5
"""Times that files are looked for that may have become part of others in between."""
_STATE_NAMES = {code: name for name, codes in NAMES.items() for code in codes}
_Answer = TypeVar("_Answer")


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
        "workers": [dict(about(worker), state=verdicts[is_gone(root, worker)]) for worker in state.live_workers()],
    }


def tasks(root: str, name: str, select: Header, limit: Optional[int]) -> List[Tuple[Any, ...]]:
    """Return tasks: number, state, attempts, priority, target, value, whether that is a message, after, worker, record.

    ``select`` is as ``_selected`` has it; ``record`` is the last one of a finished task.
    """
    return while_files_move(lambda: _tasks(Store(root, name), select, limit))


def _tasks(store: Store, select: Header, limit: Optional[int]) -> List[Tuple[Any, ...]]:
    state = store.load()
    chosen = selected(store, select)[:limit]
    records = _last_records(store, chosen)
    segments = SegmentFiles(store.folder)
    found = []
    for task in chosen:
        stored = _stored(segments, state, task)
        worker, record = _worker_of(state, task), records[task]
        found.append(
            (
                task,
                _STATE_NAMES[state.states[task]],
                state.attempt(task),
                state.priorities.get(task, 0),
                stored.target,
                bytes(stored.value),
                stored.whole,
                state.after.get(task, []),
                None if worker is None else about(worker),
                None if record is None else tuple(record),
            )
        )
    return found


def results(root: str, name: str, select: Header) -> "tuple[List[Tuple[Any, ...]], List[int]]":
    """Return the results of finished tasks, and the tasks whose results did not fit this answer.

    Each: number, whether it is a command, outcome, status, when it ended, how long it
    took, and the result's message, which may be empty.  Tasks that have not finished are left out.
    """
    return while_files_move(lambda: _results(Store(root, name), select))


def _results(store: Store, select: Header) -> "tuple[List[Tuple[Any, ...]], List[int]]":
    state = store.load()
    chosen = [task for task in selected(store, select) if state.states[task] in (SUCCEEDED, FAILED)]
    records = _last_records(store, chosen)
    found: List[Tuple[Any, ...]] = []
    size = 0
    reader, segments = ResultReader(store.folder), SegmentFiles(store.folder)
    for task in chosen:
        record = records[task]
        is_command = _stored(segments, state, task).target["kind"] in ("command", "shell")
        if record is None:
            found.append((task, is_command, "lost", 0, 0.0, 0.0, b""))
            continue
        worker = state.workers[state.workers_of[task]]
        data = reader.read(worker.file, worker.first_result + record.offset, record.length)
        size += len(data) + RECORD.size
        if found and size > ANSWER:
            break
        outcome = ENDS[record.end] if len(data) == record.length else "lost"
        found.append((task, is_command, outcome, record.status, record.time, record.seconds, data))
    reader.close()
    return found, chosen[len(found) :]


def selected(store: Store, select: Header) -> List[int]:
    """Return the tasks that are meant: of ``numbers``, in one of ``states``, with ``exit_status``; each optional."""
    state = store.state
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


def while_files_move(look: Callable[[], _Answer]) -> _Answer:
    """Look again where files that were to be read have become part of others meanwhile."""
    for _ in range(TRIES):
        try:
            return look()
        except QueueMissing:
            raise
        except FileNotFoundError as error:
            missing = error
    raise missing


def _last_records(store: Store, chosen: Sequence[int]) -> Dict[int, Optional[Record]]:
    """Return the record with which each of these tasks ended; None where there is none."""
    state = store.state
    journals: Dict[int, List[Record]] = {}
    found: Dict[int, Optional[Record]] = {}
    for task in chosen:
        found[task] = None
        if state.states[task] in (SUCCEEDED, FAILED) and state.records[task] != NO_RECORD:
            worker = state.workers[state.workers_of[task]]
            if worker.number not in journals:
                first = worker.first_record
                data = read_journal(store.folder, worker.file, first, first + worker.folded)
                journals[worker.number] = read_records(data)
            if state.records[task] < len(journals[worker.number]):
                found[task] = journals[worker.number][state.records[task]]
    return found


def _stored(segments: SegmentFiles, state: State, task: int) -> StoredTask:
    segment = locate(state.segments, task)
    return segments.read(segment.entry)[task - segment.first]


def _worker_of(state: State, task: int) -> Optional[Worker]:
    if state.states[task] in (SUCCEEDED, FAILED):
        return state.workers.get(state.workers_of[task])
    if state.states[task] in (HELD, STARTED):
        return state.workers[state.claimers[state.claims[task]]]
    return None


def about(worker: Worker) -> Dict[str, Any]:
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
