"""Keeps a queue small: snapshots in place of the log, one file in place of many.

Whoever appends the first entry of a block does it, and the last worker that leaves.
Several may be at it at the same time: what counts is the snapshot, and of each
position there is one.  Nothing is removed that the latest snapshot needs.
"""

import contextlib
import os
from typing import BinaryIO, Dict, List, Optional

from .processes import HOST
from .queue_journal import RECORD, journal_path, results_path
from .queue_log import BLOCK, Log, publish
from .queue_segments import join_packs, keep_entries
from .queue_snapshot import to_message
from .queue_state import State, Worker

TOGETHER = 32
"""Journals of about as many workers that are made one."""
LARGE = 256 << 20
"""Bytes of results from which a journal stays as it is."""
_PIECE = 1 << 20


def compact(folder: str, state: State) -> bool:
    """Write a snapshot of ``state``, which has all records folded in, and remove what it makes superfluous.

    Returns False where another process has done it, and ``state`` is not to be used any more.
    """
    state.forget_claims()
    position = state.position
    joined = "{}.{}.{}".format(position, HOST, os.getpid())
    superseded = _join_journals(folder, state, joined)
    if not publish(os.path.join(folder, "snapshots", str(position)), to_message(state).chunks()):
        for path in (journal_path(folder, joined), results_path(folder, joined)):
            _remove(path)
        return False
    for path in superseded:
        _remove(path)
    log = Log(os.path.join(folder, "log"))
    added: Dict[int, List[int]] = {}
    for segment in state.segments:
        added.setdefault(segment.entry // BLOCK, []).append(segment.entry)
    for block in log.blocks():
        if block < position // BLOCK:
            keep_entries(folder, block, added.get(block, []))
            log.discard(block)
    join_packs(folder)
    for number in snapshots(folder)[:-1]:
        _remove(os.path.join(folder, "snapshots", str(number)))
    _sweep(folder)
    return True


def snapshots(folder: str) -> List[int]:
    """Return the positions of the snapshots, in order.  Raises FileNotFoundError where there is no queue."""
    return sorted(int(name) for name in os.listdir(os.path.join(folder, "snapshots")) if name.isdigit())


def _join_journals(folder: str, state: State, joined: str) -> List[str]:
    """Join the journals of workers that have gone, in ``state`` too; return the files that are then superfluous.

    ``joined`` is what the new file is called.
    """
    files: Dict[str, List[Worker]] = {}
    for worker in state.workers.values():
        if worker.records is not None and worker.folded >= worker.records:
            files.setdefault(worker.file, []).append(worker)
    levels: Dict[int, List[str]] = {}
    for file, workers in files.items():
        if _size(results_path(folder, file)) < LARGE:
            levels.setdefault(_level(len(workers)), []).append(file)
    superseded: List[str] = []
    for names in levels.values():
        if len(names) < TOGETHER:
            continue
        records = results = 0
        with _make(journal_path(folder, joined)) as journal, _make(results_path(folder, joined)) as values:
            for name in names:
                count = sum(worker.records or 0 for worker in files[name])
                for worker in files[name]:
                    worker.file = joined
                    worker.first_record += records
                    worker.first_result += results
                _append(journal, journal_path(folder, name), count * RECORD.size)
                records += count
                results += _append(values, results_path(folder, name))
                superseded += [journal_path(folder, name), results_path(folder, name)]
            for target in (values, journal):
                target.flush()
                os.fsync(target.fileno())
        break  # the name is taken
    return superseded


def _make(path: str) -> BinaryIO:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _append(target: BinaryIO, path: str, size: Optional[int] = None) -> int:
    """Append a file, or its first ``size`` bytes, which it has then; return how many bytes those were."""
    copied = 0
    try:
        with open(path, "rb") as source:
            while size is None or copied < size:
                piece = source.read(_PIECE if size is None else min(_PIECE, size - copied))
                if not piece:
                    break
                copied += target.write(piece)
    except FileNotFoundError:  # a worker that was killed before it made its files
        pass
    return copied


def _sweep(folder: str) -> None:
    """Remove what processes of this host have left that were killed while they were at it."""
    for place in ("snapshots", "tasks"):
        for name in os.listdir(os.path.join(folder, place)):
            host, _, rest = name[1:].rpartition(".")[0].rpartition(".")
            if name.startswith(".") and host == HOST and rest.isdigit() and not _is_process(int(rest)):
                _remove(os.path.join(folder, place, name))


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _level(count: int) -> int:
    level = 0
    while count >= TOGETHER:
        count //= TOGETHER
        level += 1
    return level
