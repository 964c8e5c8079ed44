"""``iri:``: the IRI Facility API of the DOE's computing facilities, versions 1 and 2 (iri.science).

Every operation on files is a task that is asked about until it is done; jobs have the
shape of PSI/J.  There is no way to run a command.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from sremote.connectors.base import Capability, Completed, OutputSink
from sremote.connectors.batch import BatchSystem
from sremote.connectors.errors import ConnectionLost, FileMissing, HostError, UsageError
from sremote.connectors.facility import FacilityConnector, parsed, sha256, sized
from sremote.connectors.iri_queue import IriQueue
from sremote.connectors.remote_folders import RemoteFolders
from sremote.connectors.token_session import refusal

if TYPE_CHECKING:
    import requests

_TRIES = 3
_VERBS_OF_VERSION_1 = {"chmod": "PUT", "stat": "GET", "checksum": "GET", "rm": "DELETE", "download": "GET"}
"""The operations that are no POST there, and those of them with a query instead of a body; ``chmod`` has a body."""


class IriConnector(FacilityConnector):
    """``iri://gateway/api/v2/RESOURCE``: a compute resource by its name or id.

    ``filesystem`` is the resource whose files are used, where that is another one.
    ``home`` must be given, as the gateway does not tell it.  ``version`` is 1 or 2;
    by default the address says which.
    """

    scheme = "iri"
    capabilities = Capability.BATCH

    def __init__(
        self, *arguments: Any, filesystem: str | None = None, version: int | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        base = self.http.plain.base
        self.version = int(version or (1 if base.endswith("/v1") else 2))
        if self.version not in (1, 2):
            raise UsageError(f"{self.name}: version {self.version} is neither 1 nor 2")
        if self._home is None:
            raise UsageError(
                f"{self.name}: the home directory is not given, and this gateway does not tell it",
                "Give home=/path/of/your/home.",
            )
        self._filesystem = filesystem
        self._ids: tuple[str, str] | None = None
        self._unsupported: set[str] = set()
        self._folders = RemoteFolders(self._make_folder)
        self._queue = IriQueue(self)

    @staticmethod
    def read_error(answer: requests.Response) -> str | None:
        body = parsed(answer)  # RFC 9457
        said = body.get("detail") or body.get("title") or body.get("message")
        wrong = body.get("invalid_params")
        if isinstance(wrong, list) and wrong:
            entries = (f"{entry.get('name')}: {entry.get('reason')}" for entry in wrong if isinstance(entry, dict))
            return f"{said}: {'; '.join(entries)}"
        return None if not said else str(said)

    def connect(self) -> None:
        """Find the resources by their names, and see that they are up and the sign-in is good."""
        if self._ids is not None:
            return
        wanted = [self.machine, self._filesystem or self.machine]
        found: dict[str, str] = {}
        offset = 0
        while len(found) < len(set(wanted)):
            query = {"offset": offset, "limit": 100}
            body = self.http.json("GET", "/status/resources", what="list the resources", query=query)
            entries = body if isinstance(body, list) else body.get("items") or body.get("resources") or []
            for entry in entries:
                for name in {str(entry.get("id")), str(entry.get("name"))} & set(wanted):
                    found.setdefault(name, str(entry.get("id")))
                    if entry.get("current_status") == "down":
                        raise ConnectionLost(f"{self.name}: the gateway says that {name} is down", "Try later.")
            offset += len(entries)
            if len(entries) < 100:
                break
        for name in wanted:
            if name not in found:
                raise UsageError(f"{self.name}: the gateway has no resource {name!r}", "See its /status/resources.")
        self._ids = found[wanted[0]], found[wanted[1]]
        # The list of resources is public; this is not.
        self.http.json("GET", "/task", what="sign in", query={"limit": 1} if self.version == 2 else None, expect=(404,))

    def close(self) -> None:
        self._ids = None
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
        return self._queue

    @property
    def compute(self) -> str:
        """The id of the compute resource."""
        return self._resources()[0]

    def put(self, source: bytes | BinaryIO, path: str, *, mode: int = 0o600) -> None:
        place = self.absolute(path)
        folder = posixpath.dirname(place)
        partial = posixpath.join(folder, f".{secrets.token_hex(8)}.part")
        with sized(source) as (file, size):
            if size > self.file_size:
                raise HostError(
                    f"{self.name}: {path} has {size} bytes, and this gateway takes {self.file_size} at once",
                    "Where the site allows more, give max_file_size; else bring it there by Globus, or in a mailbox.",
                )
            content, digest = file.read(), sha256(file)
        self._check_place(place)
        for last in [False] * (_TRIES - 1) + [True]:
            try:
                self._folders.ensure(folder)
                self._upload(content, partial, f"write {path}")
                if self._has_digest(partial, digest):
                    break
            except FileMissing:
                self._folders.forget(folder)
                if last:
                    raise
        else:
            raise ConnectionLost(f"{self.name}: {path} did not arrive whole, {_TRIES} times", "Try again later.")
        self.operate("chmod", f"write {path}", path=partial, mode=f"{mode:o}")
        self.operate("mv", f"write {path}", path=partial, target_path=place)

    def leave(self, content: bytes, path: str) -> None:
        place = self.absolute(path)
        self._folders.ensure(posixpath.dirname(place))
        self._upload(content, place, f"write {path}")

    def get(self, path: str, target: BinaryIO) -> None:
        place = self.absolute(path)
        for _ in range(_TRIES):
            output = self.operate("download", f"read {path}", path=place)
            try:
                content = base64.b64decode(str(output or ""), validate=True)
            except binascii.Error:
                continue
            target.write(content)
            return
        raise ConnectionLost(f"{self.name}: {path} did not arrive whole, {_TRIES} times", "Try again later.")

    def operate(self, operation: str, what: str, **arguments: Any) -> Any:
        """Have an operation on files done, and return its output.  All may be done twice."""
        method = "POST" if self.version == 2 else _VERBS_OF_VERSION_1.get(operation, "POST")
        body = {"json": arguments} if method == "POST" or operation == "chmod" else {"query": arguments}
        address = f"/filesystem/{operation}/{quote(self._resources()[1])}"
        return self._done(self.http.object(method, address, what=what, idempotent=True, **body), what)

    def _upload(self, content: bytes, place: str, what: str) -> None:
        address = f"/filesystem/upload/{quote(self._resources()[1])}"
        upload = (posixpath.basename(place), content)
        started = self.http.object("POST", address, what=what, query={"path": place}, upload=upload, idempotent=True)
        self._done(started, what)

    def _done(self, started: Mapping[str, Any], what: str) -> Any:
        """Wait for a task and return its output."""
        number = str(started.get("task_id") or "")
        if not number:
            raise HostError(f"{self.name}: cannot {what}: the gateway names no task")

        def look() -> Mapping[str, Any] | None:
            task = self.http.object("GET", f"/task/{quote(number)}", what=what)
            return None if task.get("status") in ("pending", "active") else task

        task = self.poll(look, what)
        result = task.get("result")
        output = result.get("output") if isinstance(result, dict) else result
        if task.get("status") != "completed":
            reason = (result.get("error") or result.get("detail")) if isinstance(result, dict) else result
            raise refusal(f"{self.name}: cannot {what}", str(reason or output or f"the task {task.get('status')}"), 500)
        return output

    def _has_digest(self, place: str, digest: str) -> bool:
        if not self.checksum or "checksum" in self._unsupported:
            return True
        try:
            output = self.operate("checksum", f"check {place}", path=place)
        except FileMissing:
            return False
        except HostError as error:
            if "501" not in error.message and "not implemented" not in error.message.lower():
                raise
            self._unsupported.add("checksum")
            return True
        return isinstance(output, dict) and output.get("checksum") == digest

    def _check_place(self, place: str) -> None:
        """Raise HostError where ``place`` is a folder: the gateway would put the file into it."""
        try:
            output = self.operate("stat", f"look at {place}", path=place, dereference=True)
        except HostError:
            return
        if isinstance(output, dict) and int(output.get("mode") or 0) & 0o170000 == 0o040000:
            raise HostError(f"{self.name}: cannot write {place}: Is a directory")

    def _make_folder(self, folder: str) -> bool:
        try:
            self.operate("mkdir", f"make {folder}", path=folder, parent=False)
        except HostError as error:
            if "File exists" not in error.message:
                raise
            return False
        self.operate("chmod", f"make {folder}", path=folder, mode="700")
        return True

    def _resources(self) -> tuple[str, str]:
        if self._ids is None:
            self.connect()
        assert self._ids is not None
        return self._ids
