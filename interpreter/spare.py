"""A process that is forked before there is a job for it.

Forking a Python process, and the page faults of its first steps, take longer than a
small job does.  So a server that has nothing else to do forks the next job's process
and has it carry out a request of its own; a job that comes then starts at once.
"""

import contextlib
import os
import time
from typing import Callable, NoReturn

from .execution import carry_out
from .job import Job
from .processes import out_of_memory_kills, this_process
from .run import Running, read_request, run
from .values import encode
from .wire import Message, parse


class Spare:
    """Forks; there ``leave`` and ``announce`` are called as ``run.start`` says.  Raises OSError where it cannot."""

    def __init__(self, leave: Callable[[], None], announce: Callable[[], None]) -> None:
        reading, self._writing = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(self._writing)
            raise
        finally:
            if getattr(self, "pid", -1) != 0:
                os.close(reading)
        if self.pid == 0:
            self.disown()
            _wait(reading, leave, announce)

    def start(self, job: Job, request: Message) -> Running:
        """Have it run a job.  Raises BrokenPipeError where it has ended."""
        running = Running(job, request.header, self.pid, time.time(), out_of_memory_kills())
        try:
            os.write(self._writing, os.fsencode(job.directory))  # a path is less than a pipe takes at once
        finally:
            self.disown()
        return running

    def close(self) -> None:
        """End it."""
        self.disown()
        with contextlib.suppress(ChildProcessError):  # it had ended, and was waited for
            os.waitpid(self.pid, 0)

    def disown(self) -> None:
        """Give up the end of the pipe by which it is told what to do; without any it ends."""
        os.close(self._writing)


def _wait(reading: int, leave: Callable[[], None], announce: Callable[[], None]) -> NoReturn:
    try:
        leave()
        _rehearse()
        directory = b"".join(iter(lambda: os.read(reading, 1 << 16), b""))
        os.close(reading)
        if not directory:
            os._exit(0)
        job = Job(os.fsdecode(directory))
        request = read_request(job)
        run(Running(job, request.header, 0, time.time(), 0), request, lambda: None, announce)
    finally:
        os._exit(70)  # EX_SOFTWARE of sysexits.h


def _rehearse() -> None:
    """Carry out a small request, so that what that needs is this process's own already."""
    this_process()
    request = Message({"target": {"kind": "name", "module": "operator", "function": "neg"}})
    encode(request, "value", ([0], {}))
    carry_out(parse(request.to_bytes()), Message({}))
