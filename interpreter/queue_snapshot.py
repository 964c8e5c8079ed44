"""A queue's state as a file, so that the entries and records that led to it need not be read again."""

import array
import json
import struct
import sys
import zlib
from typing import Any

from .errors import FormatError
from .queue_state import Segment, State, Worker
from .wire import Buffer, Message

_PRIORITY = struct.Struct(">Ii")
_AFTER = struct.Struct(">II")


def to_message(state: State) -> Message:
    """Write a state; sections are packed with zlib."""
    message = Message({"kind": "snapshot", "format": 1, "position": state.position, "paused": state.paused})
    tables = {
        "segments": [[one.first, one.count, one.entry] for one in state.segments],
        "workers": [
            [one.number, one.about, one.folded, one.records, one.lost, one.file, one.first_record, one.first_result]
            for one in state.workers.values()
        ],
        "claimers": sorted(state.claimers.items()),
        "added": state.added,
    }
    _add(message, "tables", json.dumps(tables, separators=(",", ":")).encode())
    _add(message, "states", bytes(state.states))
    _add(message, "attempts", bytes(state.attempts))
    for name in ("claims", "workers_of", "records"):
        _add(message, name, _swapped(getattr(state, name)).tobytes())
    _add(message, "priorities", b"".join(_PRIORITY.pack(*pair) for pair in state.priorities.items()))
    after = (_AFTER.pack(task, other) for task, others in state.after.items() for other in others)
    _add(message, "after", b"".join(after))
    return message


def from_message(message: Message) -> State:
    """Read what ``to_message`` wrote.  Raises FormatError."""
    header = message.header
    if header.get("kind") != "snapshot" or header.get("format") != 1:
        raise FormatError("this is no snapshot of a queue of format 1")
    state = State()
    state.position = header["position"]
    state.paused = header["paused"]
    tables = json.loads(_get(message, "tables").decode())
    state.segments = [Segment(*row) for row in tables["segments"]]
    for number, about, folded, records, lost, file, first_record, first_result in tables["workers"]:
        worker = state.workers[number] = Worker(number, about)
        worker.folded, worker.records, worker.lost = folded, records, lost
        worker.file, worker.first_record, worker.first_result = file, first_record, first_result
    state.claimers = dict(tables["claimers"])
    state.added = tables["added"]
    state.states = bytearray(_get(message, "states"))
    state.attempts = bytearray(_get(message, "attempts"))
    for name in ("claims", "workers_of", "records"):
        numbers: "array.array[int]" = array.array("I")
        numbers.frombytes(_get(message, name))
        setattr(state, name, _swapped(numbers))
    state.priorities = dict(_PRIORITY.iter_unpack(_get(message, "priorities")))
    for task, other in _AFTER.iter_unpack(_get(message, "after")):
        state.after.setdefault(task, []).append(other)
    state.restore_dependencies()
    return state


def _swapped(numbers: "array.array[int]") -> "array.array[int]":
    """Return a copy in the other order of bytes where this machine's is not big endian."""
    copy = numbers[:]
    if sys.byteorder == "little":
        copy.byteswap()
    return copy


def _add(message: Message, name: str, data: Buffer) -> None:
    message.add(name, zlib.compress(data, 1))


def _get(message: Message, name: str) -> Any:
    return zlib.decompress(message.get(name))
