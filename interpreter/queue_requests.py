"""What a client has changed about a queue; each public function here is one request."""

import functools
import os
from typing import Any, Container, Dict, List, Optional, Sequence

from .queue_answers import about, selected, while_files_move
from .queue_journal import read_journal, valid_records
from .queue_ranges import pack_ranges, to_ranges
from .queue_state import DELETED, FAILED, HELD, READY, STARTED, SUCCEEDED, WAITING, State, change
from .queue_store import Store
from .queue_tasks import check_tasks, read_after
from .queue_workers import is_gone
from .wire import Header, Message, parse


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
        return entry

    store.propose(decide)
    return store.state.added.get(entry.header["id"])


def retry(root: str, name: str, select: Header, attempts: Optional[int], priority: Optional[int]) -> Dict[str, int]:
    """Give failed tasks another attempt, but for those that have had ``attempts``; return ``retried`` and ``spent``."""
    counts = {"retried": 0, "spent": 0}

    def choose(store: Store, state: State) -> List[int]:
        failed = [task for task in selected(store, select) if state.states[task] == FAILED]
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
        lambda store, state: [task for task in selected(store, select) if state.states[task] in (SUCCEEDED, FAILED)],
    )


def prioritize(root: str, name: str, select: Header, priority: int) -> int:
    """Set the priority of tasks that have not begun; return how many."""
    return _change_tasks(
        root,
        name,
        "priority",
        lambda store, state: [
            task for task in selected(store, select) if state.states[task] in (READY, WAITING, HELD, FAILED)
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
        meant = selected(store, select)
        going = {task for task in meant if state.states[task] not in (HELD, STARTED)}
        held = len(meant) - len(going)
        # What comes after it must go as well, or have succeeded.
        for task in sorted(going, reverse=True):
            if any(
                one not in going and state.states[one] not in (SUCCEEDED, DELETED)
                for one in state.successors.get(task, ())
            ):
                going.discard(task)
        counts.update(deleted=len(going), held=held, needed=len(meant) - held - len(going))
        return sorted(going)

    _change_tasks(root, name, "delete", choose)
    return counts


def delete_queue(root: str, name: str, force: bool) -> List[Dict[str, Any]]:
    """Remove a queue; unless ``force`` not while workers may be at work: these are returned, and nothing is removed."""
    store = Store(root, name)
    at_work = [] if force else [about(one) for one in store.load().live_workers() if not is_gone(root, one)]
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
    counts["unknown"] = [about(one) for one in store.state.live_workers() if is_gone(root, one, dead) is None]
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
        records = max(worker.folded, valid_records(store.folder, worker.file, worker.folded))
        if records > worker.folded:
            state.fold(worker, read_journal(store.folder, worker.file, worker.folded, records))
        started, unstarted = state.held_by(worker, STARTED), state.held_by(worker, HELD)
        failed = [task for task in started if attempts is not None and state.attempt(task) >= attempts]
        started = [task for task in started if task not in frozenset(failed)]
        entry = change(
            "release", to_ranges(sorted(started + unstarted)), worker=worker.number, records=records, lost=True
        )
        entry.add("started", pack_ranges(to_ranges(started)))
        entry.add("failed", pack_ranges(to_ranges(failed)))
        taken.update(recovered=len(started) + len(unstarted), failed=len(failed), worker=about(worker))
        return entry
    return None


def _change_tasks(root: str, name: str, kind: str, choose: Any, **header: Any) -> int:
    """Append an entry about the tasks that ``choose(store, state)`` returns; return how many those are."""
    store = Store(root, name)
    chosen: List[int] = []

    def decide(_: State) -> Optional[Message]:
        store.fold()
        chosen[:] = choose(store, store.state)
        return change(kind, to_ranges(chosen), **header) if chosen else None

    while_files_move(lambda: store.propose(decide))
    return len(chosen)
