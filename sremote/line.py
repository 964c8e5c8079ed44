"""The calls under way on one stream, each with its request, live output and response."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count

from sremote.connectors.base import OutputSink
from sremote.errors import ConnectionLost, FormatError, LineTimeout, OutcomeUnknown, SremoteError
from sremote.host import Host
from sremote.interpreter import frames
from sremote.interpreter.wire import Buffer, Message
from sremote.stream import INLINE, Stream, lost

SMALL = 1 << 14
"""Bytes of a request that are joined, to go in one frame."""
CANCEL_TIMEOUT = 10.0
"""Seconds for a stopped call to end."""

_SIZE = struct.Struct(">Q")


class Call:
    """A request on its way, and what has come back of its response.

    ``output`` gets what the job prints, in the thread that reads the line.  One that
    is ``durable`` has ended here once the host has accepted it.
    """

    def __init__(
        self, job_id: str, request: Sequence[Buffer], output: OutputSink | None, *, durable: bool = False
    ) -> None:
        self.job_id = job_id
        self.durable = durable
        small = sum(len(part) for part in request) <= SMALL
        self.request: Sequence[Buffer] = [b"".join(request)] if small else request
        self.output = output
        self.number = 0
        self.lines = 0
        """Over how many lines the request has been sent."""
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
        self.lines += 1
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

    def print_rest(self, response: Message) -> None:
        """Hand on the output that a line which dropped did not bring."""
        for stream, printed in self.printed.items():
            rest = response.get(stream)[printed:]
            if self.output is not None and rest and "omitted" not in response.header:
                self.output(stream, bytes(rest))  # type: ignore[arg-type]

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
        kind = frames.SUBMIT if self.durable else frames.CALL
        for part in frames.pieces(self.request, frames.CHUNK - len(head)):
            yield frames.HEAD.pack(kind, self.number, len(head) + len(part)) + head
            yield part
            kind, head = frames.DATA, b""


class Line:
    """A stream and the thread that reads it.  ``first`` is a call that rides along with its start."""

    def __init__(self, host: Host, first: Call | None) -> None:
        self._host = host
        self._numbers = count(1)
        self._calls: dict[int, Call] = {}
        self._lock = threading.Lock()
        self._failure: SremoteError | None = None
        riding = False
        rides = frames.pack(frames.PRELOAD, 0, json.dumps(list(host.preload)).encode()) if host.preload else b""
        if first is not None and sum(len(part) for part in first.request) <= INLINE * 2 // 3:
            self._register(first)
            rides += b"".join(first.frames())
            riding = True
        self._stream = Stream(host, rides)
        threading.Thread(target=self._read, name=f"sremote {host.name}", daemon=True).start()
        if first is not None and not riding:
            self.send(first)

    @property
    def dead(self) -> bool:
        """Whether nothing more will come over this line."""
        return self._failure is not None

    def hello(self) -> None:
        """Wait until ``Host`` has been told what the host is.  Raises where it cannot serve."""
        self._stream.wait_for_greeting()
        if self._failure is not None:
            raise self._failure

    def send(self, call: Call) -> None:
        """Send a call's request; frames of other calls go in between."""
        self._register(call)
        chunks = call.frames()
        for head in chunks:
            if self._failure is not None:
                raise self._failure
            self._stream.write(bytes(head), next(chunks))

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
            raise LineTimeout(f"{self._host.where}: no answer to job {call.job_id} after {timeout:.0f} s")
        if call.error is not None:
            raise call.error
        if not call.durable:
            self._forget(call)
        return memoryview(call.response)

    def close(self) -> None:
        """End the stream; the far side ends once its jobs have."""
        self._fail(ConnectionLost(f"{self._host.where}: the line was closed here"))
        self._stream.close()

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
        # What a dropped line still carries of the request may arrive after this.
        self._tell(frames.DONE, call, b"again" if call.lines > 1 else b"")

    def _tell(self, kind: int, call: Call, payload: bytes = b"") -> None:
        with suppress(ConnectionLost):
            if self._failure is None:
                self._stream.write(frames.pack(kind, call.number, payload))

    # The thread that reads

    def _read(self) -> None:
        error: SremoteError = lost(self._host)
        try:
            for kind, number, payload in self._stream.read():
                self._handle(kind, number, payload)
        except SremoteError as caught:
            error = caught
        except Exception as caught:
            error = FormatError(f"{self._host.where}: the stream is damaged: {type(caught).__name__}: {caught}")
        self._fail(error)
        self._stream.kill()

    def _handle(self, kind: int, number: int, payload: memoryview) -> None:
        with self._lock:
            call = self._calls.get(number)
        if call is None:
            return
        if kind == frames.STDOUT or kind == frames.STDERR:
            call.print("stdout" if kind == frames.STDOUT else "stderr", payload)
        elif kind in (frames.RESPONSE, frames.DATA):
            if call.take(payload):
                call.ended.set()
        elif kind == frames.ACCEPTED:
            with self._lock:
                self._calls.pop(number, None)
            call.ended.set()
        elif kind == frames.UNKNOWN:
            text = bytes(payload).decode("utf-8", "replace")
            call.error = OutcomeUnknown(f"{self._host.where}: job {call.job_id}: {text}", job_id=call.job_id)
            call.ended.set()
        elif kind == frames.REFUSED:
            call.error = self._host.error(bytes(payload))
            call.ended.set()

    def _fail(self, error: SremoteError) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
            calls, self._calls = list(self._calls.values()), {}
        self._stream.give_up_greeting()
        for call in calls:
            call.error = self._failure
            call.ended.set()
