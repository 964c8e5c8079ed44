"""Files that are too large for FirecREST to take at once: in parts through a store, which its own jobs empty and fill.

The parts go to addresses that are signed for a while (S3's multipart upload); no token
goes there.
"""

from __future__ import annotations

import functools
import io
import posixpath
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from xml.sax.saxutils import escape

from sremote.connectors.errors import HostError, LineError
from sremote.connectors.token_session import FileStore

if TYPE_CHECKING:
    from sremote.connectors.firecrest import FirecrestConnector

_CHUNK = 1 << 20
STAGING_TIMEOUT = 3600.0
"""Seconds for the gateway's job to move a file."""


class Staged:
    """The staged transfers of one connector."""

    def __init__(self, connector: FirecrestConnector) -> None:
        self._connector = connector
        self._store: FileStore | None = None

    def upload(self, file: BinaryIO, size: int, place: str) -> None:
        """Write a file to ``place``, part by part."""
        folder, name = posixpath.split(place)
        directives = {"transferMethod": "s3", "fileSize": size}
        body = {"path": folder, "fileName": name, "fileSize": size, "transferDirectives": directives}
        started = self._start("upload", body, f"write {place}")
        told = _directives(started)
        part_size = int(told["maxPartSize"])
        store = self._files()
        tags = []
        for number, url in enumerate(told["partsUploadUrls"], 1):
            begin = (number - 1) * part_size
            length = min(part_size, size - begin)
            answer = store.request(
                "PUT",
                url,
                what=f"write part {number} of {place}",
                body=functools.partial(_part, file, begin, length),
            )
            tags.append((number, answer.headers.get("ETag", "")))
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(tag)}</ETag></Part>" for number, tag in tags
        )
        done = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        store.request("POST", told["completeUploadUrl"], what=f"finish {place}", body=done)
        file.seek(0)
        self._await(started, f"write {place}")

    def download(self, place: str, target: BinaryIO) -> None:
        """Copy the file at ``place`` into ``target``."""
        body = {"path": place, "transferDirectives": {"transferMethod": "s3"}}
        started = self._start("download", body, f"read {place}")
        self._await(started, f"read {place}")
        url = _directives(started)["downloadUrl"]
        with self._files().request("GET", url, what=f"read {place}", stream=True) as answer:
            wanted = answer.headers.get("Content-Length")
            arrived = 0
            for data in answer.iter_content(_CHUNK):
                target.write(data)
                arrived += len(data)
        if wanted is not None and arrived != int(wanted):
            raise HostError(f"{self._connector.name}: cannot read {place}: only {arrived} of {wanted} bytes came")

    def close(self) -> None:
        """Close the connections to the store."""
        if self._store is not None:
            self._store.close()

    def _files(self) -> FileStore:
        if self._store is None:
            self._store = FileStore(
                name=self._connector.name,
                connect_timeout=self._connector.connect_timeout,
                ca_file=self._connector.ca_file,
            )
        return self._store

    def _start(self, direction: str, body: dict[str, Any], what: str) -> dict[str, Any]:
        if self._connector.resources.account:
            body["account"] = self._connector.resources.account
        path = f"{self._connector.ops.removesuffix('/ops')}/transfer/{direction}"
        return self._connector.http.object("POST", path, what=what, json=body)

    def _await(self, started: Mapping[str, Any], what: str) -> None:
        """Wait for the gateway's own job to end well."""
        job = started.get("transferJob") or {}
        number = str(job.get("jobId") or "")

        def look() -> bool | None:
            try:
                found = self._connector.batch.jobs([number]).get(number)
            except LineError:
                return None
            if found is None or not found.state.ended:
                return None
            if found.state.value != "completed":
                log = (job.get("logs") or {}).get("errorLog", "")
                raise HostError(
                    f"{self._connector.name}: cannot {what}: the gateway's job {number} {found.state.value}",
                    f"See {log} there." if log else None,
                )
            return True

        self._connector.poll(look, what, STAGING_TIMEOUT)


def _part(file: BinaryIO, begin: int, length: int) -> BinaryIO:
    return cast(BinaryIO, _Part(file, begin, length))


class _Part(io.RawIOBase):
    """A part of a file, as the body of a request: its length is known, so that it goes with a Content-Length."""

    def __init__(self, file: BinaryIO, begin: int, length: int) -> None:
        super().__init__()
        self._file = file
        self._left = length
        file.seek(begin)
        self._length = length

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data


def _directives(started: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where the parts go: within ``transferDirectives``, or, before version 2.4, beside the job."""
    found = started.get("transferDirectives") or started
    if not any(key in found for key in ("partsUploadUrls", "downloadUrl")):
        raise HostError("the gateway does not say where a large file goes; its transfer method is not S3")
    return found if isinstance(found, Mapping) else {}
