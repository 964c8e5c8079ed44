"""``sfapi:``: NERSC's Superfacility API, version 1.2 (https://api.nersc.gov/api/v1.2).

Commands are tasks that are asked about until they are done; files go as forms and come
as base64 in JSON; the queue is Slurm's.  Endpoints and fields are those that NERSC's
own client uses (github.com/NERSC/sfapi_client).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from sremote.connectors.base import Capability, Completed, OutputSink
from sremote.connectors.batch import BatchJob, BatchScript, BatchSystem
from sremote.connectors.errors import ConnectionLost, FileMissing, HostError, UsageError
from sremote.connectors.facility import MEGABYTE, TASK_TIMEOUT, FacilityConnector, parsed
from sremote.connectors.newt_plain import PlainNewt
from sremote.connectors.sfapi_carrier import SfapiCarrier
from sremote.connectors.shell_script import script_text
from sremote.connectors.slurm_states import slurm_directives, state_of
from sremote.connectors.token_session import refusal
from sremote.connectors.tokens import ORIGINS, TokenOptions

if TYPE_CHECKING:
    import requests

TOKEN_URL = "https://oidc.nersc.gov/c2id/token"  # noqa: S105 - an address
KEYS = "~/.superfacility"
"""Where clients' keys are kept, as NERSC's own client has it."""


class SfapiConnector(FacilityConnector):
    """``sfapi:perlmutter``.  Without another sign-in, the one key in ``~/.superfacility`` is used."""

    scheme = "sfapi"
    capabilities = Capability.EXECUTE | Capability.EXIT_STATUS | Capability.BATCH
    default_url = "https://api.nersc.gov/api/v1.2"
    default_file_size = 8 * MEGABYTE

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._carrier = SfapiCarrier(self)
        self._verbs = PlainNewt(self.http.plain, self._carrier, self._carrier.ask)
        self._queue = _Queue(self)

    def token_options(self, given: TokenOptions) -> TokenOptions:
        options = TokenOptions(**given)
        if not any(key in options for key in ORIGINS):
            options["key_file"] = str(_only_key())
        if "key_file" in options:
            options.setdefault("token_url", TOKEN_URL)
        return options

    @staticmethod
    def read_error(answer: requests.Response) -> str | None:
        body = parsed(answer)
        detail = body.get("detail") or body.get("error") or body.get("message")
        if isinstance(detail, list):  # FastAPI's own
            detail = "; ".join(str(entry.get("msg", entry)) for entry in detail if isinstance(entry, dict))
        return None if not detail else str(detail)

    def connect(self) -> None:
        """See that the sign-in and the machine are good."""
        status = self.http.object("GET", f"/status/{quote(self.machine)}", what=f"see how {self.machine} is")
        if status.get("status") in ("unavailable", "down"):
            raise ConnectionLost(f"{self.name}: {status.get('description') or 'the machine is down'}", "Try later.")
        self._verbs.prepare()
        if self._home is None:
            self._home = self._verbs.home

    def close(self) -> None:
        self._verbs.close()
        super().close()

    def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | BinaryIO = b"",
        output: OutputSink | None = None,
        timeout: float | None = None,
    ) -> Completed:
        return self._verbs.execute(argv, stdin, output, timeout)

    def put(self, source: bytes | BinaryIO, path: str, *, mode: int = 0o600) -> None:
        self._verbs.put(source, path, mode)

    def get(self, path: str, target: BinaryIO) -> None:
        try:
            content = self._carrier.download(self.absolute(path))
        except (HostError, UsageError) as error:
            if isinstance(error, FileMissing) and "no such file" in error.message.lower():
                raise
            self._verbs.get(path, target)  # a name or a size that does not go this way, or a folder
        else:
            target.write(content)

    @property
    def batch(self) -> BatchSystem:
        return self._queue

    # Tasks

    def task(self, method: str, path: str, *, what: str, timeout: float, **options: Any) -> dict[str, Any]:
        """Start a task, wait for its end, and return its result."""
        started = self.http.object(method, path, what=what, **options)
        self.refuse(started, what)
        number = str(started.get("task_id") or "")
        if not number:
            raise HostError(f"{self.name}: cannot {what}: the gateway names no task")

        def look() -> dict[str, Any] | None:
            task = self.http.object("GET", f"/tasks/{quote(number)}", what=what)
            state = str(task.get("status")).lower()
            # A result may be there before the task is done: the status counts.
            if state in ("new", "running", "pending", "active"):
                return None
            result = _result(task)
            if state in ("failed", "error", "cancelled"):
                said = result.get("error") or result.get("output") or f"the task has {state}"
                raise refusal(f"{self.name}: cannot {what}", str(said), 500)
            return result

        return self.poll(look, what, timeout)

    def refuse(self, body: Mapping[str, Any], what: str) -> None:
        """Raise the error that an answer of status 200 tells of."""
        if str(body.get("status", "OK")).upper() == "ERROR":
            raise refusal(f"{self.name}: cannot {what}", str(body.get("error") or "no reason is given"), 500)


class _Queue(BatchSystem):
    """Slurm behind the Superfacility API."""

    name = "sfapi"

    def __init__(self, connector: SfapiConnector) -> None:
        self._connector = connector
        self._path = f"/compute/jobs/{quote(connector.machine)}"

    def submit(self, script: BatchScript) -> str:
        text = script_text(
            script, [*slurm_directives(script.name, script.resources), f"#SBATCH --chdir={script.folder}"]
        )
        form = {"isPath": "false", "job": text}
        result = self._connector.task("POST", self._path, what="submit a job", timeout=TASK_TIMEOUT, form=form)
        if str(result.get("status", "ok")).lower() == "error" or not result.get("jobid"):
            said = str(result.get("error") or "the answer has no job id")
            raise refusal(f"{self._connector.name}: cannot submit a job", said, 500)
        return str(result["jobid"])

    def jobs(self, ids: Sequence[str]) -> Mapping[str, BatchJob]:
        found = self._ask([f"jobid={','.join(ids)}"])
        return {job.id: job for job in found if job.id in ids}

    def find(self, name: str) -> BatchJob | None:
        found = [job for job in self._ask([f"name={name}"]) if job.name == name]
        return max(found, key=lambda job: int(job.id) if job.id.isdigit() else 0, default=None)

    def cancel(self, ids: Sequence[str]) -> None:
        for number in ids:
            what = f"cancel job {number}"
            self._connector.http.request("DELETE", f"{self._path}/{quote(number)}", what=what, expect=(404,))

    def _ask(self, filters: Sequence[str]) -> list[BatchJob]:
        # What the gateway has cached lacks jobs that have just been submitted.
        query = {"sacct": True, "cached": False, "kwargs": filters[0]}
        body = self._connector.http.object("GET", self._path, what="see how jobs are", query=query)
        if str(body.get("status", "OK")).upper() == "ERROR":
            said = str(body.get("error"))
            if "not found" in said.lower() or "invalid job id" in said.lower():
                return []
            raise refusal(f"{self._connector.name}: cannot see how jobs are", said, 500)
        return [_job(entry) for entry in body.get("output") or () if isinstance(entry, dict)]


def _job(entry: Mapping[str, Any]) -> BatchJob:
    status, _, number = str(entry.get("exitcode") or "").partition(":")
    nodes = str(entry.get("nodelist") or "")
    return BatchJob(
        str(entry.get("jobid") or ""),
        str(entry.get("jobname") or entry.get("name") or ""),
        state_of(entry.get("state") or ""),
        str(entry.get("reason") or "").replace("None", ""),
        (int(status) if status.isdigit() and number in ("", "0") else None),
        (nodes,) if nodes and nodes != "None assigned" else (),
    )


def _result(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's result, which is JSON within JSON."""
    result = task.get("result")
    if isinstance(result, str):
        try:
            result = json.loads(result)
        except ValueError:
            result = {"output": result}
    return result if isinstance(result, dict) else {}


def _only_key() -> Path:
    folder = Path(KEYS).expanduser()
    keys = sorted(path for path in folder.glob("*") if path.suffix in (".pem", ".json", ".jwk"))
    if len(keys) != 1:
        found = ", ".join(path.name for path in keys) or "none"
        raise UsageError(
            f"sfapi: key_file is not given, and in {KEYS} there are {len(keys)} keys ({found})",
            f"Give key_file={KEYS}/NAME.pem, made in Iris, or another sign-in such as token_command.",
        )
    return keys[0]
