"""The queue of a machine behind a NEWT gateway: its batch system, asked by HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from sremote.connectors.batch import BatchJob, BatchScript, BatchState, BatchSystem
from sremote.connectors.errors import FileMissing, HostError
from sremote.connectors.newt_dialect import Ask, Dialect
from sremote.connectors.shell_script import script_text
from sremote.connectors.slurm_states import slurm_directives, state_of

_SHORT = {
    "Q": BatchState.QUEUED,
    "PD": BatchState.QUEUED,
    "H": BatchState.HELD,
    "R": BatchState.RUNNING,
    "E": BatchState.RUNNING,
    "CG": BatchState.RUNNING,
    "C": BatchState.COMPLETED,
    "CD": BatchState.COMPLETED,
    "F": BatchState.FAILED,
    "CA": BatchState.CANCELLED,
    "TO": BatchState.WALLTIME,
}
"""What qstat and squeue say in one letter or two, which a gateway may hand on."""


class NewtQueue(BatchSystem):
    """The queue, with a script for Slurm, as NERSC's machines had it; others take its directives for comments."""

    name = "newt"

    def __init__(self, dialect: Dialect, ask: Ask) -> None:
        self._dialect = dialect
        self._ask = ask
        self._path = dialect.queue_path

    def submit(self, script: BatchScript) -> str:
        directives = [*slurm_directives(script.name, script.resources), f"#SBATCH --chdir={script.folder}"]
        # Sent once: a second request would submit a second job.
        answer = self._ask("POST", self._path, form={"jobscript": script_text(script, directives)})
        self._dialect.check(answer, "submit a job")
        found = self._dialect.payload(answer)
        number = str(found.get("jobid") or "") if isinstance(found, dict) else ""
        if not number:
            raise HostError(f"{self._dialect.where}: the gateway submitted a job and tells no number of it")
        return number

    def jobs(self, ids: Sequence[str]) -> Mapping[str, BatchJob]:
        if not ids:
            return {}
        found = {job.id: job for job in self.list() if job.id in ids}
        for number in ids:  # the list lacks those that have ended
            if number not in found and (job := self._one(number)) is not None:
                found[number] = job
        return found

    def find(self, name: str) -> BatchJob | None:
        wanted = self.own_name(name)
        found = [job for job in self.list() if job.name == wanted]
        return max(found, key=lambda job: int(job.id) if job.id.isdigit() else 0, default=None)

    def cancel(self, ids: Sequence[str]) -> None:
        for number in ids:
            answer = self._ask("DELETE", f"{self._path}/{quote(number, safe='')}", idempotent=True)
            if answer.status_code != 404:
                self._dialect.check(answer, f"cancel job {number}")
                self._dialect.payload(answer)

    def list(self) -> list[BatchJob]:
        """Return the jobs that the gateway shows."""
        answer = self._ask("GET", self._path, idempotent=True)
        self._dialect.check(answer, "see the queue")
        found = self._dialect.payload(answer)
        return [_job(entry) for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []

    def _one(self, number: str) -> BatchJob | None:
        answer = self._ask("GET", f"{self._path}/{quote(number, safe='')}", idempotent=True)
        try:
            self._dialect.check(answer, f"see job {number}")
        except FileMissing:
            return None
        found = self._dialect.payload(answer)
        return _job(found) if isinstance(found, dict) and found.get("jobid") else None


def _job(entry: Mapping[str, Any]) -> BatchJob:
    state = str(entry.get("state") or entry.get("status") or "")
    status = entry.get("exit_status")
    nodes = str(entry.get("hostname") or "")
    return BatchJob(
        str(entry.get("jobid") or ""),
        str(entry.get("name") or ""),
        _SHORT.get(state) or state_of(state),
        str(entry.get("reason") or ""),
        status if isinstance(status, int) else None,
        (nodes,) if nodes else (),
    )
