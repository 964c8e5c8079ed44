"""What a client asks about durable jobs; each function answers for any number of them.

``root`` is sremote's folder, an id is that of a job's first attempt.
"""

import contextlib
import glob
import os
import shutil
import signal
import time
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from .errors import FormatError
from .family import family, kill_family
from .job import Job
from .processes import HOST
from .responses import respond
from .run import KILL_GRACE, read_request
from .summary import look
from .supervisor import detach
from .wire import parse

FIRST_PAUSE = 0.01
LONGEST_PAUSE = 1.0
"""Seconds between looks while somebody waits; each pause is longer than the one before."""
OUTPUT_LIMIT = 1 << 20
"""Bytes of stdout, and of stderr, that one answer holds."""

_ENDED = ("succeeded", "failed", "cancelled", "lost", "gone")


def attend(
    root: str,
    ids: Sequence[str],
    wait: float = 0.0,
    drop: Sequence[Tuple[str, bool]] = (),
    known: Optional[Dict[str, Any]] = None,
    heeded: Optional[Sequence[str]] = None,
) -> Dict[str, Any]:
    """Return how jobs are, by id, as ``look`` has it; with ``wait``, as soon as one has ended or after so many seconds.

    Only the end of those ``heeded`` (default: all) counts for that.  With ``known``,
    states and progress by id, also as soon as one of these is another.  First,
    ``drop`` removes jobs whose responses have been fetched; each is an id, and
    whether to remember it.
    """
    for job_id, remember in drop:
        remove(root, [job_id], remember)
    deadline = time.monotonic() + wait
    pause = FIRST_PAUSE
    while True:
        found = {job_id: look(_job(root, job_id)) for job_id in ids}
        adopt([_directory(root, job_id, entry) for job_id, entry in found.items() if entry.pop("orphan", False)])
        left = deadline - time.monotonic()
        if left <= 0 or any(found[job_id]["state"] in _ENDED for job_id in (ids if heeded is None else heeded)):
            return found
        if known is not None and any(seen != standing(found[job_id]) for job_id, seen in known.items()):
            return found
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE)


def standing(entry: Dict[str, Any]) -> List[Any]:
    """Return of what ``look`` says what a watcher shows: state and progress."""
    return [entry["state"], entry.get("progress")]


def adopt(directories: List[str]) -> None:
    """Give a supervisor to jobs that have lost theirs, or never had one."""
    if directories:
        os.close(detach(directories))


def responses(root: str, ids: Sequence[str], limit: int) -> Dict[str, Any]:
    """Return response files of latest attempts, by id: their bytes, together at most ``limit``.

    The first one is there in any case, by its path if it is larger.  Raises
    FileNotFoundError where it is missing.
    """
    found: Dict[str, Any] = {}
    for job_id in ids:
        try:
            with _latest(root, job_id).open_response() as file:
                size = os.fstat(file.fileno()).st_size
                if size <= limit:
                    found[job_id] = file.read()
                    limit -= size
                elif not found:
                    return {job_id: file.name}
        except FileNotFoundError:
            if not found:
                raise
    return found


def output(
    root: str, job_id: str, attempt: int, offsets: Sequence[int], wait: float = 0.0, seen: Any = False
) -> Dict[str, Any]:
    """Return what a job has printed beyond ``offsets`` of stdout and stderr, waiting for it if need be.

    Keys: ``stdout`` and ``stderr``, ``attempt``, which if it is not the one asked for
    makes both begin anew, ``ended``, and ``progress``, which is waited for as well
    where ``seen`` is what was seen of it last.
    """
    deadline = time.monotonic() + wait
    pause = FIRST_PAUSE
    while True:
        entry = look(_job(root, job_id))
        adopt([_directory(root, job_id, entry)] if entry.get("orphan") else [])
        job = Job(_directory(root, job_id, entry))
        if entry["attempt"] != attempt:
            attempt, offsets = entry["attempt"], (0, 0)
        out, err = (_printed(job, name, offset) for name, offset in zip(("stdout", "stderr"), offsets))
        ended = entry["state"] in _ENDED
        whole = ended and len(out) < OUTPUT_LIMIT and len(err) < OUTPUT_LIMIT
        news = out or err or ended or seen not in (False, entry.get("progress"))
        if news or time.monotonic() >= deadline:
            return {"stdout": out, "stderr": err, "attempt": attempt, "ended": whole, "progress": entry.get("progress")}
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def cancel(root: str, ids: Sequence[str]) -> Dict[str, Any]:
    """Stop jobs with all their processes, and return how they are then.

    One that runs on another host is stopped by its supervisor there, with its next heartbeat.
    """
    stopping: List[Tuple[Job, Set[int]]] = []
    for job_id in ids:
        job = _latest(root, job_id)
        if job.finished() or not os.path.isdir(job.directory):
            continue
        job.ask_to_stop()
        if job.owner() is None and job.claim():
            with contextlib.suppress(FormatError):
                respond(job, read_request(job).header, "cancelled", started=time.time())
                job.compact(False)
            continue
        owner = job.owner()
        if owner is not None and owner.get("host") == HOST and job.runs():
            stopping.append((job, family(owner["pid"], job.id)))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for _, processes in stopping:
            kill_family(processes, number)
        deadline = time.monotonic() + KILL_GRACE
        while any(job.runs() for job, _ in stopping) and time.monotonic() < deadline:
            time.sleep(FIRST_PAUSE)
    deadline = time.monotonic() + KILL_GRACE
    while not all(job.finished() for job, _ in stopping) and time.monotonic() < deadline:
        attend(root, [job.id for job, _ in stopping])  # one without a supervisor gets its response here
        time.sleep(FIRST_PAUSE)
    return attend(root, ids)


def retry(root: str, job_id: str, attempt: int) -> None:
    """Make attempt number ``attempt``, where there is none yet.  Raises FileNotFoundError where the request is gone."""
    job = _latest(root, job_id)
    if job.attempt >= attempt:
        return
    later = job.try_again()
    if not read_request(later).header.get("batch"):
        adopt([later.directory])


def conclude(root: str, job_id: str, outcome: str, text: str, details: Dict[str, Any]) -> None:
    """Finish a job that its batch system has ended and that has left no response itself."""
    job = _latest(root, job_id)
    if os.path.isdir(job.directory) and not job.finished():
        said = _last_line(job.path("batch"))
        with contextlib.suppress(FormatError):
            text = "{}: {}".format(text, said) if said else text
            respond(job, read_request(job).header, outcome, started=0.0, text=text, **details)
            job.compact(False)


def _last_line(path: str) -> str:
    """Return the last line of what a batch script has printed, which tells of a preamble that failed, say."""
    try:
        with open(path, "rb") as file:
            lines = file.read()[-4096:].decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


def remove(root: str, ids: Sequence[str], remember: bool = False) -> None:
    """Remove jobs with all their attempts and their working folders."""
    for job_id in ids:
        for job in reversed(_job(root, job_id).attempts()):
            job.drop(remember)
        shutil.rmtree(os.path.join(root, "work", job_id), ignore_errors=True)


def make_folder(folder: str) -> None:
    """Make a job's working folder."""
    os.makedirs(folder, mode=0o700, exist_ok=True)


def matches(root: str, folder: str, patterns: Sequence[str]) -> List[str]:
    """Return what is in a job's working folder and matches one of ``patterns``, by default all, as paths in it."""
    place = os.path.join(root, folder)
    found = set()
    for pattern in patterns or ["*"]:
        found.update(glob.glob(os.path.join(glob.escape(place), pattern), recursive=True))
    return sorted(os.path.relpath(path, place) for path in found)


def _printed(job: Job, name: str, offset: int) -> bytes:
    """Return what a job has printed from ``offset`` on, at most OUTPUT_LIMIT bytes of it."""
    try:
        with open(job.path(name), "rb") as file:
            file.seek(offset)
            return file.read(OUTPUT_LIMIT)
    except OSError:
        pass
    try:
        with job.open_response() as file:
            return bytes(parse(file.read()).get(name)[offset : offset + OUTPUT_LIMIT])
    except (OSError, FormatError):
        return b""


def _job(root: str, job_id: str) -> Job:
    if os.path.basename(job_id) != job_id or job_id.startswith("."):
        raise ValueError("{!r} is not the id of a job".format(job_id))
    return Job(os.path.join(root, "jobs", job_id))


def _latest(root: str, job_id: str) -> Job:
    return _job(root, job_id).attempts()[-1]


def _directory(root: str, job_id: str, entry: Dict[str, Any]) -> str:
    """Return the directory of the attempt that ``look`` has looked at."""
    first = _job(root, job_id).directory
    return first if entry["attempt"] == 1 else "{}.{}".format(first, entry["attempt"])
