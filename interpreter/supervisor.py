"""Sees durable jobs to their ends: starts them, keeps their time, tells how they fare and how they ended.

A supervisor is a process that has left whoever started it: neither the end of the
connection nor that of the client or of sshd reaches it.  It may be killed all the
same.  Then its jobs go on and write their responses themselves, and whoever asks
about them next gives those that still need one a new supervisor.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections import deque
from typing import Any, Deque, Dict, Iterable, List, NoReturn, Optional, Set

from .errors import FormatError
from .family import family, kill_family
from .job import Job
from .processes import HOST, is_alive, out_of_memory_kills, seconds_running, this_process
from .responses import respond, usage_of
from .run import KILL_GRACE, Running, conclude, read_request, start
from .scope import in_own_scope
from .summary import has_failed, is_to_be_tried_again, read_header
from .wire import Header

MOST_RUNNING = 64
"""Jobs of one supervisor that run at once; the others wait in their directories."""
BEAT = 10.0
"""Seconds between two heartbeats."""
ADOPTED_PAUSE = 0.5
"""Seconds between looks at a job that another process had started."""


class _Watched:
    """A job that runs."""

    def __init__(self, job: Job, request: Header) -> None:
        self.job = job
        self.request = request
        self.process: Dict[str, Any] = {}
        self.running: Optional[Running] = None
        """Set where the process is this one's child."""
        self.deadline: Optional[float] = None
        """When it is to be stopped, or killed once it is ``stopping``."""
        self.stopping: Set[int] = set()
        """The processes that have been told to end."""
        self.out_of_time = False
        self.beats = 0
        self.next_beat = 0.0
        self.kills = out_of_memory_kills()


class Supervisor:
    """The loop.  ``source`` is a file descriptor that names further job directories, a line each."""

    def __init__(self, source: Optional[int] = None) -> None:
        self._source = source
        self._names = b""
        self._waiting: Deque[Job] = deque()
        self._watched: List[_Watched] = []
        self._self = this_process()
        self._woken, self._wakeup = os.pipe()
        for end in (self._woken, self._wakeup):
            os.set_blocking(end, False)
        self._stopped = False

    def run(self, directories: Iterable[str] = ()) -> None:
        """Supervise jobs until all have ended and no more can come."""
        signal.set_wakeup_fd(self._wakeup)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._take(directories)
        while self._source is not None or self._waiting or self._watched:
            while self._waiting and len(self._watched) < MOST_RUNNING:
                self._begin(self._waiting.popleft())
            self._look()
            if not (self._source is not None or self._waiting or self._watched):
                break
            reading = [self._woken] + ([] if self._source is None else [self._source])
            readable, _, _ = select.select(reading, [], [], self._pause())
            if self._woken in readable:
                os.read(self._woken, 4096)
            if self._source in readable:
                self._read_source()

    def stop(self) -> None:
        """Stop all jobs; may be called by a signal's handler."""
        self._stopped = True
        for watched in list(self._watched):
            self._stop(watched)

    def _read_source(self) -> None:
        assert self._source is not None
        data = os.read(self._source, 1 << 16)
        if not data:
            os.close(self._source)
            self._source = None
        *names, self._names = (self._names + data).split(b"\n")
        self._take(os.fsdecode(name) for name in names)

    def _take(self, directories: Iterable[str]) -> None:
        for directory in directories:
            job = Job(directory)
            if not job.accept():
                continue
            if job.finished():
                self._settle(job)
            else:
                self._waiting.append(job)
                if len(self._watched) + len(self._waiting) > MOST_RUNNING:
                    self._tell(job, {"count": 0})

    def _tell(self, job: Job, pulse: Dict[str, Any]) -> None:
        try:
            job.beat(dict(pulse, supervisor=self._self))
        except OSError as error:  # the disk is full, say: the job may get on all the same
            sys.stderr.write("sremote: {}\n".format(error))

    # One job

    def _begin(self, job: Job) -> None:
        began = time.time()
        try:
            request = read_request(job)
        except FormatError as error:
            if job.accept() and not job.finished():
                respond(job, {}, "refused", started=began, reason="request", text=str(error))
            return
        watched = _Watched(job, request.header)
        self._beat(watched)
        owner = job.owner()
        if owner is not None:
            watched.process = owner
        else:
            try:
                watched.running = start(job, request, self._leave)
            except OSError as error:
                respond(job, request.header, "refused", started=began, reason="host", text=str(error))
                self._settle(job)
                return
            watched.process = {"host": HOST, "pid": watched.running.pid}
        walltime = request.header.get("walltime")
        if walltime is not None:
            watched.deadline = time.monotonic() + walltime - (seconds_running(owner) if owner else 0.0)
        self._watched.append(watched)
        if self._stopped:
            self._stop(watched)

    def _leave(self) -> None:
        """Be a job's process: give up what belongs to the supervisor."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (self._woken, self._wakeup, self._source):
            if number is not None:
                os.close(number)

    def _look(self) -> None:
        """See how all jobs fare; stop those whose time is up."""
        now = time.monotonic()
        for watched in list(self._watched):
            if self._has_ended(watched):
                self._watched.remove(watched)
                self._settle(watched.job)
                continue
            if watched.deadline is not None and now >= watched.deadline:
                watched.out_of_time = watched.out_of_time or not watched.stopping
                self._stop(watched)
            if now >= watched.next_beat:
                self._beat(watched)
                if watched.job.is_to_stop() and not watched.stopping:
                    self._stop(watched)

    def _has_ended(self, watched: _Watched) -> bool:
        """Say whether a job has ended, and see that it has a response then."""
        if watched.running is None:
            return self._adopted_has_ended(watched)
        pid, status, used = os.wait4(watched.running.pid, os.WNOHANG)
        if pid == 0:
            return False
        if os.WIFSIGNALED(status):
            kill_family(watched.stopping | family(pid, watched.job.id), signal.SIGKILL)
        if conclude(watched.running, status, watched.out_of_time, usage_of([used])):
            return True
        watched.running = None  # it is another process's, which had claimed it first
        watched.process = watched.job.owner() or {}
        return self._adopted_has_ended(watched)

    def _adopted_has_ended(self, watched: _Watched) -> bool:
        job = watched.job
        if job.finished() or not os.path.isdir(job.directory):
            return True
        if is_alive(watched.process) is not False:
            return False
        if watched.out_of_time:
            respond(job, watched.request, "walltime", started=0.0)
        else:
            text = "its process is gone, and so is the supervisor that it had"
            respond(job, watched.request, "lost", started=0.0, text=text)
        return True

    def _stop(self, watched: _Watched) -> None:
        """Tell a job's processes to end; those that have not done so in time are killed."""
        if watched.process.get("host") != HOST:
            return
        number = signal.SIGKILL if watched.stopping else signal.SIGTERM
        watched.stopping |= family(watched.process["pid"], watched.job.id)
        kill_family(watched.stopping, number)
        watched.deadline = time.monotonic() + KILL_GRACE

    def _settle(self, job: Job) -> None:
        """Try again what failed, as often as its user said, and leave little of what has ended."""
        try:
            header = read_header(job)
            if is_to_be_tried_again(job, header):
                self._take([job.try_again().directory])
            job.compact(not has_failed(header), "omitted" in header)
        except (OSError, FormatError) as error:  # removed meanwhile, never written, or the disk is full
            sys.stderr.write("sremote: {}\n".format(error))

    # Heartbeats

    def _beat(self, watched: _Watched) -> None:
        watched.beats += 1
        watched.next_beat = time.monotonic() + BEAT
        pulse = {"count": watched.beats, "kills": watched.kills}
        pulse.update(_use(watched.process.get("pid", 0)))
        if watched.beats == 1 or os.path.isdir(watched.job.directory):
            self._tell(watched.job, pulse)

    def _pause(self) -> Optional[float]:
        if self._waiting and len(self._watched) < MOST_RUNNING:
            return 0.0
        now = time.monotonic()
        pauses = [watched.next_beat - now for watched in self._watched]
        pauses.extend(watched.deadline - now for watched in self._watched if watched.deadline is not None)
        pauses.extend(ADOPTED_PAUSE for watched in self._watched if watched.running is None)
        return max(0.0, min(pauses)) if pauses else None


def _use(pid: int) -> Dict[str, Any]:
    """Return the CPU seconds and the peak memory in bytes of a process of this host, as far as it tells."""
    try:
        with open("/proc/{}/stat".format(pid), "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        with open("/proc/{}/status".format(pid)) as file:
            peak = [int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM:")]
    except (OSError, ValueError):
        return {}
    ticks = sum(int(field) for field in fields[11:15])  # proc(5): utime, stime, and those of children waited for
    return {"cpu_seconds": ticks / os.sysconf("SC_CLK_TCK"), "max_memory": max(peak) if peak else 0}


def detach(directories: Iterable[str]) -> int:
    """Start a supervisor for jobs; return a pipe's end, to be told further job directories and closed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                _be_detached(reading)
        finally:
            os._exit(0)
    os.close(reading)
    os.waitpid(pid, 0)
    assign(writing, directories)
    return writing


def is_for_batch(job: Job) -> bool:
    """Say whether a batch system is to run this job, so that it needs no supervisor here."""
    try:
        return bool(read_request(job).header.get("batch"))
    except FormatError:
        return False


def assign(supervisor: int, directories: Iterable[str]) -> None:
    """Give a supervisor more jobs.  Raises BrokenPipeError where it has gone."""
    data = b"".join(os.fsencode(directory) + b"\n" for directory in directories)
    while data:
        data = data[os.write(supervisor, data) :]


def _be_detached(source: int) -> NoReturn:
    """Be a supervisor that has nothing of the process that started it."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(source, 0)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.closerange(3, 4096)
        os.chdir("/")
        in_own_scope([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")])
        supervise(os.dup(0))
    except BaseException:  # nobody listens; whoever asks about the jobs starts another supervisor
        os._exit(70)
    os._exit(0)


def supervise(source: int) -> None:
    """Supervise the jobs that ``source`` names, until it ends and they have."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    with contextlib.suppress(ProcessLookupError):
        Supervisor(source).run()
