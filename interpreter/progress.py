"""How far a job has got, as its own function says; users have this as ``sremote.progress``.

A host on which sremote is not installed has a module ``sremote`` all the same while
a job runs, with this in it, ``rank`` and ``ranks``, and nothing else.
"""

import importlib.machinery
import importlib.util
import json
import os
import sys
import threading
import time
from types import ModuleType
from typing import Any, Dict, Optional, Tuple

from .ranks import rank, ranks

VARIABLE = "SREMOTE_PROGRESS"
"""The environment variable that names the file to write to; a job's child processes have it too."""
SHARE = 0.02
"""The part of a job's time that its notes may take; where they come more often, each waits for its turn, and only the
latest is written."""
MESSAGE_LIMIT = 1000


class _Notes:
    """What this process has noted; without a lock, which a fork could leave locked."""

    count = 0
    written = 0
    """The number of the latest note that is in the file."""
    next_at = 0.0
    """When another one may be written."""
    waiting: Optional[Tuple[int, str, Dict[str, Any]]] = None
    writer = 0
    """The process whose thread will write the one that waits."""


def progress(done: float, total: Optional[float] = None, message: str = "") -> None:
    """Say from within a job how much of it is ``done``, of ``total`` if that is known, and what it is at.

    Costs next to nothing when called often.  Outside of a job, and where it cannot be
    noted, nothing happens.  Raises TypeError or ValueError where ``done`` or ``total``
    is not a number.
    """
    note: Dict[str, Any] = {"done": float(done), "total": None if total is None else float(total)}
    path = os.environ.get(VARIABLE)
    if path is None:
        return
    note["message"] = str(message)[:MESSAGE_LIMIT]
    _Notes.count += 1
    if time.monotonic() >= _Notes.next_at or note["done"] == note["total"]:
        _write(_Notes.count, path, note)
        return
    _Notes.waiting = (_Notes.count, path, note)
    if _Notes.writer != os.getpid():
        _Notes.writer = os.getpid()
        threading.Thread(target=_write_later, name="sremote progress", daemon=True).start()


def _write_later() -> None:
    while True:
        time.sleep(max(0.0, _Notes.next_at - time.monotonic()))
        waiting, _Notes.waiting = _Notes.waiting, None
        if waiting is not None:
            _write(*waiting)
            continue
        _Notes.writer = 0
        if _Notes.waiting is None:
            return
        _Notes.writer = os.getpid()  # it came just before


def _write(number: int, path: str, note: Dict[str, Any]) -> None:
    began = time.monotonic()
    beside = "{}.{}.{}".format(path, os.getpid(), threading.get_ident())
    try:
        with open(beside, "w") as file:
            json.dump(note, file)
        if number > _Notes.written:
            _Notes.written = number
            os.rename(beside, path)
        else:
            os.unlink(beside)
    except OSError:  # the disk is full, say, which the job itself may get by without
        pass
    now = time.monotonic()
    _Notes.next_at = now + (now - began) / SHARE


def read_progress(path: str) -> Optional[Dict[str, Any]]:
    """Return what was noted last: ``done``, ``total`` and ``message``; None where nothing was."""
    try:
        with open(path) as file:
            note = json.load(file)
        return {"done": float(note["done"]), "total": note["total"], "message": str(note["message"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


class _StandIn:
    """Finds a module ``sremote`` where there is none; a folder of that name is none."""

    @staticmethod
    def find_spec(name: str, _path: Any = None, _target: Any = None) -> Optional[importlib.machinery.ModuleSpec]:
        if name != "sremote":
            return None
        for finder in sys.meta_path:
            found = None if isinstance(finder, _StandIn) else finder.find_spec(name, None)
            if found is not None and found.origin not in (None, "namespace"):
                return found
        return importlib.util.spec_from_loader(name, _StandIn())  # type: ignore[arg-type]

    @staticmethod
    def create_module(_spec: Any) -> ModuleType:
        module = ModuleType("sremote", __doc__)
        vars(module).update(progress=progress, rank=rank, ranks=ranks)
        return module

    @staticmethod
    def exec_module(_module: ModuleType) -> None:
        pass


def offer_progress() -> None:
    """See to it that ``import sremote`` works in this process."""
    if not any(isinstance(finder, _StandIn) for finder in sys.meta_path):
        sys.meta_path.insert(0, _StandIn())
