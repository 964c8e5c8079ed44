"""Runs one request in a process of its own, and sees to it that a response is written.

``start`` forks the process that runs the function or command; it writes the
response itself.  ``conclude`` is for its parent: it writes the response that says
how the process ended where the process could not.
"""

import atexit
import mmap
import os
import signal
import sys
import threading
import time
from typing import Any, Callable, Dict, Mapping, NamedTuple, NoReturn, Optional

from . import progress
from .errors import FormatError
from .execution import carry_out, prepare
from .functions import Refusal
from .job import Job
from .launch import carry_out_ranks
from .processes import HOST, out_of_memory_kills
from .responses import respond
from .streams import flush, take_streams
from .wire import Header, Message, parse

KILL_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""


class Running(NamedTuple):
    """A job whose process has been started."""

    job: Job
    request: Header
    pid: int
    started: float
    out_of_memory_kills: int


def read_request(job: Job) -> Message:
    """Return a job's request.  Raises FormatError where it is missing or not one."""
    try:
        with open(job.path("request"), "rb") as file:
            # Private to this process, so that arrays in it can be written to without being copied first.
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:  # ValueError: it is empty
        raise FormatError("the request cannot be read: {}".format(error)) from None
    request = parse(memoryview(content))
    header = request.header
    if header.get("format") != 1:
        raise FormatError("the request is of format {!r}, not 1".format(header.get("format")))
    if not isinstance(header.get("target"), dict) or "kind" not in header["target"]:
        raise FormatError("the request does not say what to run")
    if not isinstance(header.get("walltime", 0.0), (int, float, type(None))):
        raise FormatError("the request's walltime is {!r}".format(header["walltime"]))
    if job.id.rpartition(".")[0] == header.get("id"):
        header["id"] = job.id  # a later attempt has the request of the first
    return request


def start(
    job: Job, request: Message, leave: Callable[[], None] = lambda: None, announce: Callable[[], None] = lambda: None
) -> Running:
    """Fork the process that runs a request.

    There, ``leave`` gives up what belongs to the parent, and ``announce`` tells it
    that the response is whole, though not yet on disk nor in its place.
    """
    running = Running(job, request.header, 0, time.time(), out_of_memory_kills())
    pid = os.fork()
    if pid == 0:
        run(running, request, leave, announce)
    return running._replace(pid=pid)


def kill(running: Running, signal_number: int) -> None:
    """Send a signal to the job's process and all its children."""
    for send in (os.killpg, os.kill):
        try:
            send(running.pid, signal_number)
            return
        except ProcessLookupError:
            continue


def conclude(
    running: Running, wait_status: int, walltime_exceeded: bool = False, usage: Optional[Header] = None
) -> bool:
    """Write the response for a process that has ended, unless it has written one itself.

    ``usage`` is what it took, as a response says that.  Returns False where the job
    is another process's, which had claimed it first.
    """
    job = running.job
    owner = job.owner()
    if owner is not None and (owner.get("host"), owner.get("pid")) != (HOST, running.pid):
        return False
    if job.finished():
        return True
    if walltime_exceeded:
        outcome: Dict[str, Any] = {"outcome": "walltime"}
    elif os.WIFSIGNALED(wait_status):
        number = os.WTERMSIG(wait_status)
        memory = number == signal.SIGKILL and out_of_memory_kills() > running.out_of_memory_kills
        outcome = {"outcome": "killed", "signal": number, "out_of_memory": memory}
    else:
        outcome = {"outcome": "exited", "status": os.WEXITSTATUS(wait_status)}
    try:
        respond(job, running.request, started=running.started, usage=usage, **outcome)
    except OSError as error:
        sys.stderr.write("sremote: the response of {} cannot be written: {}\n".format(job.directory, error.strerror))
    return True


def run(running: Running, request: Message, leave: Callable[[], None], announce: Callable[[], None]) -> NoReturn:
    """Be the job's process: never returns, and leaves a response behind if it can."""
    job, header = running.job, running.request
    message = Message({})
    process = os.getpid()
    try:
        os.setsid()
        leave()
        if header.get("launch") and header["target"]["kind"] != "command":
            outcome = carry_out_ranks(job, request, message, lambda: _enter(job, request))
        else:
            outcome = carry_out(request, message, lambda: _enter(job, request), settle)
        if os.getpid() != process:
            _end_fork(outcome)
        flush()
        try:
            respond(job, header, started=running.started, message=message, written=announce, **outcome)
        except OSError as error:  # the disk is full, say: without the value there may be room
            respond(job, header, started=running.started, outcome="unwritten", text=error.strerror)
        os._exit(0)
    except BaseException as error:  # the parent tries once more
        os.write(2, "sremote: cannot write the response: {}\n".format(error).encode())
    finally:
        os._exit(70)  # EX_SOFTWARE of sysexits.h


def _enter(job: Job, request: Message) -> None:
    """Become the process of a job: claim it, write to its files, and take on the surroundings that it asks for."""
    try:
        if not job.claim() or job.finished():
            os._exit(0)
        take_streams(job, request)
        if request.header.get("durable"):
            os.environ[progress.VARIABLE] = job.path("progress")
            os.environ["SREMOTE_JOB"] = job.id  # by which its processes can be known, wherever they go
    except OSError as error:
        raise Refusal("host", "the job's files cannot be written: {}".format(error.strerror)) from None
    prepare(request.header)


def _end_fork(outcome: Mapping[str, Any]) -> NoReturn:
    """End a process that the user's code has forked and that came back here; the response is not its own to write."""
    if outcome["outcome"] == "raised":
        sys.stderr.write(outcome["error"]["traceback"])
    flush()
    os._exit(outcome.get("status", 0 if outcome["outcome"] == "returned" else 1))


def settle() -> None:
    """End as a script ends: wait for its threads, run what it registered with atexit."""
    shutdown: Optional[Callable[[], None]] = getattr(threading, "_shutdown", None)
    if shutdown is not None:
        shutdown()
    atexit._run_exitfuncs()
