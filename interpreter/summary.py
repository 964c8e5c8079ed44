"""How a job is, in a few words: from its response, or from what its directory and its processes tell."""

import json
import os
import signal
from typing import Any, Dict, Optional

from .errors import FormatError
from .job import Job
from .processes import HOST, is_alive, out_of_memory_kills, this_process
from .progress import read_progress
from .responses import respond
from .run import read_request
from .wire import MAGIC, Header

_PREFIX = len(MAGIC) + 4


def read_header(job: Job) -> Header:
    """Return the header of a job's response.  Raises OSError where there is none, FormatError where it is none."""
    with job.open_response() as file:
        prefix = file.read(_PREFIX)
        try:
            header = json.loads(file.read(int.from_bytes(prefix[len(MAGIC) :], "big")).decode("utf-8"))
        except ValueError as error:
            raise FormatError("the response of {} is damaged: {}".format(job.id, error)) from None
    if prefix[: len(MAGIC)] != MAGIC or not isinstance(header, dict):
        raise FormatError("the response of {} is damaged".format(job.id))
    return header


def has_failed(header: Header) -> bool:
    """Say whether a response tells of anything but success: a value, or a command that ended with 0."""
    if header.get("outcome") == "exited" and header.get("target") == "command":
        return bool(header.get("status"))
    return header.get("outcome") != "returned"


def is_to_be_tried_again(job: Job, header: Header) -> bool:
    """Say whether a job that has ended so is to have another attempt, which is not there yet."""
    if not has_failed(header) or header.get("outcome") in ("refused", "cancelled"):
        return False
    return (
        job.attempt <= (header.get("retries") or 0)
        and os.path.exists(job.path("request"))
        and not job.is_to_stop()
        and not job.next_attempt().exists()
    )


def look(first: Job) -> Dict[str, Any]:
    """Return how a job is: that of its latest attempt.

    Keys: ``state`` (queued, running, succeeded, failed, cancelled, lost, unknown, or
    gone where there is no such job), ``reason``, ``source`` (response, heartbeat,
    process), ``attempt``; of a running one ``pulse``, its latest heartbeat, and
    ``progress``; of a finished one ``outcome``, ``usage`` and ``seconds``; ``orphan``
    where it needs a supervisor.
    """
    job = first.attempts()[-1]
    for _ in range(2):
        if job.finished():
            try:
                header = read_header(job)
                if is_to_be_tried_again(job, header):
                    entry = _entry("queued", "tried again after: {}".format(_reason(header)), "response", job)
                    return dict(entry, orphan=not is_alive((job.pulse() or {}).get("supervisor") or {}))
                return dict(_ended(header), attempt=job.attempt)
            except FileNotFoundError:  # it is being put elsewhere, or was removed
                continue
            except (FormatError, OSError) as error:
                return _entry("unknown", str(error), "response", job)
        if not os.path.isdir(job.directory):
            return _entry("gone", "there is no such job", "response", job)
        found = _unfinished(job)
        if found is not None:
            return found
    return _entry("gone", "there is no such job", "response", job)


def _ended(header: Header) -> Dict[str, Any]:
    outcome = header.get("outcome")
    state = "failed" if has_failed(header) else "succeeded"
    times = header.get("times") or {}
    started, finished = times.get("started"), times.get("finished")
    return {
        "state": outcome if outcome in ("cancelled", "lost") else state,
        "reason": _reason(header),
        "source": "response",
        "outcome": outcome,
        "usage": header.get("usage") or {},
        "seconds": finished - started if started and finished else 0.0,
    }


def _reason(header: Header) -> str:
    outcome = header.get("outcome")
    if outcome == "raised":
        error = header.get("error") or {}
        return "{}: {}".format(str(error.get("type")).rpartition(":")[2], error.get("text"))
    if outcome == "exited":
        return "exit status {}".format(header.get("status"))
    if outcome == "killed":
        if header.get("out_of_memory"):
            return "killed by the host's kernel for want of memory"
        number = int(header["signal"])
        try:
            return "killed by {}".format(signal.Signals(number).name)
        except ValueError:
            return "killed by signal {}".format(number)
    words = {"returned": "", "cancelled": "", "walltime": "stopped at its time limit"}
    return words.get(str(outcome), str(header.get("text") or outcome))


def _unfinished(job: Job) -> Optional[Dict[str, Any]]:
    """Return how a job is that has no response; None where it has got one meanwhile."""
    owner, pulse = job.owner(), job.pulse()
    supervisor = (pulse or {}).get("supervisor") or {}
    supervised = is_alive(supervisor) if supervisor else False
    if owner is None:
        return _queued(job, supervisor, supervised)
    alive = is_alive(owner)
    running = {"pulse": pulse, "progress": read_progress(job.path("progress"))}
    if alive is None:
        reason = "runs on {}, and whether it lives cannot be told from {}".format(owner.get("host"), HOST)
        return dict(_entry("unknown", reason, "heartbeat", job), **running)
    if alive or supervised:
        orphan = not supervised and this_process() != owner
        return dict(_entry("running", "", "process", job), orphan=orphan, **running)
    if job.finished() or not os.path.isdir(job.directory):
        return None
    respond(job, _request(job), "lost", started=0.0, text=_cause(owner, pulse or {}))
    return None


def _queued(job: Job, supervisor: Dict[str, Any], supervised: Optional[bool]) -> Dict[str, Any]:
    if supervised is None:
        return _entry("queued", "waits on {}".format(supervisor.get("host")), "heartbeat", job)
    if supervised:
        return _entry("queued", "waits for others to end", "process", job)
    if _request(job).get("batch"):
        return _entry("queued", "", "scheduler", job)
    return dict(_entry("queued", "", "process", job), orphan=True)


def _request(job: Job) -> Header:
    try:
        return read_request(job).header
    except FormatError:
        return {}


def _cause(owner: Dict[str, Any], pulse: Dict[str, Any]) -> str:
    """Say what is known of the end of a process that nobody saw."""
    where = "on {}".format(owner.get("host"))
    if owner.get("boot") != this_process()["boot"]:
        return "its process is gone: {} was started again".format(owner.get("host"))
    gone = "its process {} and its supervisor {} are gone".format(owner.get("pid"), where)
    kills = pulse.get("kills")
    if isinstance(kills, int) and out_of_memory_kills() > kills:
        return gone + "; the kernel has killed processes for want of memory"
    return gone


def _entry(state: str, reason: str, source: str, job: Job) -> Dict[str, Any]:
    return {"state": state, "reason": reason, "source": source, "attempt": job.attempt}
