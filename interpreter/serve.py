"""Serves calls over a stream: many at once, each in a process of its own, with live output.

One loop waits for frames from the client, for the ends of the jobs' processes and
for room on the line.  A request goes to its job directory as it arrives, and a
response is read from there as the line takes it, so the loop's memory does not
grow with either.  When the client goes, the jobs that run are seen to their ends.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import struct
import sys
import time
from collections import deque
from typing import BinaryIO, Deque, Dict, List, Optional

from . import frames
from .errors import FormatError
from .job import Job
from .responses import respond
from .run import KILL_GRACE, Running, conclude, kill, read_request, start
from .spare import Spare
from .supervisor import assign, detach, is_for_batch
from .wire import Message

MOST_RUNNING = 64
"""Jobs that run at once; the others wait in their directories."""
ROOM = 1 << 20
"""Bytes that may wait for the line before more is read from the jobs."""
OUTPUT_PAUSE = 0.02
"""Seconds between looks at what the jobs have printed."""
ADOPT_PAUSE = 0.05
"""Seconds between looks at a job that another process runs."""
ADOPT_PATIENCE = 40
"""Looks at a job whose process is gone, or cannot be judged from here, before that counts:
its parent may be about to say how it ended, and a file server may be late."""

EXIT_NO_ROOT = 96
"""Nothing can be written where jobs would be kept; nothing has run."""

_SIZE = struct.Struct(">Q")
_PID = struct.Struct("=i")


class _Call:
    """One call of this stream: first its request comes in, then its job runs, then its response goes out."""

    def __init__(self, number: int, job: Job, size: int, durable: bool) -> None:
        self.number = number
        self.job = job
        self.durable = durable
        """Whether it is only to be accepted, and run whatever becomes of this line."""
        self.missing = size
        self.incoming: Optional[BinaryIO] = None
        """Where the request goes while it arrives."""
        self.running: Optional[Running] = None
        self.deadline: Optional[float] = None
        """When it is to be stopped, or killed once it is ``stopping``."""
        self.drop_at_end: Optional[bool] = None
        """Set once the client is done with it: whether to remember its id."""
        self.answered = False
        """Whether its response has been taken up, though its process may not have ended."""
        self.stopping = False
        self.out_of_time = False
        self.outputs: List[int] = []
        """Descriptors from which its stdout and stderr are read as they grow."""
        self.patience = ADOPT_PATIENCE


def serve(root: str, first: bytes) -> None:
    """Serve the stream on file descriptors 0 and 1 until it ends; ``first`` is what has been read of it.

    The first frame tells whether it carries calls or is a session.
    """
    first = first or os.read(0, frames.CHUNK)
    incoming, outgoing = _take_stream()
    if first[:1] == bytes([frames.SESSION]):
        from .session import Session

        Session(incoming, outgoing).run(first)
    else:
        Server(os.path.join(root, "jobs"), incoming, outgoing).run(first)


def _take_stream() -> "tuple[int, int]":
    """Move the stream away from 0 and 1, where the jobs would find it."""
    incoming, outgoing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(null, number)
    os.close(null)
    return incoming, outgoing


class Server:
    """The loop.  ``folder`` holds the job directories; the stream is two file descriptors."""

    def __init__(self, folder: str, incoming: int, outgoing: int) -> None:
        self._folder = folder
        self._incoming = incoming
        self._outgoing = outgoing
        os.set_blocking(outgoing, False)
        self._frames = frames.FrameReader()
        self._calls: Dict[int, _Call] = {}
        self._waiting: Deque[_Call] = deque()
        self._running: Dict[int, _Call] = {}
        self._adopted: List[_Call] = []
        self._responses: Deque["tuple[_Call, BinaryIO]"] = deque()
        self._line: Deque[memoryview] = deque()
        self._line_size = 0
        self._client = True
        self._supervisor: Optional[int] = None
        """Where the supervisor of this line's durable jobs hears of further ones."""
        self._spare: Optional[Spare] = None
        """The process of the next job, once there has been one."""
        self._has_forked = False
        self._ended, self._wakeup = os.pipe()
        self._answered, self._answers = os.pipe()
        for end in (self._ended, self._wakeup, self._answered):
            os.set_blocking(end, False)

    def run(self, first: bytes) -> None:
        """Serve until the client has gone and no job runs any more."""
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
        except OSError as error:
            sys.stderr.write("sremote: cannot keep jobs: {}\n".format(error))
            sys.exit(EXIT_NO_ROOT)
        signal.set_wakeup_fd(self._wakeup)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self._receive(first)
        while True:
            self._reap()
            self._watch()
            self._start_waiting()
            self._send_outputs()
            self._send_responses()
            if self._line and self._client:
                self._write_stream()
            if not (self._client or self._running or self._waiting):
                self._drop_spare()
                return
            self._keep_spare()
            reading = [self._ended, self._answered] + ([self._incoming] if self._client else [])
            writing = [self._outgoing] if (self._line or self._responses) and self._client else []
            readable, _, _ = select.select(reading, writing, [], self._pause())
            if self._ended in readable:
                os.read(self._ended, 4096)
            if self._answered in readable:
                self._hear_answers()
            if self._incoming in readable:
                self._read_stream()

    def _pause(self) -> Optional[float]:
        """Return how long nothing needs to be looked at; None for as long as nothing happens."""
        pauses = []
        if self._running and self._client:
            pauses.append(OUTPUT_PAUSE)
        if self._adopted:
            pauses.append(ADOPT_PAUSE)
        now = time.monotonic()
        pauses.extend(max(0.0, call.deadline - now) for call in self._running.values() if call.deadline is not None)
        return min(pauses) if pauses else None

    # What the client sends

    def _read_stream(self) -> None:
        try:
            data = os.read(self._incoming, frames.CHUNK)
        except OSError:
            data = b""
        if data:
            self._receive(data)
        else:
            self._lose_client()

    def _lose_client(self) -> None:
        """Go on for the jobs that have been taken on; requests that are not whole are dropped."""
        self._client = False
        self._line.clear()
        for call in list(self._calls.values()):
            if call.incoming is not None:
                call.incoming.close()
                call.job.drop_incoming()

    def _receive(self, data: bytes) -> None:
        try:
            for kind, number, payload in self._frames.feed(data):
                if kind in (frames.CALL, frames.SUBMIT):
                    self._begin(number, payload, durable=kind == frames.SUBMIT)
                elif kind == frames.PRELOAD:
                    self._preload(json.loads(bytes(payload).decode("utf-8")))
                elif number not in self._calls:
                    continue
                elif kind == frames.DATA:
                    self._take(self._calls[number], payload)
                elif kind == frames.DONE:
                    self._done(self._calls.pop(number), remember=bool(payload))
                elif kind == frames.CANCEL:
                    self._cancel(self._calls[number])
        except FormatError as error:
            sys.stderr.write("sremote: {}\n".format(error))
            self._lose_client()

    def _preload(self, modules: List[str]) -> None:
        """Import modules for the calls to come; what does not go is left to the call that needs it."""
        self._drop_spare()
        for name in modules:
            try:
                importlib.import_module(name)
            except Exception as error:
                sys.stderr.write("sremote: cannot preload {}: {}\n".format(name, error))

    def _begin(self, number: int, payload: memoryview, durable: bool) -> None:
        length = payload[0]
        job_id = bytes(payload[1 : 1 + length]).decode("ascii")
        if os.path.basename(job_id) != job_id or job_id.startswith("."):
            raise FormatError("{!r} is not the id of a job".format(job_id))
        (size,) = _SIZE.unpack_from(payload, 1 + length)
        call = self._calls[number] = _Call(number, Job(os.path.join(self._folder, job_id)), size, durable)
        try:
            call.incoming = call.job.receive()
        except OSError as error:
            self._tell(frames.REFUSED, call, "cannot keep the request: {}".format(error))
            return
        self._take(call, payload[1 + length + _SIZE.size :])

    def _take(self, call: _Call, payload: memoryview) -> None:
        if call.incoming is None:
            return
        try:
            call.incoming.write(payload)
            call.missing -= len(payload)
            if call.missing > 0:
                return
            if call.durable:
                call.incoming.flush()
                os.fsync(call.incoming.fileno())
            call.incoming.close()
        except OSError as error:
            call.job.drop_incoming()
            self._tell(frames.REFUSED, call, "cannot keep the request: {}".format(error))
            call.incoming = None
            return
        call.incoming = None
        if call.durable:
            self._submit(call)
        elif not call.job.accept():
            self._tell(frames.UNKNOWN, call, "its response has been fetched already, over another line")
        elif call.job.finished():
            self._respond(call)
        elif call.job.claimed():
            self._adopted.append(call)
        else:
            self._waiting.append(call)

    def _submit(self, call: _Call) -> None:
        """Have a supervisor run a job, unless it has been run or a batch system is to do that."""
        del self._calls[call.number]
        try:
            if call.job.accept() and call.job.needs_runner() and not is_for_batch(call.job):
                self._supervise(call.job.directory)
        except OSError as error:  # no process: whoever asks about the job starts its supervisor
            sys.stderr.write("sremote: no supervisor for {}: {}\n".format(call.job.id, error))
        self._tell(frames.ACCEPTED, call, "")

    def _supervise(self, directory: str) -> None:
        if self._supervisor is not None:
            try:
                assign(self._supervisor, [directory])
                return
            except BrokenPipeError:  # it was killed
                os.close(self._supervisor)
        self._supervisor = detach([directory])

    def _done(self, call: _Call, remember: bool) -> None:
        """Remove a job whose response has arrived; one whose process still writes to disk when that has ended."""
        if call.running is None:
            call.job.drop(remember)
        else:
            call.drop_at_end = remember

    def _cancel(self, call: _Call) -> None:
        if call.running is not None:
            self._stop(call)
        elif call in self._waiting:
            self._waiting.remove(call)
            respond(call.job, {"id": call.job.id}, "killed", started=time.time(), signal=int(signal.SIGTERM))
            self._respond(call)
        elif call in self._adopted:
            call.job.signal(signal.SIGTERM)

    # The jobs

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < MOST_RUNNING:
            self._start(self._waiting.popleft())

    def _start(self, call: _Call) -> None:
        began = time.time()
        try:
            request = read_request(call.job)
            call.outputs = call.job.open_outputs()
            call.running = self._fork(call.job, request)
        except FormatError as error:
            respond(call.job, {}, "refused", started=began, reason="request", text=str(error))
            self._respond(call)
            return
        except OSError as error:  # no process, no space
            respond(call.job, {}, "refused", started=began, reason="host", text=str(error))
            self._respond(call)
            return
        self._running[call.running.pid] = call
        walltime = request.header.get("walltime")
        if walltime is not None:
            call.deadline = time.monotonic() + walltime

    def _fork(self, job: Job, request: Message) -> Running:
        spare, self._spare = self._spare, None
        self._has_forked = True
        if spare is not None:
            with contextlib.suppress(BrokenPipeError):
                return spare.start(job, request)
        return start(job, request, self._leave, self._announce)

    def _keep_spare(self) -> None:
        """Fork the next job's process, once there has been a job and nobody waits for anything."""
        if (
            self._has_forked
            and self._spare is None
            and self._client
            and not (self._line or self._responses or self._waiting)
            and all(call.answered for call in self._running.values())
        ):
            with contextlib.suppress(OSError):  # then the job's own start will say so
                self._spare = Spare(self._leave, self._announce)

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare.close()
            self._spare = None

    def _leave(self) -> None:
        """Be a job's process: give up what belongs to the server."""
        if self._spare is not None:
            self._spare.disown()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for number in (self._incoming, self._outgoing, self._ended, self._wakeup, self._answered, self._supervisor):
            if number is not None:
                os.close(number)

    def _announce(self) -> None:
        """Tell the server, from a job's process, that the response is whole."""
        with contextlib.suppress(OSError):  # the user's code may have closed it; then the process's end tells
            os.write(self._answers, _PID.pack(os.getpid()))

    def _hear_answers(self) -> None:
        """Send responses as soon as they are whole; their processes flush them to disk and end meanwhile."""
        for (pid,) in _PID.iter_unpack(os.read(self._answered, 4096)):
            call = self._running.get(pid)
            if call is not None and not call.answered:
                call.answered = True
                call.deadline = None
                self._send_output(call)
                self._respond(call, call.job.written_by(pid))

    def _reap(self) -> None:
        while self._running:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            call = self._running.pop(pid, None)
            if call is None or call.running is None:
                continue
            if call.answered:
                call.running = None
                if call.drop_at_end is not None:
                    call.job.drop(call.drop_at_end)
                continue
            ours = conclude(call.running, status, call.out_of_time)
            call.running = None
            if ours:
                self._send_output(call)
                self._respond(call)
            else:
                self._adopted.append(call)

    def _watch(self) -> None:
        """Stop the jobs whose time is up, and see how those fare that other processes run."""
        now = time.monotonic()
        for call in self._running.values():
            if call.deadline is not None and now >= call.deadline:
                call.out_of_time = call.out_of_time or not call.stopping
                self._stop(call)
        for call in list(self._adopted):
            runs = call.job.runs()
            if not call.job.finished() and not runs:
                call.patience -= 1
                if call.patience > 0:
                    continue
                if runs is None:
                    self._adopted.remove(call)
                    self._tell(frames.UNKNOWN, call, "claimed by {}".format(call.job.owner() or "nobody known"))
                    continue
                respond(call.job, {"id": call.job.id}, "lost", started=0.0)
            if call.job.finished():
                self._adopted.remove(call)
                self._respond(call)

    def _stop(self, call: _Call) -> None:
        assert call.running is not None
        kill(call.running, signal.SIGKILL if call.stopping else signal.SIGTERM)
        call.stopping = True
        call.deadline = time.monotonic() + KILL_GRACE

    # What the client gets

    def _send_outputs(self) -> None:
        if self._client and self._line_size < ROOM:
            for call in self._running.values():
                self._send_output(call)

    def _send_output(self, call: _Call) -> None:
        for number, kind in zip(call.outputs, (frames.STDOUT, frames.STDERR)):
            while self._client and self._line_size < ROOM:
                data = os.read(number, frames.CHUNK)
                if not data:
                    break
                self._queue(frames.pack(kind, call.number, data))

    def _respond(self, call: _Call, written: str = "") -> None:
        """Send the response of a job as the line takes it; from ``written`` where it still is there."""
        for number in call.outputs:
            os.close(number)
        call.outputs = []
        if not self._client:
            return
        reason = ""
        for path in (written, call.job.path("response")):
            try:
                self._responses.append((call, open(path, "rb")))
                return
            except OSError as error:
                reason = str(error)
        self._tell(frames.UNKNOWN, call, "its response cannot be read: {}".format(reason))

    def _send_responses(self) -> None:
        while self._responses and self._client and self._line_size < ROOM:
            call, file = self._responses.popleft()
            if file.tell() == 0:
                size = os.fstat(file.fileno()).st_size
                head = _SIZE.pack(size)
                data = head + file.read(frames.CHUNK - len(head))
                self._queue(frames.pack(frames.RESPONSE, call.number, data))
            else:
                self._queue(frames.pack(frames.DATA, call.number, file.read(frames.CHUNK)))
            if file.tell() < os.fstat(file.fileno()).st_size:
                self._responses.append((call, file))
            else:
                file.close()

    def _tell(self, kind: int, call: _Call, text: str) -> None:
        self._queue(frames.pack(kind, call.number, text.encode("utf-8", "backslashreplace")[: frames.CHUNK]))

    def _queue(self, frame: bytes) -> None:
        self._line.append(memoryview(frame))
        self._line_size += len(frame)

    def _write_stream(self) -> None:
        try:
            while self._line:
                written = os.write(self._outgoing, self._line[0])
                self._line_size -= written
                if written < len(self._line[0]):
                    self._line[0] = self._line[0][written:]
                else:
                    self._line.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._lose_client()
