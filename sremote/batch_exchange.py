"""Carries each call as a batch job, to hosts where nothing else can be run.

A call takes the request as a file, a submission, questions to the queue, and the
response as a file.  The interpreter goes there once, as a file that unpacks itself.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import posixpath
from collections.abc import Mapping

from sremote.connectors.base import OutputSink
from sremote.connectors.batch import BatchScript
from sremote.connectors.batch_work import cancel_quietly, fetch_when_there, submit_once
from sremote.connectors.through_batch import ThroughBatch
from sremote.errors import HostError, LineError, OutcomeUnknown, SremoteError
from sremote.exchange import FileExchange
from sremote.host import Host
from sremote.interpreter.wire import Message, parse
from sremote.reconnect import again
from sremote.unpacking import SelfUnpacking, absolute_root, why_without_result

log = logging.getLogger("sremote")

WALLTIME_MARGIN = 60.0
"""Seconds beyond a call's own time limit that its batch job gets, to start Python and write the response."""


class BatchExchange(FileExchange):
    """Request and response as files, and between them a batch job.  A call needs no look at the host beforehand."""

    def __init__(self, host: Host, connector: ThroughBatch) -> None:
        super().__init__(host)
        self._connector = connector
        self._program = SelfUnpacking(host)

    def submit(self, requests: Mapping[str, Message]) -> dict[str, int]:
        """Put jobs where the batch jobs that are to run them find them: in their folders, which have to be there."""
        self.prepare()
        for job_id, request in requests.items():
            content = b"".join(request.chunks())
            place = posixpath.join(absolute_root(self._host), "jobs", job_id, "request")
            again(self._connector, functools.partial(self._connector.put, content, place))
        return dict.fromkeys(requests, 1)

    def run(
        self, job_id: str, request: Message, walltime: float | None, output: OutputSink | None = None
    ) -> memoryview:
        """Have a request run once and return its response file; ``output`` gets what it printed, at the end.

        ``walltime`` is counted from when the job runs; the queue takes what it takes.
        Raises OutcomeUnknown where the gateway fails for good once the request may have been run.
        """
        connector, batch = self._connector, self._connector.batch
        directory = posixpath.join(absolute_root(self._host), "jobs", job_id)
        again(connector, lambda: self._program.ensure(connector))
        content = b"".join(request.chunks())
        # Nothing runs before it is submitted, so this may simply be done again.
        again(connector, lambda: connector.put(content, f"{directory}/request"))
        with self._lock:
            fetched = [connector.fetched.pop() for _ in range(len(connector.fetched))]
        resources = connector.resources
        if walltime is not None:
            resources = dataclasses.replace(resources, walltime=walltime + WALLTIME_MARGIN)
        command = self._program.command("--job", directory, *fetched)
        script = BatchScript(f"sremote-{job_id}", command, resources, directory)
        job = ""
        try:
            job = submit_once(batch, script, connector.patience)
            response = fetch_when_there(connector, batch, job, f"{directory}/response", connector.patience, None)
        except LineError as error:
            raise OutcomeUnknown(
                f"{self._host.where}: the gateway failed while job {job_id} may have been running: {error.message}",
                f"Its response, if any, is in {directory} there.",
                job_id=job_id,
            ) from error
        except HostError as error:
            raise self._without_response(error, job, job_id, directory) from error
        except KeyboardInterrupt:
            if job:
                cancel_quietly(batch, job)
            raise
        with self._lock:
            connector.fetched.append(directory)
        view = memoryview(response)
        if output is not None:
            message = parse(view)
            for name in ("stdout", "stderr"):
                output(name, bytes(message.get(name)))
        return view

    def close(self) -> None:
        """Leave the last job's folder to the next call: its removal is not worth a job in the queue."""

    def _without_response(self, error: HostError, job: str, job_id: str, directory: str) -> SremoteError:
        """Return what to say of a job that left no response; ``batch`` in its folder tells what went wrong."""
        if not job:
            return error
        said, reason = why_without_result(self._host, self._connector, self._connector.batch, job, directory)
        if reason is not None:
            return reason
        text = f"{error.message}: {said}" if said else error.message
        return OutcomeUnknown(text, error.remedy, job_id=job_id)
