"""The interpreter's commands, as ``interpreter.sh`` and the client give them."""

import contextlib
import os
import select
import signal
import sys
import time
from typing import Any, List, Optional

from .errors import FormatError
from .job import Job
from .jobs import adopt
from .rank import be_rank
from .responses import respond
from .run import KILL_GRACE, Running, conclude, kill, read_request, start
from .supervisor import Supervisor, is_for_batch, supervise

USAGE = """usage: interpreter.sh REQUEST RESPONSE     run one request file, write one response file
       interpreter.sh --job DIRECTORY [DONE...]  run the request in a job directory, once;
                                              first remove the job directories DONE
       interpreter.sh --submit DIRECTORY...   run the requests in job directories, each once, and do not wait
       interpreter.sh --supervise             the same for those that come on standard input, and wait
       interpreter.sh --cancel DIRECTORY      stop a job and remove it
       interpreter.sh --drop DIRECTORY...     remove job directories
       interpreter.sh --listen KEYFILE [HOST:PORT]  serve connections of socket: on a TCP port
       interpreter.sh --mailbox DIRECTORY SECONDS IDLE
                                              serve a mailbox; "-" for no limit
"""
EXIT_USAGE = 64
PATIENCE = 12
"""Looks at a job whose process is gone, or cannot be judged from here, before that counts:
its parent may be about to say how it ended, and a file server may be late."""
EXIT_UNKNOWN = 75
"""EX_TEMPFAIL of sysexits.h: another runner has the job, and nobody can tell from here how it fares."""


def main(arguments: List[str]) -> int:
    """Do what ``arguments`` say and return the exit status; 0 means that the response is there."""
    try:
        return _command(arguments)
    except OSError as error:
        sys.stderr.write("sremote: {}\n".format(error))
        return EXIT_UNKNOWN


def _command(arguments: List[str]) -> int:
    if len(arguments) == 2 and not arguments[0].startswith("--"):
        return run_files(arguments[0], arguments[1])
    if len(arguments) >= 2 and arguments[0] == "--job":
        for directory in arguments[2:]:
            Job(directory).drop()
        return run_job(Job(arguments[1]))
    if len(arguments) == 2 and arguments[0] == "--rank":
        return be_rank(Job(arguments[1]))
    if len(arguments) >= 2 and arguments[0] == "--submit":
        return submit(arguments[1:])
    if arguments == ["--supervise"]:
        supervise(os.dup(0))
        return 0
    if len(arguments) == 2 and arguments[0] == "--cancel":
        return cancel(Job(arguments[1]))
    if arguments[:1] == ["--drop"]:
        for directory in arguments[1:]:
            Job(directory).drop()
        return 0
    if len(arguments) in (2, 3) and arguments[0] == "--listen":
        from .socket_server import main as listen

        return listen(arguments[1:])
    if len(arguments) == 4 and arguments[0] == "--mailbox":
        from .mailbox import serve_mailbox

        seconds, idle = (None if text == "-" else float(text) for text in arguments[2:])
        return serve_mailbox(arguments[1], seconds, idle)
    sys.stderr.write(USAGE)
    return EXIT_USAGE


def run_files(request: str, response: str) -> int:
    """Run the request in one file and write the response to another, with no job directory given."""
    if os.path.exists(response):
        return 0
    job = Job(response + ".job")
    os.makedirs(job.directory, mode=0o700, exist_ok=True)
    if os.path.exists(response):  # another process has finished meanwhile, and removed its job
        job.drop()
        return 0
    if os.path.exists(request) and not os.path.exists(job.path("request")):
        os.symlink(os.path.abspath(request), job.path("request"))
    status = run_job(job)
    if status == 0:
        os.rename(job.path("response"), response)
    if os.path.exists(response):  # put there by this process, or by another that ran the same
        job.drop()
        return 0
    return status


def run_job(job: Job) -> int:
    """Run a job unless it has been run; wait for the one that runs it where that is another process."""
    if not job.accept():
        sys.stderr.write("sremote: there is no job {}\n".format(job.directory))
        return EXIT_UNKNOWN
    if job.finished():
        return 0
    if job.claimed():
        if is_for_batch(job) and job.runs():
            return EXIT_UNKNOWN  # it was in the queue twice, and the node is not for waiting
        return _await_other(job)
    began = time.time()
    try:
        request = read_request(job)
    except FormatError as error:
        respond(job, {}, "refused", started=began, reason="request", text=str(error))
        return 0
    if request.header.get("durable"):
        if request.header.get("batch"):
            _leave_directory(job)
        _supervise_here(job)
    elif not _oversee(start(job, request), request.header.get("walltime")):
        return _await_other(job)
    return 0 if job.finished() else EXIT_UNKNOWN


def submit(directories: List[str]) -> int:
    """Accept jobs, and have those run that no batch system is to run; nothing for jobs that are here already."""
    jobs = [Job(directory) for directory in directories]
    refused = [job for job in jobs if not job.accept() and not job.exists()]
    adopt([job.directory for job in jobs if job.needs_runner() and not is_for_batch(job)])
    for job in refused:
        sys.stderr.write("sremote: there is no job {}\n".format(job.directory))
    return EXIT_UNKNOWN if refused else 0


def _leave_directory(job: Job) -> None:
    """Let go of what a batch script has open in the job's directory: a file server could not remove that else."""
    os.chdir("/")
    null = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(null, number)
    os.close(null)
    with contextlib.suppress(OSError):
        os.unlink(job.path("batch"))


def _supervise_here(job: Job) -> None:
    """Run a durable job in this process's charge, as a batch system starts it, with all its attempts."""
    supervisor = Supervisor()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    supervisor.run([job.directory])


def cancel(job: Job) -> int:
    """Stop a job's process and all its children, and remove the job."""
    if not job.accept() or job.finished() or job.claim():
        job.drop()
        return 0
    for number, patience in ((signal.SIGTERM, KILL_GRACE), (signal.SIGKILL, KILL_GRACE)):
        deadline = time.monotonic() + patience
        job.signal(number)
        while job.runs() and time.monotonic() < deadline:
            time.sleep(0.02)
    if job.runs() is not False:
        sys.stderr.write("sremote: {} cannot be stopped from here\n".format(job.directory))
        return EXIT_UNKNOWN
    job.drop()
    return 0


def _oversee(running: Running, walltime: Optional[float]) -> bool:
    """Wait for a job's process, stop it at its wall-time limit, and write the response that it could not.

    Returns False where it was another process that came to run the job.
    """
    stopping: List[int] = []

    def stop(number: int, _: Any) -> None:
        stopping.append(number)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    deadline = None if walltime is None else time.monotonic() + walltime
    status = _wait(running.pid, deadline, stopping)
    exceeded = status is None and not stopping
    if status is None:
        kill(running, signal.SIGTERM)
        status = _wait(running.pid, time.monotonic() + KILL_GRACE, [])
        kill(running, signal.SIGKILL)
        if status is None:
            status = os.waitpid(running.pid, 0)[1]
    return conclude(running, status, exceeded)


def _wait(pid: int, deadline: Optional[float], stopping: List[int]) -> Optional[int]:
    """Return the wait status of a child; None at the deadline or once ``stopping`` is not empty."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    previous = signal.set_wakeup_fd(writable)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return status
            left = None if deadline is None else deadline - time.monotonic()
            if stopping or (left is not None and left <= 0):
                return None
            if select.select([readable], [], [], left)[0]:
                os.read(readable, 512)
    finally:
        signal.set_wakeup_fd(previous)
        os.close(readable)
        os.close(writable)


def _await_other(job: Job) -> int:
    pause, unseen = 0.02, 0
    while not job.finished():
        if not os.path.isdir(job.directory):
            sys.stderr.write("sremote: {} has been removed\n".format(job.directory))
            return EXIT_UNKNOWN
        runs = job.runs()
        if not runs and not job.finished():
            unseen += 1
            if unseen > PATIENCE and runs is None:
                sys.stderr.write("sremote: {} was claimed by {}\n".format(job.directory, job.owner() or "nobody known"))
                return EXIT_UNKNOWN
            if unseen > PATIENCE:
                respond(job, {}, "lost", started=0.0)
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
    return 0
