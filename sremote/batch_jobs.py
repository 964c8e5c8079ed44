"""Durable jobs that a batch system runs: given to it once, found again after any doubt, judged with its help.

The batch system only starts ``interpreter.sh --job DIRECTORY`` on one of its nodes.
The job's own files say first how it fares; what the batch system says counts where
they are silent.  That the batch system is away is never a job's failure.  Should a job
be in its queue twice all the same, the one that comes second finds it claimed and ends.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import posixpath
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sremote.connectors.batch import BatchJob, BatchScript, BatchState, BatchSystem, Resources
from sremote.errors import HostError, LineError, UsageError
from sremote.host import Host
from sremote.index import JobRecord, now
from sremote.interpreter.wire import Header
from sremote.job_status import JobState
from sremote.schedulers.adapter import INDEX

if TYPE_CHECKING:
    from sremote.host_jobs import HostJobs

log = logging.getLogger("sremote")

PATIENCE = 30.0
"""Seconds for which a job may have ended for the batch system while its response is still on its way to be seen."""
FIRST_WAIT = 1.0
"""Seconds between two questions about a job that has just been submitted."""
WALLTIME_MARGIN = 5.0
"""Seconds, or a twentieth if that is less, by which a job stops itself before the batch system's limit would."""

_OUT_OF_MEMORY = {"signal": 9, "out_of_memory": True}
_OUTCOMES: Mapping[BatchState, tuple[str, Mapping[str, Any]]] = {
    BatchState.CANCELLED: ("cancelled", {}),
    BatchState.WALLTIME: ("walltime", {}),
    BatchState.OUT_OF_MEMORY: ("killed", _OUT_OF_MEMORY),
}
"""The outcome of a job that left no response, by how its batch job ended; ``lost`` where that is not here."""


class BatchJobs:
    """The jobs of one host that its batch system runs."""

    def __init__(self, host: Host, system: BatchSystem) -> None:
        self._host = host
        self.system = system

    def complete(self, request: Header, resources: Resources) -> None:
        """Put into a request's header what a batch job has more: its limit, and what starts its ranks."""
        request["batch"] = True
        limit_walltime(request, resources)
        launcher = self.system.launcher(resources)
        if launcher:
            request["launch"] = {"launcher": list(launcher), "ranks": resources.tasks or 1}

    def start(self, record: JobRecord) -> dict[str, Any]:
        """Give an accepted job to the batch system, unless it is there already; return what the index notes.

        Where the batch system gives no answer, the next look at the job tries again.
        Raises HostError and UsageError where it refuses.
        """
        return self._submit(self._script(record, resources_of(record)), record.id)

    def start_array(self, first: JobRecord, resources: Resources, folder: str) -> dict[str, Any]:
        """Give accepted jobs to the batch system as one array, as ``start``; ``first`` is that with index 0."""
        script = self._script(first, resources)
        stem = first.id.rpartition("-")[0]
        directory = posixpath.join(posixpath.dirname(script.folder), stem)
        run = shlex.join(script.command[:-1])
        command = ["sh", "-c", f'exec {run} "$1-${INDEX}"', "sh", directory]
        return self._submit(dataclasses.replace(script, command=command, folder=folder), stem)

    def _submit(self, script: BatchScript, job_id: str) -> dict[str, Any]:
        try:
            try:
                return {"batch_id": self.system.submit(script)}
            except LineError as error:
                log.info("%s; looking whether job %s has arrived", error.message, job_id)
            found = self.system.find(script.name)
            return {"batch_id": self.system.submit(script) if found is None else found.id}
        except LineError as error:
            return {"source": "scheduler", "reason": f"not known to be in the queue yet: {error.message}"}

    def cancel(self, records: Sequence[JobRecord]) -> None:
        """Take jobs out of the queue, or stop them; they have been told to end already, as elements of arrays are."""
        ids = [record.batch_id for record in records if record.batch_id is not None and record.array is None]
        try:
            self.system.cancel(ids)
        except LineError as error:  # those that run stop by themselves, those that wait will find that they are ended
            log.warning("%s", error.message)

    def refine(self, records: Sequence[JobRecord], seen: Mapping[str, dict[str, Any]], jobs: HostJobs) -> None:
        """Add to what has been ``seen`` of jobs what the batch system says of them."""
        try:
            told = self.system.jobs(sorted({record.batch_id for record in records if record.batch_id is not None}))
            for record in records:
                job = told.get(record.batch_id or "")
                if job is not None and job.name != self.system.own_name(_name(record)):  # ids are used again
                    job = None
                job = _own_part(record, job) or self._adopt(record, seen[record.id], jobs)
                if job is not None:
                    self._judge(record, job, seen[record.id], jobs)
        except LineError as error:
            for record in records:
                if seen[record.id]["source"] == "scheduler" or seen[record.id]["state"] == JobState.UNKNOWN:
                    seen[record.id]["reason"] = error.message

    def _adopt(self, record: JobRecord, seen: dict[str, Any], jobs: HostJobs) -> BatchJob | None:
        """Look for a job that the batch system does not know by its id; submit it again where it is nowhere."""
        found = _own_part(record, self.system.find(_name(record)))
        if found is not None:
            seen["batch_id"] = found.id
            return found
        seen.update(jobs.look(record))  # it may have begun meanwhile, or even ended
        if seen["state"] == JobState.QUEUED:
            if record.batch_id is not None:
                log.warning("%s: job %s is submitted again: %s lost it", self._host.where, record.id, self.system.name)
            try:
                record = dataclasses.replace(record, array=None)
                seen.update(self.start(record), array=None)
            except (HostError, UsageError) as error:
                self._conclude(record, seen, jobs, "refused", error.message, {"reason": "host"})
        elif seen["state"] == JobState.UNKNOWN:
            text = f"{seen['reason']}, and {self.system.name} has no such job"
            self._conclude(record, seen, jobs, "lost", text, {})
        return None

    def _judge(self, record: JobRecord, job: BatchJob, seen: dict[str, Any], jobs: HostJobs) -> None:
        if not job.state.ended:
            if seen["source"] != "heartbeat" or seen["state"] == JobState.UNKNOWN:
                running = job.state == BatchState.RUNNING
                held = "held: " if job.state == BatchState.HELD else ""
                seen.update(state=JobState.RUNNING if running else JobState.QUEUED, reason=held + job.reason)
                seen["source"] = "scheduler"
            elif job.nodes:
                seen["reason"] = f"on {', '.join(job.nodes)}"
            return
        if record.beat_at is None or record.source != "scheduler":
            seen.update(source="scheduler", beat_at=now(), reason=f"{self.system.name} says: {job.state.value}")
        elif now() - record.beat_at < PATIENCE:
            seen.update(source="scheduler", beat_at=record.beat_at)
        elif (twin := _own_part(record, self.system.find(_name(record)))) is not None and not twin.state.ended:
            seen.update(batch_id=twin.id, source="scheduler", beat_at=None)
        else:
            outcome, details = _OUTCOMES.get(job.state, ("lost", {}))
            why = f"{job.state.value}, {job.reason}" if job.reason else job.state.value
            text = f"its batch job {job.id} has ended without a response ({why})"
            self._conclude(record, seen, jobs, outcome, text, details)

    @staticmethod
    def _conclude(
        record: JobRecord, seen: dict[str, Any], jobs: HostJobs, outcome: str, text: str, details: Mapping[str, Any]
    ) -> None:
        """Have the host write a response, as nobody else will; one that is there meanwhile counts instead."""
        jobs.ask("conclude", record.id, outcome, text, dict(details))
        seen.update(jobs.look(record))

    def _script(self, record: JobRecord, resources: Resources) -> BatchScript:
        probe = self._host.probe()
        directory = posixpath.join(probe.root, "jobs", record.attempt_id)
        interpreter = posixpath.join(probe.interpreter, "interpreter.sh")
        command = ["env", f"SREMOTE_PYTHON={probe.python}", "sh", interpreter, "--job", directory]
        lines = [line for line in (self._host.preamble, resources.preamble) if line]
        resources = dataclasses.replace(resources, preamble="\n".join(lines) or None)
        comment = "".join(letter for letter in record.target if letter.isprintable())
        return BatchScript(_name(record), command, resources, directory, comment)


def _own_part(record: JobRecord, job: BatchJob | None) -> BatchJob | None:
    """Return what a batch job tells of one job: of an array its element, None where that is not known any more."""
    if job is None or record.array is None or not job.elements:
        return job
    state = job.elements.get(int(record.id.rpartition("-")[2]))
    return None if state is None else dataclasses.replace(job, state=state)


def longest_wait(records: Sequence[JobRecord]) -> float:
    """Return for how many seconds to await news from the host before the batch system is asked again.

    Young jobs are asked for often, old ones seldom; those that have ended for the
    batch system soon.
    """
    if any(record.source == "scheduler" and record.beat_at is not None for record in records):
        return FIRST_WAIT
    return max(FIRST_WAIT, (now() - max(record.submitted_at for record in records)) / 8)


def limit_walltime(request: Header, resources: Resources) -> None:
    """Have a job stop itself in good time before the batch system would, as it then still says so itself."""
    if resources.walltime is not None:
        limit = resources.walltime - min(WALLTIME_MARGIN, resources.walltime / 20)
        request["walltime"] = min(limit, request.get("walltime") or limit)


def resources_of(record: JobRecord) -> Resources:
    """Return what a job asks of its batch system."""
    return Resources(**json.loads(record.resources))


def _name(record: JobRecord) -> str:
    return f"sremote-{record.array or record.attempt_id}"
