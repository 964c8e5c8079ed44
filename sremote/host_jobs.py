"""The durable jobs of one host: what the client asks about them, and what it makes of the answers."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import posixpath
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from sremote import trees
from sremote.answers import Leftover
from sremote.batch_jobs import BatchJobs, limit_walltime, longest_wait
from sremote.connectors.through_batch import ThroughBatch
from sremote.errors import (
    FormatError,
    HostError,
    LineError,
    OutcomeUnknown,
    SchedulerAway,
    SremoteError,
    UsageError,
)
from sremote.exchange import FileExchange
from sremote.host import Host
from sremote.hosts import HostSettings
from sremote.index import Index, JobRecord, index, now, settings_text
from sremote.interpreter.wire import Message
from sremote.job_status import JobState, JobStatus, Progress
from sremote.stream_exchange import StreamExchange
from sremote.submission import Wishes
from sremote.waiters import Waiters

log = logging.getLogger("sremote")

LONGEST_LABEL = 200
"""Characters of what a job runs that the index keeps, for people."""
LONGEST_REASON = 1000
MOST_OTHERS = 200
"""Jobs that one request is about beside those that it is for."""
SMALL = 1 << 20
"""Bytes of responses that come with one answer; a larger one is fetched as a file."""
STOP_PATIENCE = 3.0
"""Seconds for which the end of a job is awaited that a batch system was told to cancel."""
ARRIVAL = 60.0
"""Seconds for which a request that was sent, and of which nobody knows whether it was accepted, may still arrive."""
BEAT_PATIENCE = 60.0
"""Seconds without a new heartbeat after which nobody knows whether a job lives; six heartbeats."""


class HostJobs:
    """Made by ``Client``, which lends ``exchange`` and ``call``; safe to use from several threads.

    ``call`` calls a function of the interpreter's own: module, function, arguments.
    """

    def __init__(
        self, host: Host, settings: HostSettings, exchange: FileExchange | StreamExchange, call: Callable[..., Any]
    ) -> None:
        self.host = host
        self.settings = settings_text(settings)
        self._exchange = exchange
        self._call = call
        self._batches: dict[str, BatchJobs | None] = {}
        self._lock = threading.Lock()
        self._own: set[str] = set()
        """The jobs that were submitted through this."""
        self.waiters = Waiters(self.refresh)
        """Who waits for jobs of this host."""

    @property
    def index(self) -> Index:
        """This user's index."""
        return index()

    @property
    def root(self) -> str:
        """sremote's folder there, absolute."""
        self._exchange.prepare()
        return self.host.probe().root

    def submit_one(self, job_id: str, request: Message, wishes: Wishes) -> JobRecord:
        """Submit a job whose request is whole but for what is durable about it; return its record."""
        resources = wishes.read_resources()
        record = JobRecord(
            job_id,
            self.host.name,
            self.settings,
            wishes.label[:LONGEST_LABEL],
            now(),
            kind="command" if request.header["target"]["kind"] == "command" else "call",
            outputs=json.dumps(list(wishes.outputs)),
        )
        # Where commands themselves are batch jobs, nothing that one of them starts outlives it.
        scheduler = wishes.scheduler or ("auto" if isinstance(self.host.connector, ThroughBatch) else None)
        batch = None if scheduler is None else self.batch(scheduler)
        if batch is not None:
            resources = dataclasses.replace(resources, after=self._dependencies(resources.after, batch.system.name))
            batch.complete(request.header, resources)
            asked = json.dumps(dataclasses.asdict(resources))
            record = dataclasses.replace(record, scheduler=batch.system.name, resources=asked)
        else:
            limit_walltime(request.header, resources)
        if wishes.needs_folder:
            record = dataclasses.replace(record, folder=f"work/{job_id}")
            self._send_files(posixpath.join(self.root, f"work/{job_id}"), wishes, request)
        request.header.update(durable=True, retries=wishes.retries)
        self.submit({job_id: request}, [record])
        return self.index.get(job_id) or record

    def submit_array(
        self, array: str, requests: Sequence[Message], wishes: Wishes, workers: int | None
    ) -> list[JobRecord]:
        """Submit jobs as one array of a batch system, ``workers`` of which run at once; return their records.

        Their ids are that of the array, a hyphen and the index.
        """
        batch = self.batch(wishes.scheduler or "")
        assert batch is not None  # its caller has seen to that
        resources = wishes.read_resources()
        resources = dataclasses.replace(resources, after=self._dependencies(resources.after, batch.system.name))
        records = []
        for position, request in enumerate(requests):
            request.header.update(id=f"{array}-{position}", durable=True, retries=wishes.retries)
            batch.complete(request.header, resources)
            job_id, label = request.header["id"], wishes.label[:LONGEST_LABEL]
            asked = json.dumps(dataclasses.asdict(resources))
            records.append(
                JobRecord(
                    *(job_id, self.host.name, self.settings, label, now()),
                    scheduler=batch.system.name,
                    resources=asked,
                    array=array,
                )
            )
        self._accept({record.id: request for record, request in zip(records, requests, strict=True)}, records)
        folder = posixpath.join(self.root, "work", array)
        self._call("jobs", "make_folder", folder)
        whole = dataclasses.replace(resources, array=len(records), at_once=workers)
        try:
            changes = batch.start_array(records[0], whole, folder)
        except (HostError, UsageError):
            self.forget([array, *(record.id for record in records)])
            raise
        self.index.update((record.id, changes) for record in records)
        return records

    def forget(self, ids: Sequence[str]) -> None:
        """Leave nothing of jobs, here and on the host."""
        self.ask("remove", ids)
        self.index.remove(ids)

    def _send_files(self, folder: str, wishes: Wishes, request: Message) -> None:
        if (
            request.header["surroundings"]["cwd"] is not None
            and request.header["surroundings"]["cwd"] != self.host.working
        ):
            raise UsageError(
                "files and outputs need a folder of their own, so cwd cannot be another",
                "Leave out cwd, or copy files with push and pull.",
            )
        self._call("jobs", "make_folder", folder)
        for name, path in wishes.named_files().items():
            trees.push(self.host, path, posixpath.join(folder, name))
        request.header["surroundings"]["cwd"] = folder

    def batch(self, scheduler: str) -> BatchJobs | None:
        """Return the batch system of that name, or ``auto``, with this host's jobs; None where it has none.

        Raises as ``find_batch_system``.
        """
        from sremote.schedulers.detection import find_batch_system

        self._exchange.prepare()
        with self._lock:
            if scheduler not in self._batches:
                system = find_batch_system(self.host, scheduler)
                self._batches[scheduler] = None if system is None else BatchJobs(self.host, system)
            return self._batches[scheduler]

    def _batch_of(self, record: JobRecord) -> BatchJobs:
        """Return the batch system that runs a job."""
        found = self.batch(record.scheduler or "")
        assert found is not None  # only "auto" may find none, and a record has the name that was found for it
        return found

    def _dependencies(self, after: Sequence[str], scheduler: str) -> list[str]:
        """Return the batch system's ids of the jobs that must have succeeded first; ids that are not ours stay."""
        records = [record for record in map(self.index.get, after) if record is not None]
        known = {record.id for record in records}
        found = [job_id for job_id in after if job_id not in known]
        for record in records:
            where = f"{self.host.where}: job {record.id}"
            if record.settings != self.settings or record.scheduler != scheduler:
                raise UsageError(f"{where} is not with {scheduler} here, so none can wait for it", "Wait for it here.")
            status = self.refresh([record])[record.id]
            batch_id = (self.index.get(record.id) or record).batch_id
            if status.state.ended and status.state != JobState.SUCCEEDED:
                raise UsageError(
                    f"{where} is {status.state}, so what comes after it would never run", "Retry it first."
                )
            if not status.state.ended:
                if batch_id is None:
                    raise SchedulerAway(f"{where} is not known to be in the queue yet", "Try again in a while.")
                found.append(batch_id)
        return found

    def adopt(self, job_id: str) -> JobRecord:
        """Return the record of a job of this host; one that this index does not know is noted in it."""
        record = self.index.get(job_id)
        if record is None:
            # Not to be dropped, as whoever has submitted it may not have fetched it yet.
            record = JobRecord(job_id, self.host.name, self.settings, "", now(), accepted=2, dropped=1)
            self.index.add([record])
        return record

    def submit(self, requests: Mapping[str, Message], records: Sequence[JobRecord]) -> None:
        """Note jobs, have the host accept them, and give those to a batch system that are for one."""
        self._accept(requests, records)
        for record in records:
            if record.scheduler is not None:
                self._start(record)

    def _accept(self, requests: Mapping[str, Message], records: Sequence[JobRecord]) -> None:
        self.index.add(records)
        self._own.update(requests)
        try:
            lines = self._exchange.submit(requests)
        except OutcomeUnknown:
            raise
        except SremoteError as error:
            if len(requests) == 1 or isinstance(error, LineError):  # not one of them was taken
                self.index.remove(list(requests))
            raise
        self.index.update(
            (job_id, {"accepted": count, "state": JobState.QUEUED, "observed_at": now()})
            for job_id, count in lines.items()
        )

    def _start(self, record: JobRecord) -> None:
        """Give an accepted job to its batch system; leave nothing of one that is refused."""
        try:
            self.index.update([(record.id, self._batch_of(record).start(record))])
        except (HostError, UsageError):
            if record.attempt == 1:
                self.forget([record.id])
            raise

    def refresh(
        self, records: Sequence[JobRecord], wait: float = 0.0, *, closely: bool = False
    ) -> dict[str, JobStatus]:
        """Return how jobs are now, by id, all with one request; those that have ended are not asked for.

        With ``wait``, as soon as one of them has ended, or after so many seconds;
        ``closely``, also as soon as one's state or progress is not what the records say.
        """
        by_id = {record.id: record for record in records}
        open_records = [record for record in records if not record.status.state.ended]
        if not open_records:
            return {job_id: record.status for job_id, record in by_id.items()}
        drops = self.index.to_drop(self.settings)
        in_batch = [record for record in open_records if record.scheduler is not None]
        if in_batch:
            wait = min(wait, longest_wait(in_batch))
        heeded = [record.id for record in open_records]
        known = {record.id: [record.state.lower(), json.loads(record.progress)] for record in open_records}
        dropped = [(record.id, record.accepted > 1) for record in drops]
        open_records += self._others(by_id, ended=False)  # which costs next to nothing, and often saves asking
        ids = [record.id for record in open_records]
        answers = self.ask("attend", ids, wait, dropped, known if closely else None, heeded)
        self.index.update((record.id, {"dropped": 1}) for record in drops)
        changes = [(record.id, self._judge(record, answers)) for record in open_records]
        self._ask_batch_systems(open_records, changes)
        self.index.observe(changes)
        return {job_id: (self.index.get(job_id) or record).status for job_id, record in by_id.items()}

    def _others(self, but: Container[str], *, ended: bool) -> list[JobRecord]:
        """Return some more of the jobs that this process has submitted directly to the host and not fetched."""
        own = self._own
        found = [record for record in self.index.unfetched(self.settings, ended=ended) if record.id in own]
        return [record for record in found if record.id not in but and record.scheduler is None][:MOST_OTHERS]

    def cancel(self, records: Sequence[JobRecord]) -> None:
        """Stop jobs, wherever they are."""
        answers = self.ask("cancel", [record.id for record in records])
        in_batch = [record for record in records if record.batch_id is not None]
        for scheduler in {record.scheduler for record in in_batch}:
            those = [record for record in in_batch if record.scheduler == scheduler]
            self._batch_of(those[0]).cancel(those)
        if in_batch:  # most have ended a moment after that
            answers.update(self.ask("attend", [record.id for record in in_batch], STOP_PATIENCE))
        self.index.observe((record.id, self._judge(record, answers)) for record in records)

    def cancel_array(self, records: Sequence[JobRecord]) -> None:
        """Stop all elements of an array that have not ended."""
        self.ask("cancel", [record.id for record in records])
        self._batch_of(records[0]).cancel([dataclasses.replace(records[0], array=None)])

    def fetch(self, record: JobRecord) -> bytes:
        """Fetch the response of a job that has ended, and keep it here; the host need not do so any more then."""
        path = self.index.response_path(record.attempt_id)
        if not path.exists():
            others = {other.id: other for other in self._others((record.id,), ended=True)}
            found = self.ask("responses", [record.id, *others], SMALL)
            content: bytes | memoryview | str = found.pop(record.id)
            if isinstance(content, str):
                target = io.BytesIO()
                self.host.connector.get(content, target)
                content = target.getbuffer()
            self.index.keep_response(record.attempt_id, content)
            for job_id, small in found.items():  # will be asked for next, most likely
                self.index.keep_response(others[job_id].attempt_id, small)
        self.index.update([(record.id, {"fetched": 1})])
        return path.read_bytes()

    def retry(self, record: JobRecord) -> None:
        """Have a job tried once more.  Raises FileNotFoundError where the host has not kept its request."""
        attempt = record.attempt + 1
        self.ask("retry", record.id, attempt)
        fields = {"attempt": attempt, "state": JobState.QUEUED, "reason": "", "fetched": 0, "observed_at": now()}
        self.index.update([(record.id, {**fields, "beat": None, "beat_at": None, "batch_id": None, "array": None})])
        if record.scheduler is not None:
            self._start(self.index.get(record.id) or record)

    def remove(self, records: Sequence[JobRecord]) -> None:
        """Remove jobs from the host."""
        self.ask("remove", [record.id for record in records])

    def unless_unfetched(self, leftover: Leftover) -> Leftover:
        """Return a leftover, told apart where it is a finished job whose result has not been fetched to here."""
        if (leftover.kind, leftover.state) != ("durable", "finished"):
            return leftover
        name = leftover.path.removeprefix("jobs/").removesuffix(".done")
        record = self.index.get(name) or self.index.get(name.rpartition(".")[0])
        return leftover if record is not None and record.fetched else dataclasses.replace(leftover, state="unfetched")

    def flush(self) -> None:
        """Tell the host which jobs it need not keep any more, as far as the line still carries that."""
        try:
            drops = self.index.to_drop(self.settings)
            if drops:
                self.ask("attend", [], 0.0, [(record.id, record.accepted > 1) for record in drops])
            self.index.update((record.id, {"dropped": 1}) for record in drops)
        except (LineError, UsageError) as error:  # the next client does that, or `sremote clean`
            log.info("%s: left finished jobs behind: %s", self.host.where, error.message)

    def ask(self, function: str, *args: Any) -> Any:
        """Call a function of the far side's ``jobs``."""
        return self._call("jobs", function, self.root, *args)

    def look(self, record: JobRecord) -> dict[str, Any]:
        """Return what the index would note of a job, as its host alone sees it now."""
        return self._judge(record, self.ask("attend", [record.id]))

    def _judge(self, record: JobRecord, answers: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the index notes, given the answers of the host.  Raises FormatError where they are none."""
        try:
            entry = answers[record.id]
            pulse = entry.get("pulse") or {}
            usage = entry.get("usage") or pulse
            progress = Progress.read(entry.get("progress"))
            state = JobState(entry["state"].upper()) if entry["state"] != "gone" else JobState.LOST
            seen: dict[str, Any] = {
                "state": state,
                "reason": str(entry["reason"])[:LONGEST_REASON],
                "source": str(entry["source"])[:LONGEST_LABEL],
                "attempt": int(entry["attempt"]),
                "observed_at": now(),
                "usage": json.dumps({key: float(usage[key]) for key in ("cpu_seconds", "max_memory") if key in usage}),
                "progress": json.dumps(None if progress is None else dataclasses.asdict(progress)),
                "seconds": float(entry.get("seconds", 0.0)),
            }
            if entry["state"] == "gone":
                seen.update(self._missing(record))
            if state == JobState.UNKNOWN and isinstance(pulse.get("count"), int):
                seen.update(self._by_heartbeat(record, pulse["count"], seen["reason"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"{self.host.where}: the answer about job {record.id} is damaged: {type(error).__name__}: {error}"
            ) from None
        return seen

    @staticmethod
    def _missing(record: JobRecord) -> dict[str, Any]:
        arrived = "it was removed there" if record.accepted else "it never arrived, or was removed there"
        late = not record.accepted and now() - record.submitted_at < ARRIVAL
        state = JobState.UNKNOWN if late else JobState.LOST
        return {
            "state": state,
            "reason": f"{record.host} has no such job: {arrived}",
            "attempt": record.attempt,
        }

    @staticmethod
    def _by_heartbeat(record: JobRecord, count: int, reason: str) -> dict[str, Any]:
        """Judge a job by whether its heartbeat goes on, on this machine's clock alone."""
        if count != record.beat:
            return {"state": JobState.RUNNING, "reason": reason, "beat": count, "beat_at": now()}
        silent = now() - (record.beat_at or 0.0)
        if silent < BEAT_PATIENCE:
            return {"state": JobState.RUNNING, "reason": reason}
        return {"state": JobState.UNKNOWN, "reason": f"{reason}; no heartbeat for {silent:.0f} s"}

    def _ask_batch_systems(self, records: Sequence[JobRecord], changes: list[tuple[str, dict[str, Any]]]) -> None:
        """Ask about the jobs that are with a batch system and of which their files do not tell enough."""
        seen = dict(changes)
        for scheduler in {record.scheduler for record in records if record.scheduler is not None}:
            asked = [record for record in records if record.scheduler == scheduler]
            asked = [record for record in asked if not JobState(seen[record.id]["state"]).ended]
            if asked:
                self._batch_of(asked[0]).refine(asked, seen, self)
