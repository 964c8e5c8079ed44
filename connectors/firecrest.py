"""``firecrest:``: FirecREST version 2 (github.com/eth-cscs/firecrest-v2), which runs no commands.

Small files go at once, larger ones through a store that the gateway's own jobs empty
and fill.  A file that is replaced may be seen half written: the gateway has no rename.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from sremote.connectors.base import Capability, Completed, OutputSink
from sremote.connectors.batch import BatchJob, BatchScript, BatchSystem
from sremote.connectors.errors import ConnectionLost, FileMissing, HostError, LineTimeout, UsageError
from sremote.connectors.facility import FacilityConnector, parsed, sha256, sized
from sremote.connectors.firecrest_transfer import Staged
from sremote.connectors.remote_folders import RemoteFolders
from sremote.connectors.shell_script import script_text
from sremote.connectors.slurm_states import slurm_directives, state_of

if TYPE_CHECKING:
    import requests

_ROOM = 1 << 12
"""Bytes below the gateway's limit that a file stays: the gateway counts some of its own."""
_TRIES = 3


class FirecrestConnector(FacilityConnector):
    """``firecrest://api.example.org/path/SYSTEM``.

    ``home`` is by default the user's folder in the file system that the gateway calls
    the default one.
    """

    scheme = "firecrest"
    capabilities = Capability.BATCH

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        system = quote(self.machine)
        self.ops = f"/filesystem/{system}/ops"
        self.queue = _Queue(self)
        self._folders = RemoteFolders(self._make_folder)
        self._staged = Staged(self)

    @staticmethod
    def read_error(answer: requests.Response) -> str | None:
        body = parsed(answer)
        said = body.get("message") or body.get("detail")
        if isinstance(said, list):
            said = "; ".join(str(entry.get("msg", entry)) for entry in said if isinstance(entry, dict))
        return None if not said else str(said)

    def connect(self) -> None:
        """See that the sign-in and the system are good, and where home is."""
        if self._home is not None and self._checked:
            return
        body = self.http.object("GET", "/status/systems", what="list the systems")
        systems = {str(system.get("name")): system for system in body.get("systems") or ()}
        if self.machine not in systems:
            known = ", ".join(systems) or "none"
            raise UsageError(f"{self.name}: the gateway has no system {self.machine!r}", f"Those there: {known}.")
        if self._home is None:
            self._home = self._find_home(systems[self.machine])
        limit = (systems[self.machine].get("dataOperation") or {}).get("maxOpsFileSize")
        if self.max_file_size is None and isinstance(limit, int):
            self.max_file_size = limit
        self._checked = True

    _checked = False

    def close(self) -> None:
        self._checked = False
        self._staged.close()
        super().close()

    def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | BinaryIO = b"",
        output: OutputSink | None = None,
        timeout: float | None = None,
    ) -> Completed:
        raise UsageError(f"{self.name}: this gateway runs no commands", "sremote.connect makes jobs of them.")

    @property
    def batch(self) -> BatchSystem:
        return self.queue

    def put(self, source: bytes | BinaryIO, path: str, *, mode: int = 0o600) -> None:
        place = self.absolute(path)
        self._check_name(place)
        with sized(source) as (file, size):
            for last in [False] * (_TRIES - 1) + [True]:
                try:
                    self._folders.ensure(posixpath.dirname(place))
                    self._write(file, size, place)
                    self._change_mode(place, mode)
                    if self._is_whole(file, size, place):
                        return
                except FileMissing:
                    # A folder that was known has been removed meanwhile, or what was uploaded is not there.
                    self._folders.forget(posixpath.dirname(place))
                    if last:
                        raise
        raise ConnectionLost(f"{self.name}: {path} did not arrive whole, {_TRIES} times", "Try again later.")

    def leave(self, content: bytes, path: str) -> None:
        place = self.absolute(path)
        self._folders.ensure(posixpath.dirname(place))
        with sized(content) as (file, size):
            self._write(file, size, place)

    def get(self, path: str, target: BinaryIO) -> None:
        place = self.absolute(path)
        self._check_name(place)
        for _ in range(_TRIES):
            answer = self.http.request(
                "GET", f"{self.ops}/download", what=f"read {path}", query={"path": place}, expect=(413,)
            )
            if answer.status_code == 413:
                self._staged.download(place, target)
                return
            content = answer.content
            if not self.checksum or self._digest(place) == _sha256(content):
                target.write(content)
                return
        raise ConnectionLost(f"{self.name}: {path} did not arrive whole, {_TRIES} times", "Try again later.")

    def _write(self, file: BinaryIO, size: int, place: str) -> None:
        what = f"write {place}"
        if size <= self.file_size - _ROOM:
            folder, name = posixpath.split(place)
            answer = self.http.request(
                "POST",
                f"{self.ops}/upload",
                what=what,
                query={"path": folder},
                upload=(name, file.read()),
                idempotent=True,
                expect=(413,),
            )
            file.seek(0)
            if answer.status_code != 413:
                return
        self._staged.upload(file, size, place)

    def _change_mode(self, place: str, mode: int) -> None:
        self.http.request("PUT", f"{self.ops}/chmod", what=f"write {place}", json={"path": place, "mode": f"{mode:o}"})

    def _is_whole(self, file: BinaryIO, size: int, place: str) -> bool:
        return not self.checksum or self._digest(place) == sha256(file)

    def _digest(self, place: str) -> str:
        body = self.http.object("GET", f"{self.ops}/checksum", what=f"check {place}", query={"path": place})
        return str((body.get("output") or {}).get("checksum") or "")

    def _make_folder(self, folder: str) -> bool:
        """Make a folder; a timeout may mean that it was made, so look."""
        body = {"path": folder, "parent": False}
        what = f"make {folder}"
        answer = self.http.request(
            "POST", f"{self.ops}/mkdir", what=what, json=body, idempotent=True, expect=(400, 409, 500)
        )
        if answer.status_code < 300:
            self._change_mode(folder, 0o700)
            return True
        said = self.read_error(answer) or ""
        if "File exists" not in said:
            raise self.http.error(answer, what)
        return False

    def _find_home(self, system: Mapping[str, Any]) -> str:
        user = self.http.object("GET", f"/status/{quote(self.machine)}/userinfo", what="see who you are")
        name = str((user.get("user") or {}).get("name") or "")
        places = [entry for entry in system.get("fileSystems") or () if entry.get("defaultWorkDir")]
        if not places or not name:
            raise UsageError(f"{self.name}: the gateway does not tell the home directory", "Give home=/home/user.")
        return posixpath.join(str(places[0].get("path")), name)

    def _check_name(self, place: str) -> None:
        if "'" in place or "\n" in place:
            raise UsageError(
                f"{self.name}: {place!r} has a quote or a line break, which this gateway does not take",
                "Give the file another name.",
            )


class _Queue(BatchSystem):
    """The scheduler behind FirecREST."""

    name = "firecrest"

    def __init__(self, connector: FirecrestConnector) -> None:
        self._connector = connector
        self._path = f"/compute/{quote(connector.machine)}/jobs"

    def submit(self, script: BatchScript) -> str:
        directives = [
            line
            for line in slurm_directives(script.name, script.resources)
            if not line.startswith("#SBATCH --job-name")
        ]
        job = {
            "name": script.name,
            "workingDirectory": script.folder,
            "standardOutput": posixpath.join(script.folder, "batch"),
            "standardError": posixpath.join(script.folder, "batch"),
            "standardInput": "/dev/null",
            "env": {"SREMOTE": "1"},
            "script": script_text(script, directives),
            **({"account": script.resources.account} if script.resources.account else {}),
        }
        body = self._connector.http.object("POST", self._path, what="submit a job", json={"job": job})
        if not body.get("jobId"):
            raise HostError(f"{self._connector.name}: cannot submit a job: the answer has no job id")
        return str(body["jobId"])

    def jobs(self, ids: Sequence[str]) -> Mapping[str, BatchJob]:
        # The list of all jobs lacks some that are known by their number (firecrest-v2 #177), so one is asked for.
        if len(ids) > 1:
            listed = {job.id: job for job in self._list() if job.id in ids}
            missing = [number for number in ids if number not in listed]
        else:
            listed, missing = {}, list(ids)
        for number in missing:
            what = f"see how job {number} is"
            answer = self._connector.http.request("GET", f"{self._path}/{quote(number)}", what=what, expect=(404,))
            if answer.status_code == 404:
                continue
            listed.update((job.id, job) for job in map(_job, parsed(answer).get("jobs") or ()) if job.id == number)
        return listed

    def find(self, name: str) -> BatchJob | None:
        found = [job for job in self._list(name) if job.name == name]
        return max(found, key=lambda job: int(job.id) if job.id.isdigit() else 0, default=None)

    def cancel(self, ids: Sequence[str]) -> None:
        for number in ids:
            what = f"cancel job {number}"
            try:
                self._connector.http.request("DELETE", f"{self._path}/{quote(number)}", what=what, expect=(404,))
            except LineTimeout:
                found = self.jobs([number]).get(number)
                if found is not None and not found.state.ended:
                    raise

    def _list(self, name: str | None = None) -> list[BatchJob]:
        query = {"name": name, "time_window": "24h"} if name else None
        body = self._connector.http.object("GET", self._path, what="list your jobs", query=query)
        return [_job(entry) for entry in body.get("jobs") or ()]


def _job(entry: Mapping[str, Any]) -> BatchJob:
    status = entry.get("status") or {}
    nodes = str(entry.get("nodes") or "")
    exit_code = status.get("exitCode")
    reason = str(status.get("stateReason") or "")
    return BatchJob(
        str(entry.get("jobId") or ""),
        str(entry.get("name") or ""),
        state_of(status.get("state") or ""),
        "" if reason == "None" else reason,
        exit_code if isinstance(exit_code, int) and not status.get("interruptSignal") else None,
        (nodes,) if nodes and not nodes.startswith("None") else (),
    )


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()
