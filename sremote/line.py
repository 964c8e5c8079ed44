"""One open stream to the interpreter on a host, shared by all calls under way.

A command starts the interpreter, pushing it first where it is missing.  A small
first call rides along with that command, so that starting the interpreter, the
request and its response share one round trip.
"""

from __future__ import annotations

import base64
import json
import logging
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count

from sremote.bundle import interpreter_bundle, interpreter_digest, interpreter_files
from sremote.connectors.base import Completed, OutputSink, Process
from sremote.errors import ConnectionLost, FormatError, LineTimeout, OutcomeUnknown, SremoteError
from sremote.host import Host, Probe
from sremote.interpreter import frames
from sremote.interpreter.wire import Buffer

log = logging.getLogger("sremote")

INLINE = 3000
"""Bytes of a first call that ride along with the command; csh takes no words much longer."""
HELLO_TIMEOUT = 120.0
"""Seconds for the interpreter to start: a Python on a cold Lustre takes its time."""
CLOSE_TIMEOUT = 5.0
"""Seconds for the far side to end by itself after the last call."""
CANCEL_TIMEOUT = 10.0
"""Seconds for a stopped call to end."""

_SIZE = struct.Struct(">Q")


class Call:
    """A request on its way, and what has come back of its response.

    ``output`` gets what the job prints, in the thread that reads the line.
    """

    def __init__(self, job_id: str, request: Sequence[Buffer], output: OutputSink | None) -> None:
        self.job_id = job_id
        self.request = request
        self.output = output
        self.number = 0
        self.sent = False
        """Whether the request, or a part of it, may have reached the host."""
        self.ended = threading.Event()
        self.response = bytearray()
        self.missing = -1
        """Bytes of the response that are still to come; -1 before it has begun."""
        self.error: SremoteError | None = None
        self.output_error: Exception | None = None
        """What ``output`` raised; the job is stopped then."""
        self.printed = {"stdout": 0, "stderr": 0}
        """Bytes of output that the sink has had, also over earlier lines."""
        self._seen = {"stdout": 0, "stderr": 0}

    def begin(self, number: int) -> None:
        """Start over on a new line."""
        self.number = number
        self.response, self.missing, self.error = bytearray(), -1, None
        self._seen = {"stdout": 0, "stderr": 0}
        self.ended.clear()

    def print(self, stream: str, data: memoryview) -> None:
        """Hand on output; what an earlier line had brought already is left out."""
        known = min(max(0, self.printed[stream] - self._seen[stream]), len(data))
        self._seen[stream] += len(data)
        if self.output is not None and self.output_error is None and known < len(data):
            self.printed[stream] += len(data) - known
            try:
                self.output(stream, bytes(data[known:]))  # type: ignore[arg-type]
            except Exception as error:
                self.output_error = error
                self.ended.set()

    def take(self, payload: memoryview) -> bool:
        """Take a part of the response; say whether it is whole now."""
        if self.missing < 0:
            (self.missing,) = _SIZE.unpack_from(payload)
            payload = payload[_SIZE.size :]
        self.response += payload
        self.missing -= len(payload)
        if self.missing < 0:
            raise FormatError("the stream is damaged: a response is longer than it said")
        return self.missing == 0

    def frames(self) -> Iterator[bytes | memoryview]:
        """Yield the frames of the request, head and payload, each payload a view of the request."""
        size = sum(len(memoryview(part).cast("B")) for part in self.request)
        name = self.job_id.encode("ascii")
        head = bytes([len(name)]) + name + _SIZE.pack(size)
        kind = frames.CALL
        for part in _pieces(self.request, frames.CHUNK - len(head)):
            yield frames.HEAD.pack(kind, self.number, len(head) + len(part)) + head
            yield part
            kind, head = frames.DATA, b""


class Line:
    """A stream and the thread that reads it.  ``first`` is the call that rides along with the command."""

    def __init__(self, host: Host, first: Call | None) -> None:
        self._host = host
        self._numbers = count(1)
        self._calls: dict[int, Call] = {}
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._greeted = threading.Event()
        self._failure: SremoteError | None = None
        self._errors = bytearray()
        rides = b""
        if first is not None and sum(len(part) for part in first.request) <= INLINE:
            self._register(first)
            rides = b"".join(first.frames())
        self._process: Process = host.connector.start(host.command(self._command(rides)))
        for work in (self._read, self._read_errors):
            threading.Thread(target=work, name=f"sremote {host.name}", daemon=True).start()
        if first is not None and not rides:
            self.send(first)

    @property
    def dead(self) -> bool:
        """Whether nothing more will come over this line."""
        return self._failure is not None

    def hello(self) -> None:
        """Wait until the host has said what it is, and tell ``Host``.  Raises where it cannot serve."""
        if not self._greeted.wait(HELLO_TIMEOUT):
            self.close()
            raise LineTimeout(f"{self._host.name}: the interpreter there has not started in {HELLO_TIMEOUT:.0f} s")
        if self._failure is not None:
            raise self._failure

    def send(self, call: Call) -> None:
        """Send a call's request; frames of other calls go in between."""
        self._register(call)
        chunks = call.frames()
        for head in chunks:
            with self._sending:
                if self._failure is not None:
                    raise self._failure
                self._write(head, next(chunks))

    def response(self, call: Call, timeout: float | None) -> memoryview:
        """Wait for a call's response; the job there is then done with.

        Raises ConnectionLost when the line drops, LineTimeout after ``timeout`` seconds,
        and what ``output`` raised.
        """
        try:
            ended = call.ended.wait(timeout)
        except KeyboardInterrupt:
            self._cancel(call)
            raise
        if call.output_error is not None:
            self._cancel(call)
            raise call.output_error
        if not ended:
            raise LineTimeout(f"{self._host.name}: no answer to job {call.job_id} after {timeout:.0f} s")
        if call.error is not None:
            raise call.error
        self._forget(call)
        return memoryview(call.response)

    def close(self) -> None:
        """End the stream; the far side ends once its jobs have."""
        self._fail(ConnectionLost(f"{self._host.name}: the line was closed here"))
        with suppress(SremoteError):
            self._process.close_stdin()
            self._process.wait(CLOSE_TIMEOUT)
        self._process.kill()

    def _command(self, rides: bytes) -> list[str]:
        files = interpreter_files()
        arguments = [
            files["bootstrap.py"].decode(),
            self._host.root,
            interpreter_digest(),
            *self._host.wanted_environment,
            base64.b64encode(rides).decode(),
        ]
        python = f"SREMOTE_PYTHON={self._host.python or ''}"
        script = files["interpreter.sh"].decode()
        return ["env", python, "sh", "-c", script, "interpreter.sh", "--serve", *arguments]

    def _register(self, call: Call) -> None:
        call.begin(next(self._numbers))
        call.sent = True
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._calls[call.number] = call

    def _cancel(self, call: Call) -> None:
        """Stop a call, whose response nobody wants any more."""
        call.ended.clear()
        if call.missing != 0 and call.error is None:
            self._tell(frames.CANCEL, call)
            call.ended.wait(CANCEL_TIMEOUT)
        self._forget(call)

    def _forget(self, call: Call) -> None:
        with self._lock:
            self._calls.pop(call.number, None)
        self._tell(frames.DONE, call)

    def _tell(self, kind: int, call: Call) -> None:
        with suppress(ConnectionLost), self._sending:
            if self._failure is None:
                self._process.write(frames.pack(kind, call.number, b""))

    def _write(self, head: bytes | memoryview, payload: bytes | memoryview) -> None:
        if len(payload) < 1 << 14:
            self._process.write(bytes(head) + bytes(payload))
        else:
            self._process.write(head)
            self._process.write(payload)

    # The thread that reads

    def _read(self) -> None:
        reader = frames.FrameReader()
        try:
            while data := self._process.read():
                for kind, number, payload in reader.feed(data):
                    self._handle(kind, number, payload)
            error = self._ended()
        except SremoteError as caught:
            error = caught
        except Exception as caught:
            error = FormatError(f"{self._host.name}: the stream is damaged: {type(caught).__name__}: {caught}")
        self._fail(error)
        self._process.kill()

    def _handle(self, kind: int, number: int, payload: memoryview) -> None:
        if kind == frames.HELLO:
            self._greet(json.loads(bytes(payload)))
            return
        with self._lock:
            call = self._calls.get(number)
        if call is None:
            return
        if kind == frames.STDOUT or kind == frames.STDERR:
            call.print("stdout" if kind == frames.STDOUT else "stderr", payload)
        elif kind in (frames.RESPONSE, frames.DATA):
            if call.take(payload):
                call.ended.set()
        elif kind == frames.UNKNOWN:
            text = bytes(payload).decode("utf-8", "replace")
            call.error = OutcomeUnknown(f"{self._host.name}: job {call.job_id}: {text}", job_id=call.job_id)
            call.ended.set()
        elif kind == frames.REFUSED:
            call.error = self._host.error(bytes(payload))
            call.ended.set()

    def _greet(self, found: dict[str, object]) -> None:
        missing = found.pop("missing", False)
        self._host.greet(Probe.from_hello(found))
        if missing:
            log.info("%s: pushing the interpreter", self._host.name)
            with self._sending:
                self._process.write(frames.pack(frames.BUNDLE, 0, interpreter_bundle()))
        self._greeted.set()

    def _read_errors(self) -> None:
        with suppress(SremoteError):
            while data := self._process.read_stderr():
                log.debug("%s: %s", self._host.name, data.decode("utf-8", "replace").rstrip())
                self._errors[:] = (self._errors + data)[-4096:]

    def _ended(self) -> SremoteError:
        """Return why the stream ended: the interpreter could not start, or the line dropped."""
        try:
            status = self._process.wait(CLOSE_TIMEOUT)
        except SremoteError as error:
            return error
        if not self._greeted.is_set() and status > 0:
            return self._host.failure_to_start(Completed(status, b"", bytes(self._errors)))
        return ConnectionLost(f"{self._host.name}: the line dropped")

    def _fail(self, error: SremoteError) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
            calls, self._calls = list(self._calls.values()), {}
        self._greeted.set()
        for call in calls:
            call.error = self._failure
            call.ended.set()


def _pieces(buffers: Sequence[Buffer], first: int) -> Iterator[memoryview]:
    """Cut buffers into pieces that fit a frame, ``first`` bytes for the first; at least one piece."""
    room, empty = first, True
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        while view:
            yield view[:room]
            view, room, empty = view[room:], frames.CHUNK, False
    if empty:
        yield memoryview(b"")
