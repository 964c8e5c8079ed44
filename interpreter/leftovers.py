"""What old calls and old clients have left on a host, and its removal."""

import json
import os
import re
import shutil
import time
from typing import Any, Dict, Iterator, List, Tuple

from .errors import FormatError
from .job import DONE, Job
from .processes import this_process
from .run import read_request

YOUNG = 60.0
"""Seconds for which a file that nobody has claimed may still be on its way in."""
REMEMBERED = 86400.0
"""Seconds for which a request that was sent more than once may still be under way."""
SILENT = 600.0
"""Seconds after which a mailbox that has not written its state has ended; it does so every two."""


def leftovers(root: str, keep: str) -> List[Dict[str, Any]]:
    """Return what stands under ``root`` and could go; ``keep`` is the digest of the interpreter in use.

    Each has: path (below root), kind (job, durable, folder, batch, mailbox, interpreter, partial),
    state (finished, running, dead, unclaimed, queued, unknown, old), age in seconds,
    bytes, files.
    """
    found = []
    for path, kind, state in _candidates(root, keep):
        size, files, newest = _measure(os.path.join(root, path))
        age = max(0.0, time.time() - newest)
        if kind in ("partial", "folder") and age < (REMEMBERED if kind == "folder" or path.endswith(DONE) else YOUNG):
            continue
        found.append({"path": path, "kind": kind, "state": state, "age": age, "bytes": size, "files": files})
    return found


def remove(root: str, paths: List[str]) -> List[str]:
    """Remove some of what ``leftovers`` named, but no job that may be running; return what has gone."""
    gone = []
    for path in paths:
        folder, _, name = path.partition("/")
        target = os.path.join(root, path)
        if (
            folder not in ("jobs", "work", "queues", "batch", "mailbox", "interpreter")
            or name in ("", ".", "..")
            or "/" in name
        ):
            raise ValueError("{!r} is not a leftover".format(path))
        if folder == "queues" and not name.startswith("."):
            raise ValueError("{!r} is a queue".format(path))
        if folder == "jobs" and _job_state(Job(target)) in ("running", "unknown", "queued"):
            continue
        if folder in ("batch", "mailbox") and not _has_ended(target):
            continue
        if folder == "jobs":
            shutil.rmtree(os.path.join(root, "work", _first_id(name)), ignore_errors=True)
        if os.path.isdir(target):
            shutil.rmtree(target)
        else:
            os.unlink(target)
        gone.append(path)
    return gone


def _candidates(root: str, keep: str) -> Iterator[Tuple[str, str, str]]:
    for name in _names(os.path.join(root, "jobs")):
        job = Job(os.path.join(root, "jobs", name))
        if job.owner() == this_process():
            continue  # the job that is looking
        if name.endswith(DONE) and Job(job.directory[: -len(DONE)]).finished():
            yield "jobs/" + name, "durable", "finished"
        elif name.endswith((".new", DONE)) or ".partial" in name:
            yield "jobs/" + name, "partial", "unclaimed"
        else:
            yield "jobs/" + name, "durable" if _is_durable(job) else "job", _job_state(job)
    for name in _names(os.path.join(root, "work")):
        if not Job(os.path.join(root, "jobs", name)).exists():
            yield "work/" + name, "folder", "old"
    for folder in ("batch", "mailbox"):
        for name in _names(os.path.join(root, folder)):
            if _has_ended(os.path.join(root, folder, name)):
                yield folder + "/" + name, folder, "finished"
    for name in _names(os.path.join(root, "queues")):
        if name.startswith("."):
            yield "queues/" + name, "partial", "unclaimed"
    for name in _names(os.path.join(root, "interpreter")):
        if name.startswith(".") or ".zip." in name or ".partial" in name:
            yield "interpreter/" + name, "partial", "unclaimed"
        elif name.partition(".")[0] != keep and not name.endswith(".zip"):
            yield "interpreter/" + name, "interpreter", "old"


def _has_ended(folder: str) -> bool:
    """Say whether a command that was a batch job has left its result, or a mailbox its end."""
    if os.path.exists(os.path.join(folder, "result")):
        return True
    try:
        with open(os.path.join(folder, "state"), "rb") as file:
            ended = json.loads(file.read().decode("utf-8")).get("ended")
    except (OSError, ValueError, AttributeError):
        ended = ""
    patience = SILENT if os.path.exists(os.path.join(folder, "state")) else REMEMBERED * 7
    return bool(ended) or time.time() - _measure(folder)[2] > patience


def _names(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _first_id(name: str) -> str:
    """Return the id of the first attempt of the job that a name in the folder of jobs is of."""
    return re.sub(r"(\.[0-9]+)?({})?$".format(re.escape(DONE)), "", name)


def _is_durable(job: Job) -> bool:
    try:
        return bool(read_request(job).header.get("durable"))
    except FormatError:
        return False


def _job_state(job: Job) -> str:
    if job.finished():
        return "finished"
    if not job.claimed():
        return "queued" if _is_durable(job) else "unclaimed"
    return {True: "running", False: "dead", None: "unknown"}[job.runs()]


def _measure(path: str) -> Tuple[int, int, float]:
    """Return the bytes, the number of files, and the newest change below ``path``."""
    paths = [path]
    for folder, folders, files in os.walk(path):
        paths.extend(os.path.join(folder, name) for name in folders + files)
    size, newest = 0, 0.0
    for entry in paths:
        try:
            status = os.lstat(entry)
        except OSError:
            continue
        size += status.st_size
        newest = max(newest, status.st_mtime)
    return size, len(paths), newest
