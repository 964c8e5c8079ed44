"""The handle of a durable job: ask how it is, wait for it, read what it prints, get its result, stop it."""

from __future__ import annotations

import dataclasses
import json
import posixpath
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from sremote import trees
from sremote.allowed import allowed_types
from sremote.answers import CommandResult
from sremote.connectors.base import OutputSink
from sremote.errors import (
    FileMissing,
    FormatError,
    JobLost,
    LineError,
    NotFinished,
    OutcomeUnknown,
    SremoteError,
    UsageError,
)
from sremote.index import JobRecord, index
from sremote.job_status import JobState, JobStatus, Progress
from sremote.response import Response
from sremote.waiters import OUT_OF_TOUCH, passes

if TYPE_CHECKING:
    from sremote.client import Client
    from sremote.host_jobs import HostJobs

LONGEST_ASK = 15.0
"""Seconds for which one request may wait on the host for news."""


class Job:
    """A job that goes on whatever becomes of this process; made by ``Client.submit`` and ``sremote.job``."""

    def __init__(self, record: JobRecord, client: Client | None = None) -> None:
        self.id = record.id
        self.host = record.host
        self.target = record.target
        """What it runs, for people."""
        self._client = client
        self._record = record

    def __repr__(self) -> str:
        return f"<Job {self.id} on {self.host}: {self.target}>"

    @property
    def record(self) -> JobRecord:
        """What the index has of it."""
        return index().get(self.id) or self._record

    @property
    def last_status(self) -> JobStatus:
        """How it was when that was last seen; the host is not asked."""
        return self.record.status

    def status(self) -> JobStatus:
        """Ask the host how it is.  UNKNOWN, with the reason, where that gives no answer."""
        record = self.record
        if record.status.state.ended:
            return record.status
        try:
            return self._jobs.refresh([record])[self.id]
        except LineError as error:
            return self._out_of_touch(error)

    def _out_of_touch(self, error: SremoteError) -> JobStatus:
        last = self.record.status
        if last.state.ended:
            return last
        reason = f"{error.message}; it was {last.state} when last seen, at {last.observed_at:%Y-%m-%d %H:%M:%S} UTC"
        return dataclasses.replace(last, state=JobState.UNKNOWN, reason=reason, source="client")

    def done(self) -> bool:
        """Say whether it has ended, as far as can be told."""
        return self.status().state.ended

    def wait(self, timeout: float | None = None, *, on_change: Callable[[JobStatus], None] | None = None) -> JobStatus:
        """Wait until it has ended, at most ``timeout`` seconds, and return how it is then.

        ``on_change`` is told how it is, each time that its state or its progress changes.
        Raises LineError where the host cannot be reached for ten minutes, and
        OutcomeUnknown where for so long nobody can tell how the job is.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        in_touch = time.monotonic()
        pause = 1.0
        while True:
            left = LONGEST_ASK if deadline is None else min(LONGEST_ASK, deadline - time.monotonic())
            try:
                record = self.record
                status = self._jobs.refresh([record], max(0.0, left), closely=on_change is not None)[self.id]
            except LineError as error:
                if not passes(error) or time.monotonic() - in_touch > OUT_OF_TOUCH:
                    raise
                status = self.record.status
                time.sleep(max(0.0, min(pause, left)))
                pause = min(pause * 2, 30.0)
            else:
                pause = 1.0
                if status.state == JobState.UNKNOWN:
                    if time.monotonic() - in_touch > OUT_OF_TOUCH:
                        raise OutcomeUnknown(f"{self._where}: {status.reason}", job_id=self.id)
                else:
                    in_touch = time.monotonic()
            if on_change is not None:
                on_change(status)
            if status.state.ended or (deadline is not None and time.monotonic() >= deadline):
                return status

    def response(self, timeout: float | None = None) -> Response:
        """Wait for the end and return what it left: outcome, output, what it took.

        It is fetched once and kept here, so that it can be read again without the host.
        Raises NotFinished after ``timeout`` seconds, JobLost where there is none, and as ``wait``.
        """
        status = self.wait(timeout)
        if not status.state.ended:
            raise NotFinished(
                f"{self._where}: it has not ended after {timeout:g} s; it is {status}",
                f"It goes on; wait for it with: sremote wait {self.id}",
            )
        record = self.record
        path = index().response_path(record.attempt_id)
        try:
            content = path.read_bytes() if record.fetched else self._jobs.fetch(record)
        except FileNotFoundError:
            raise JobLost(f"{self._where}: {status.reason or 'its response is gone'}") from None
        trust = record.host_settings.trust
        return Response.read(self.host, record.attempt_id, content, allowed_types, trust=trust)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return the function's value, or raise what became of it instead.

        Of a command it is a CommandResult; one that ends with another status than 0
        raises RemoteExit.  Raises as ``response`` too.
        """
        response = self.response(timeout)
        if self._record.kind == "command" and response.outcome == "exited" and response.exit_status() == 0:
            return CommandResult(0, response.output("stdout"), response.output("stderr"))
        return response.result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return what ``result`` would raise; None where it would return.

        Raises NotFinished after ``timeout`` seconds, and LineError where the host cannot be reached.
        """
        try:
            self.result(timeout)
        except (NotFinished, LineError, KeyboardInterrupt):
            raise
        except BaseException as error:
            return error
        return None

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines that it has printed on stdout and stderr; with ``follow``, those to come as well."""
        rest = {"stdout": "", "stderr": ""}
        for stream, text in self._output(follow):
            *lines, rest[stream] = (rest[stream] + text).split("\n")
            yield from lines
        yield from (line for line in rest.values() if line)

    def follow(
        self,
        sink: OutputSink,
        *,
        until_end: bool = True,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Give what it has printed to ``sink`` as bytes, and what it prints until it ends.

        ``on_progress`` is told how far it has got, each time that this changes.
        """
        seen: Any = False if on_progress is None else None
        offsets = {"stdout": 0, "stderr": 0}
        attempt = self.record.attempt
        in_touch = time.monotonic()
        while True:
            wait = LONGEST_ASK if until_end else 0.0
            if self.record.fetched:
                response = self.response()
                for name in ("stdout", "stderr"):
                    sink(name, response.output(name)[offsets[name] :])
                return
            try:
                found = self._jobs.ask("output", self.id, attempt, list(offsets.values()), wait, seen)
            except LineError as error:
                if not passes(error) or time.monotonic() - in_touch > OUT_OF_TOUCH:
                    raise
                time.sleep(1.0)
                continue
            in_touch = time.monotonic()
            progress = Progress.read(found["progress"])
            if on_progress is not None and progress is not None and found["progress"] != seen:
                on_progress(progress)
            seen = False if on_progress is None else found["progress"]
            if found["attempt"] != attempt:
                attempt, offsets = found["attempt"], {"stdout": 0, "stderr": 0}
            for name in offsets:
                if found[name]:
                    offsets[name] += len(found[name])
                    sink(name, found[name])  # type: ignore[arg-type]
            if found["ended"] or not (until_end or found["stdout"] or found["stderr"]):
                return

    def cancel(self) -> JobStatus:
        """Stop it with all its children, or take it out of the queue; return how it is then.

        Nothing where it has ended.  One that runs on another node of its host is
        stopped within the next seconds.
        """
        record = self.record
        if not record.status.state.ended:
            self._jobs.cancel([record])
        return self.record.status

    def retry(self) -> None:
        """Have a job that failed tried once more, as a new attempt; this handle is then that attempt's.

        Raises UsageError where it has not failed, or its request is gone.
        """
        status = self.status()
        if not status.state.ended or status.state == JobState.SUCCEEDED:
            raise UsageError(f"{self._where}: it is {status.state}, so there is nothing to try again")
        try:
            self._jobs.retry(self.record)
        except FileNotFoundError:
            raise UsageError(
                f"{self._where}: its host has not kept its request", "Submit it again, as a new job."
            ) from None

    def pull(self, outputs: Sequence[str] | None = None, into: str | Path = ".") -> list[Path]:
        """Copy files that it has made to the folder ``into``, which is made where it is missing; return the copies.

        ``outputs`` are paths and patterns in its working folder; by default what was
        said when it was submitted, else all of it.  Raises FileMissing for what is
        not there, UsageError for a job without a working folder of its own.
        """
        record = self.record
        if record.folder is None:
            raise UsageError(
                f"{self._where}: it has no working folder of its own",
                "Submit it with files=... or outputs=..., or copy with: sremote pull",
            )
        wanted = list(outputs) if outputs is not None else json.loads(record.outputs)
        folder = posixpath.join(self._jobs.root, record.folder)
        names: list[str] = self._jobs.ask("matches", record.folder, wanted)
        for name in names:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise FormatError(f"{self._where}: its host offers {name!r}, which would not stay in {into}")
        target = Path(into)
        target.mkdir(parents=True, exist_ok=True)
        copies = []
        for name in names:
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            trees.pull(self._jobs.host, posixpath.join(folder, name), copy)
            copies.append(copy)
        missing = [pattern for pattern in wanted if not any(_is_match(name, pattern) for name in names)]
        if missing:
            raise FileMissing(f"{self._where}: it has not made {', '.join(missing)}")
        return copies

    def remove(self) -> None:
        """Remove all that is left of it, here and on its host, once it has ended.  Raises UsageError before."""
        record = self.record
        if not self.status().state.ended:
            raise UsageError(f"{self._where}: it has not ended", f"Stop it first: sremote cancel {self.id}")
        if not record.dropped or record.folder is not None:
            self._jobs.remove([record])
        index().remove([self.id])

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the result without blocking the event loop."""
        return self._result_async().__await__()

    async def _result_async(self) -> Any:
        import asyncio

        loop = asyncio.get_running_loop()
        ended: asyncio.Future[JobStatus | SremoteError] = loop.create_future()

        def note(outcome: JobStatus | SremoteError) -> None:
            if not ended.done():  # as it is where nobody waits any more
                ended.set_result(outcome)

        jobs = await asyncio.to_thread(lambda: self._jobs)  # which may have to connect
        jobs.waiters.add(self.record, lambda outcome: loop.call_soon_threadsafe(note, outcome))
        outcome = await ended
        if isinstance(outcome, SremoteError):
            raise outcome
        return await asyncio.to_thread(self.result)

    @property
    def _jobs(self) -> HostJobs:
        if self._client is None:
            from sremote.reach import client_of

            self._client = client_of(self._record.settings)
        return self._client._host_jobs

    @property
    def _where(self) -> str:
        return f"{self.host.rstrip(':')}: job {self.id}"

    def _output(self, follow: bool) -> Iterator[tuple[str, str]]:
        """Yield pieces of output as text."""
        import codecs
        import queue
        import threading

        pieces: queue.Queue[tuple[str, bytes] | BaseException | None] = queue.Queue()

        def read() -> None:
            try:
                self.follow(lambda name, data: pieces.put((name, data)), until_end=follow)
            except BaseException as error:
                pieces.put(error)
            else:
                pieces.put(None)

        decoders = {name: codecs.getincrementaldecoder("utf-8")("backslashreplace") for name in ("stdout", "stderr")}
        threading.Thread(target=read, name=f"sremote logs {self.id}", daemon=True).start()
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece[0], decoders[piece[0]].decode(piece[1])


def _is_match(name: str, pattern: str) -> bool:
    import fnmatch

    return fnmatch.fnmatch(name, pattern) or name == pattern.rstrip("/")


def job(job_id: str) -> Job:
    """Return the handle of a job that this user has submitted, in this process or an earlier one.

    The beginning of its id will do.  Raises UsageError where there is no such job.
    """
    return Job(index().find(job_id))


def jobs(host: str | None = None) -> list[Job]:
    """Return the jobs that this user has submitted, to one host or to all, the oldest first."""
    return [Job(record) for record in index().jobs(host)]


def statuses(found: Sequence[Job]) -> dict[str, JobStatus]:
    """Return how jobs are, by id: each host is asked once, about all of its jobs, and all hosts at the same time.

    UNKNOWN, with the reason, for the jobs of a host that gives no answer.
    """
    from concurrent.futures import ThreadPoolExecutor

    groups: dict[str, list[Job]] = {}
    for each in found:
        groups.setdefault(each.record.settings, []).append(each)
    if not groups:
        return {}
    with ThreadPoolExecutor(min(len(groups), 16)) as pool:
        answers = list(pool.map(_statuses_of_one_host, groups.values()))
    return {job_id: status for answer in answers for job_id, status in answer.items()}


def _statuses_of_one_host(group: Sequence[Job]) -> dict[str, JobStatus]:
    if all(each.last_status.state.ended for each in group):
        return {each.id: each.last_status for each in group}
    try:
        return group[0]._jobs.refresh([each.record for each in group])
    except SremoteError as error:
        return {each.id: each._out_of_touch(error) for each in group}
