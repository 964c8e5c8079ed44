"""Carries requests to a host and responses back over one open stream, a round trip each.

The interpreter over there serves many calls at once.  Each is a job with a
directory all the same: when the line drops, the stream is opened again and the
same job is sent once more; the far side runs it once, however often it comes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from sremote.connectors.base import OutputSink
from sremote.errors import LineError, OutcomeUnknown
from sremote.exchange import WALLTIME_MARGIN, unknown_submission
from sremote.host import Host
from sremote.interpreter.wire import Message, parse
from sremote.line import Call, Line
from sremote.reconnect import again

ACCEPT_TIMEOUT = 120.0
"""Seconds for the host to answer that it has accepted a job."""


class StreamExchange:
    """Many calls at once over one stream, which is opened with the first and again after a drop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._line: Line | None = None
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Have the host's probe; a first call without this saves a round trip."""
        again(self._host.connector, lambda: self._open().hello())

    def run(
        self, job_id: str, request: Message, walltime: float | None, output: OutputSink | None = None
    ) -> memoryview:
        """Have a request run once and return its response file; ``output`` gets what it prints, as it does.

        Raises OutcomeUnknown where the line fails for good once the request may have arrived.
        """
        call = Call(job_id, request.chunks(), output)
        timeout = None if walltime is None else walltime + WALLTIME_MARGIN

        def attempt() -> memoryview:
            line = self._open(call)
            return line.response(call, timeout)

        try:
            response = again(self._host.connector, attempt)
        except LineError as error:
            if not call.sent:
                raise
            raise OutcomeUnknown(
                f"{self._host.where}: the line failed while job {job_id} may have been running: {error.message}",
                f"Its response, if any, is in jobs/{job_id} there.",
                job_id=job_id,
            ) from error
        call.print_rest(parse(response))
        return response

    def submit(self, requests: Mapping[str, Message]) -> dict[str, int]:
        """Have the host accept jobs, all on their way at once; return over how many lines each may have gone.

        Raises OutcomeUnknown where the line fails for good once one may have arrived.
        """
        calls = [Call(job_id, request.chunks(), None, durable=True) for job_id, request in requests.items()]
        open_calls = list(calls)

        def attempt() -> None:
            line = self._open(open_calls[0])
            for call in open_calls[1:]:
                line.send(call)
            while open_calls:
                line.response(open_calls[0], ACCEPT_TIMEOUT)
                del open_calls[0]

        try:
            again(self._host.connector, attempt)
        except LineError as error:
            if not any(call.sent for call in calls):
                raise
            raise unknown_submission(self._host, [call.job_id for call in open_calls], error) from error
        return {call.job_id: call.lines for call in calls}

    def close(self) -> None:
        """Let the far side remove the finished jobs and end."""
        with self._lock:
            line, self._line = self._line, None
        if line is not None:
            line.close()

    def _open(self, call: Call | None = None) -> Line:
        """Return the line, having sent it ``call``; opens one where there is none."""
        with self._lock:
            if self._line is None or self._line.dead:
                if self._line is not None:
                    self._line.close()
                self._line = Line(self._host, call)
                return self._line
            line = self._line
        if call is not None:
            line.send(call)
        return line
