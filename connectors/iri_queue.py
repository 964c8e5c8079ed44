"""The queue of a facility that speaks the IRI API: jobs as PSI/J describes them, submitted under a key of their own."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sremote.connectors.batch import BatchJob, BatchScript, BatchState, BatchSystem
from sremote.connectors.errors import HostError, UsageError
from sremote.connectors.facility import parsed
from sremote.connectors.shell import command_line

if TYPE_CHECKING:
    from sremote.connectors.iri import IriConnector

_STATES = {
    "new": BatchState.QUEUED,
    "queued": BatchState.QUEUED,
    "held": BatchState.HELD,
    "active": BatchState.RUNNING,
    "completed": BatchState.COMPLETED,
    "failed": BatchState.FAILED,
    "canceled": BatchState.CANCELLED,
}


class IriQueue(BatchSystem):
    """The scheduler behind an IRI facility."""

    name = "iri"

    def __init__(self, connector: IriConnector) -> None:
        self._connector = connector

    def submit(self, script: BatchScript) -> str:
        # The key makes the request one that may be sent twice: a second one gets the first one's answer.
        key = {"Idempotency-Key": script.name}
        what = "submit a job"
        spec = job_spec(script)
        http, address = self._connector.http, f"/compute/job/{quote(self._connector.compute)}"
        answer = http.request("POST", address, what=what, json=spec, headers=key, idempotent=True, expect=(501,))
        if answer.status_code == 501:  # the facility keeps no keys
            answer = http.request("POST", address, what=what, json=spec)
        number = parsed(answer).get("id")
        if not number:
            raise HostError(f"{self._connector.name}: cannot submit a job: the answer has no job id")
        return str(number)

    def jobs(self, ids: Sequence[str]) -> Mapping[str, BatchJob]:
        # One by one: listing all jobs times out at some facilities.
        found = {}
        for number in ids:
            address = f"/compute/status/{quote(self._connector.compute)}/{quote(number)}"
            answer = self._connector.http.request(
                "GET", address, what=f"see how job {number} is", query={"historical": True}, expect=(404,)
            )
            if answer.status_code != 404 and parsed(answer).get("id"):
                found[number] = _job(parsed(answer))
        return found

    def find(self, name: str) -> BatchJob | None:
        address = f"/compute/status/{quote(self._connector.compute)}"
        query = {"offset": 0, "limit": 100, "include_spec": True, "historical": True}
        listed = self._connector.http.json(
            "POST", address, what="list your jobs", query=query, json={"name": name}, idempotent=True
        )
        found = [job for job in map(_job, listed if isinstance(listed, list) else []) if job.name == name]
        return found[-1] if found else None

    def cancel(self, ids: Sequence[str]) -> None:
        for number in ids:
            address = f"/compute/cancel/{quote(self._connector.compute)}/{quote(number)}"
            # 400: it has ended.
            self._connector.http.request("DELETE", address, what=f"cancel job {number}", expect=(400, 404))


def job_spec(script: BatchScript) -> dict[str, Any]:
    """Return a job as PSI/J describes it."""
    wanted = script.resources
    output = posixpath.join(script.folder, "batch")
    lines = [*([wanted.preamble] if wanted.preamble else []), command_line(script.command)]
    resources = {
        "node_count": wanted.nodes,
        "process_count": wanted.tasks,
        "cpu_cores_per_process": wanted.cores,
        "gpu_cores_per_process": wanted.gpus,
        "memory": wanted.memory,
    }
    attributes = {
        "duration": None if wanted.walltime is None else max(1, round(wanted.walltime)),
        "queue_name": wanted.queue,
        "account": wanted.account,
    }
    custom = dict(line.split("=", 1) for line in wanted.extra if "=" in line)
    if wanted.array is not None:
        raise UsageError("the IRI API has no job arrays", "Submit the jobs one by one.")
    return {
        "executable": "/bin/sh",
        "arguments": ["-c", "\n".join(lines)],
        "directory": script.folder,
        "name": script.name,
        "stdout_path": output,
        "stderr_path": output,
        "resources": {key: value for key, value in resources.items() if value is not None},
        "attributes": {
            **{key: value for key, value in attributes.items() if value is not None},
            **({"custom_attributes": custom} if custom else {}),
        },
    }


def _job(entry: Mapping[str, Any]) -> BatchJob:
    status = entry.get("status") or {}
    code = status.get("exit_code")
    return BatchJob(
        str(entry.get("id") or ""),
        str((entry.get("job_spec") or {}).get("name") or ""),
        _STATES.get(str(status.get("state")).lower(), BatchState.RUNNING),
        str(status.get("message") or ""),
        code if isinstance(code, int) else None,
    )
