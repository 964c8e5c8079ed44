"""Carries one request to a host and its response back, with the three verbs alone.

The job's id is made before anything is sent.  When the line drops, the same id is
asked for again: the far side runs a job once, however often it is told to.
"""

from __future__ import annotations

import functools
import io
import logging
import posixpath
import threading
from collections.abc import Mapping, Sequence

from sremote.connectors.base import Capability, OutputSink
from sremote.errors import (
    FileMissing,
    LineError,
    OutcomeUnknown,
    PermissionRefused,
    UsageError,
)
from sremote.host import Host
from sremote.interpreter.wire import Message, parse
from sremote.reconnect import again

log = logging.getLogger("sremote")

WALLTIME_MARGIN = 30.0
"""Seconds beyond a call's own time limit after which the line itself is taken for dead."""

MOST_NAMED = 500
"""Job directories that one command names."""


class FileExchange:
    """Request and response as files: put, execute, get."""

    def __init__(self, host: Host) -> None:
        if Capability.EXECUTE not in host.connector.capabilities:
            raise UsageError(f"{host.where}: its connector cannot execute commands")
        self._host = host
        self._fetched: list[str] = []
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Have the host's probe, and the interpreter there."""
        self._host.ensure_interpreter()

    def run(
        self, job_id: str, request: Message, walltime: float | None, output: OutputSink | None = None
    ) -> memoryview:
        """Have a request run once and return its response file; ``output`` gets what it printed, at the end.

        Raises OutcomeUnknown where the line fails for good
        once the request may have arrived.
        """
        self.prepare()
        directory = posixpath.join(self._host.probe().root, "jobs", job_id)
        content = b"".join(request.chunks())
        # Nothing runs before the second step, so this one may simply be done again.
        again(self._host.connector, lambda: self._host.connector.put(content, f"{directory}.new/request"))
        try:
            again(self._host.connector, lambda: self._execute(directory, walltime))
            response = again(self._host.connector, lambda: self._fetch(directory))
        except LineError as error:
            raise OutcomeUnknown(
                f"{self._host.where}: the line failed while job {job_id} may have been running: {error.message}",
                f"Its response, if any, is in {directory} there.",
                job_id=job_id,
            ) from error
        with self._lock:
            self._fetched.append(directory)
        if output is not None:
            message = parse(response)
            for name in ("stdout", "stderr"):
                output(name, bytes(message.get(name)))
        return response

    def submit(self, requests: Mapping[str, Message]) -> dict[str, int]:
        """Have the host accept jobs; return 1 for each, as a line that drops carries none of them later.

        Raises OutcomeUnknown where the line fails for good once they may have arrived.
        """
        connector, directories = self._host.connector, self._put(requests)
        try:
            for start in range(0, len(directories), MOST_NAMED):
                named = directories[start : start + MOST_NAMED]
                done = again(connector, functools.partial(self._host.run_interpreter, "--submit", *named))
                self._host.check(done, "cannot submit")
        except LineError as error:
            raise unknown_submission(self._host, list(requests), error) from error
        return dict.fromkeys(requests, 1)

    def _put(self, requests: Mapping[str, Message]) -> list[str]:
        """Put requests where they are accepted from; return the directories of their jobs."""
        self.prepare()
        connector, folder = self._host.connector, posixpath.join(self._host.probe().root, "jobs")
        directories = [f"{folder}/{job_id}" for job_id in requests]
        for directory, request in zip(directories, requests.values(), strict=True):
            content = b"".join(request.chunks())
            again(connector, functools.partial(connector.put, content, f"{directory}.new/request"))
        return directories

    def close(self) -> None:
        """Remove the jobs whose responses have been fetched, as far as the line still carries that."""
        fetched = self._take_fetched()
        if fetched:
            try:
                self._host.run_interpreter("--drop", *fetched)
            except LineError as error:
                log.info("%s: left %d finished jobs behind: %s", self._host.where, len(fetched), error.message)

    def _execute(self, directory: str, walltime: float | None) -> None:
        fetched = self._take_fetched()
        try:
            done = self._host.run_interpreter(
                "--job",
                directory,
                *fetched,
                timeout=None if walltime is None else walltime + WALLTIME_MARGIN,
            )
        except KeyboardInterrupt:
            self._host.run_interpreter("--cancel", directory)
            raise
        except LineError:
            with self._lock:
                self._fetched.extend(fetched)
            raise
        if done.status != 0:
            said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise OutcomeUnknown(
                f"{self._host.where}: job {posixpath.basename(directory)}: {said or f'exit status {done.status}'}",
                f"Look at the host: sremote doctor {self._host.name}",
                job_id=posixpath.basename(directory),
            )

    def _fetch(self, directory: str) -> memoryview:
        target = io.BytesIO()
        try:
            self._host.connector.get(f"{directory}/response", target)
        except (FileMissing, PermissionRefused) as error:
            job_id = posixpath.basename(directory)
            raise OutcomeUnknown(
                f"{self._host.where}: the response of job {job_id} cannot be fetched: {error.message}", job_id=job_id
            ) from error
        return target.getbuffer()

    def _take_fetched(self) -> list[str]:
        with self._lock:
            fetched, self._fetched = self._fetched, []
        return fetched


def unknown_submission(host: Host, job_ids: Sequence[str], error: LineError) -> OutcomeUnknown:
    """Return the error for jobs that a line which failed may have brought or not."""
    these = f"job {job_ids[0]}" + (f" and {len(job_ids) - 1} more" if len(job_ids) > 1 else "")
    return OutcomeUnknown(
        f"{host.where}: the line failed while {these} was being submitted: {error.message}",
        f"Whether it arrived says: sremote status {job_ids[0]}",
        job_id=job_ids[0],
    )
