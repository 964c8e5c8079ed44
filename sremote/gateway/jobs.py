"""The durable jobs of this machine, for the page: asked of the interpreter here, in a process of its own."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sremote.client import Client
from sremote.errors import FormatError, SremoteError
from sremote.interpreter.job import DONE, Job
from sremote.interpreter.run import read_request
from sremote.interpreter.summary import read_header

SHOWN = 100
"""How many jobs are listed, the newest first."""
TAIL = 1 << 16
"""Bytes of a log that are shown, its last."""
_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{16}")
_ENDED = ("succeeded", "failed", "cancelled", "lost", "gone")


@dataclass(frozen=True)
class JobRow:
    """A job as the page shows it."""

    id: str
    runs: str
    """What it runs: ``module.function``, or a command."""
    state: str
    reason: str
    submitted: str
    """When, in UTC, from its id."""

    @property
    def can_be_cancelled(self) -> bool:
        """Whether it has not ended."""
        return self.state not in _ENDED


class Jobs:
    """The jobs below ``root``; methods block and raise SremoteError, so they are for a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._client: Client | None = None
        self._lock = threading.Lock()

    def newest(self) -> list[JobRow]:
        """Return the newest jobs."""
        ids = self._ids()[:SHOWN]
        if not ids:
            return []
        found: Mapping[str, Any] = self._ask("attend", ids)
        return [self._row(job_id, found[job_id]) for job_id in ids if found[job_id]["state"] != "gone"]

    def get(self, job_id: str) -> JobRow | None:
        """Return a job; None where there is none of that id."""
        if not _ID.fullmatch(job_id):
            return None
        entry = self._ask("attend", [job_id])[job_id]
        return None if entry["state"] == "gone" else self._row(job_id, entry)

    def logs(self, job_id: str) -> dict[str, str]:
        """Return the end of what a job has printed: ``stdout`` and ``stderr``."""
        kept = {"stdout": b"", "stderr": b""}
        offsets = [0, 0]
        attempt = 1
        while True:
            found = self._ask("output", job_id, attempt, offsets)
            if found["attempt"] != attempt:
                attempt, offsets, kept = found["attempt"], [0, 0], {"stdout": b"", "stderr": b""}
            pieces = [found["stdout"], found["stderr"]]
            for number, name in enumerate(kept):
                offsets[number] += len(pieces[number])
                kept[name] = (kept[name] + pieces[number])[-TAIL:]
            if not any(pieces):
                return {name: content.decode("utf-8", "replace") for name, content in kept.items()}

    def cancel(self, job_id: str) -> None:
        """Stop a job; nothing where it has ended or is not there."""
        if _ID.fullmatch(job_id):
            self._ask("cancel", [job_id])

    def close(self) -> None:
        """End the interpreter that is asked."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ids(self) -> list[str]:
        folder = self._root / "jobs"
        names = {entry.name.removesuffix(DONE) for entry in folder.iterdir()} if folder.is_dir() else set()
        durable = (name for name in names if _ID.fullmatch(name) and self._header(name).get("durable"))
        return sorted(durable, reverse=True)

    def _row(self, job_id: str, entry: Mapping[str, Any]) -> JobRow:
        stamp = job_id[:15]
        submitted = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}"
        target = self._header(job_id).get("target")
        runs = "a command"
        if isinstance(target, dict) and target.get("kind") != "command":
            runs = ".".join(str(target[key]) for key in ("module", "function") if target.get(key)) or "a function"
        return JobRow(job_id, runs, str(entry["state"]), str(entry["reason"]), submitted)

    def _header(self, job_id: str) -> dict[str, Any]:
        """Return the header of a job's request or else of its response; empty where neither can be read."""
        job = Job(str(self._root / "jobs" / job_id))
        with suppress(FormatError, OSError):
            return dict(read_request(job).header)
        with suppress(FormatError, OSError):
            return dict(read_header(job))
        return {}

    def _ask(self, function: str, *args: Any) -> Any:
        with self._lock:
            if self._client is None:
                from sremote.connection import connect

                self._client = connect("local:", root=str(self._root))
            client = self._client
        try:
            return client.call("sremote_interpreter.jobs", function, [str(self._root), *args], echo=False)
        except SremoteError:
            self.close()
            raise
