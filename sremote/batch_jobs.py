"""Durable jobs that a batch system runs: given to it once, found again after any doubt, judged with its help.

The batch system only starts ``interpreter.sh --job DIRECTORY`` on one of its nodes.
The job's own files say first how it fares; what the batch system says counts where
they are silent.  That the batch system is away is never a job's failure.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sremote.connectors.batch import BatchJob, BatchScript, BatchState, BatchSystem, Resources
from sremote.errors import LineError, NotInstalled, OutcomeUnknown
from sremote.host import Host
from sremote.index import JobRecord, now
from sremote.job_status import JobState

if TYPE_CHECKING:
    from sremote.host_jobs import HostJobs

PATIENCE = 30.0
"""Seconds for which a job may have ended for the batch system while its response is still on its way to be seen."""

_WORDS = {
    BatchState.CANCELLED: ("cancelled", ""),
    BatchState.WALLTIME: ("walltime", "it was stopped at the time limit of its batch job"),
    BatchState.OUT_OF_MEMORY: ("lost", "its batch job was ended for want of memory"),
    BatchState.NODE_FAILED: ("lost", "its node failed"),
}
"""The outcome of a job that left no response, and its text, by how its batch job ended."""


class BatchJobs:
    """The jobs of one host that one batch system runs; ``scheduler`` as the user gave it."""

    def __init__(self, host: Host, scheduler: str) -> None:
        self._host = host
        self.system = batch_system(host, scheduler)

    def start(self, record: JobRecord) -> str:
        """Give an accepted job to the batch system, unless it is there already; return the batch system's id.

        Raises OutcomeUnknown where it gives no answer; the next look at the job tries again.
        """
        script = self._script(record)
        try:
            return self.system.submit(script)
        except LineError as error:
            first = error
        try:
            found = self.system.find(script.name)
            return self.system.submit(script) if found is None else found.id
        except LineError:
            raise OutcomeUnknown(
                f"{self._host.where}: {self.system.name} gave no answer while job {record.id} was submitted: "
                f"{first.message}",
                f"It is looked for, and submitted if it is not there, by: sremote status {record.id}",
                job_id=record.id,
            ) from first

    def cancel(self, ids: Sequence[str]) -> None:
        """Cancel batch jobs."""
        self.system.cancel(ids)

    def refine(self, records: Sequence[JobRecord], seen: Mapping[str, dict[str, Any]], jobs: HostJobs) -> None:
        """Add to what has been ``seen`` of jobs what the batch system says of them."""
        try:
            for record in records:
                if record.batch_id is None and seen[record.id]["state"] == JobState.QUEUED:
                    found = self.system.find(_name(record))
                    seen[record.id]["batch_id"] = self.start(record) if found is None else found.id
            ids = {record.id: seen[record.id].get("batch_id", record.batch_id) for record in records}
            told = self.system.jobs([batch_id for batch_id in ids.values() if batch_id is not None])
        except (LineError, OutcomeUnknown) as error:
            for record in records:
                if seen[record.id]["source"] == "scheduler" or seen[record.id]["state"] == JobState.UNKNOWN:
                    seen[record.id]["reason"] = f"{self.system.name} gives no answer: {error.message}"
            return
        for record in records:
            job = told.get(ids[record.id] or "")
            if job is not None and job.name == self.system.own_name(_name(record)):  # ids are used again
                self._judge(record, job, seen[record.id], jobs)

    def _judge(self, record: JobRecord, job: BatchJob, seen: dict[str, Any], jobs: HostJobs) -> None:
        if not job.state.ended:
            if seen["source"] != "heartbeat" or seen["state"] == JobState.UNKNOWN:
                running = job.state == BatchState.RUNNING
                held = "held: " if job.state == BatchState.HELD else ""
                seen.update(state=JobState.RUNNING if running else JobState.QUEUED, reason=held + job.reason)
                seen["source"] = "scheduler"
            return
        if record.beat_at is None or record.source != "scheduler":
            seen.update(source="scheduler", beat_at=now(), reason=f"{self.system.name} says: {job.state.value}")
        elif now() - record.beat_at < PATIENCE:
            seen.update(source="scheduler", beat_at=record.beat_at)
        else:
            outcome, text = _WORDS.get(job.state, ("lost", f"its batch job has ended ({job.state.value}) without it"))
            jobs.ask("conclude", record.id, outcome, f"{text}: {job.reason}" if text and job.reason else text)
            seen.update(source="scheduler", beat_at=record.beat_at)

    def _script(self, record: JobRecord) -> BatchScript:
        probe = self._host.probe()
        directory = posixpath.join(probe.root, "jobs", record.attempt_id)
        interpreter = posixpath.join(probe.interpreter, "interpreter.sh")
        command = ["env", f"SREMOTE_PYTHON={probe.python}", "sh", interpreter, "--job", directory]
        return BatchScript(_name(record), command, Resources(**json.loads(record.resources)), directory)


def _name(record: JobRecord) -> str:
    return f"sremote-{record.attempt_id}"


def find_batch_system(host: Host, scheduler: str) -> BatchSystem | None:
    """Return a host's batch system: its connector's own, or the scheduler there; None where it has none."""
    from sremote.schedulers.detection import find_batch_system as find

    return find(host, scheduler)


def batch_system(host: Host, scheduler: str) -> BatchSystem:
    """Return a host's batch system.  Raises NotInstalled where it has none of that name."""
    system = find_batch_system(host, scheduler)
    if system is None:
        raise NotInstalled(f"{host.where}: it has no batch system", "Leave out scheduler=... to run on it directly.")
    return system
