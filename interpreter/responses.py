"""Writes the response of a job; every job gets one, whatever became of it."""

import os
import sys
import time
from typing import Any, Callable, List, Optional

from .job import Job
from .processes import HOST
from .wire import Buffer, Header, Message

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

OUTPUT_LIMIT = 16 << 20
"""Bytes of stdout, and of stderr, that a response carries; the middle of a longer one is left out."""


def respond(
    job: Job,
    request: Header,
    outcome: str,
    *,
    started: float,
    message: Optional[Message] = None,
    written: Callable[[], None] = lambda: None,
    usage: Optional[Header] = None,
    **details: Any,
) -> bool:
    """Finish ``job`` with an outcome, its output so far, and the sections of ``message``.

    ``started`` is when its process began, seconds since the epoch on this host's
    clock, ``usage`` what it took, if not this process.  ``written`` is called as
    ``Job.finish`` says.  Returns False where the job
    had a response already, which then stays.
    """
    if outcome not in ("returned", "cancelled") and request.get("durable") and job.is_to_stop():
        details, outcome, message = {}, "cancelled", None
    response = Message(
        dict(
            details,
            format=1,
            kind="response",
            id=request.get("id", job.id),
            target=(request.get("target") or {}).get("kind"),
            retries=request.get("retries") or 0,
            outcome=outcome,
            host=HOST,
            python=list(sys.version_info[:3]),
            implementation=sys.implementation.name,
            times={"started": started, "finished": time.time()},
            usage=_usage() if usage is None else usage,
        ),
        message.sections if message else (),
    )
    omitted = {}
    for name in ("stdout", "stderr"):
        buffers, left_out = _output(job.path(name))
        response.add(name, *buffers)
        if left_out:
            omitted[name] = left_out
    if omitted:
        response.header["omitted"] = omitted
    return job.finish(response, written)


def _output(path: str) -> "tuple[List[Buffer], int]":
    """Return the content of an output file, and how many bytes of its middle are left out."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= OUTPUT_LIMIT:
                return [file.read(size)], 0
            head = file.read(OUTPUT_LIMIT // 2)
            file.seek(size - OUTPUT_LIMIT // 2)
            left_out = size - OUTPUT_LIMIT
            note = "\n[sremote: {} bytes left out here]\n".format(left_out).encode()
            return [head, note, file.read(OUTPUT_LIMIT // 2)], left_out
    except OSError:
        return [b""], 0


def _usage() -> Header:
    """Return CPU seconds and peak memory in bytes of this process and the children it has waited for."""
    if resource is None:
        return {}
    return usage_of([resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)])


def usage_of(usages: List[Any]) -> Header:
    """Return the ``usage`` of a response, for what ``resource.getrusage`` or ``os.wait4`` have told."""
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "cpu_seconds": round(sum(usage.ru_utime + usage.ru_stime for usage in usages), 6),
        "max_memory": max(usage.ru_maxrss for usage in usages) * unit,
    }
