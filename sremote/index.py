"""What this user has submitted: an SQLite file in the user's state directory, and the responses beside it.

It holds how to reach each job's host, so that a later process can do so too.  The
truth about a job is on its host; what stands here is what was last seen of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sremote.errors import UsageError
from sremote.hosts import HostSettings
from sremote.job_status import JobState, JobStatus, Progress

_PATIENCE = 60.0
"""Seconds to wait for another process that writes to the index."""
_SECRET = ("password", "passphrase", "token", "secret", "prompt")
"""Parts of the names of connector options that are not kept."""
_PLACES = ("_file", "_env", "_command")
"""Ends of the names of those that say where a secret is, and are none."""


@dataclass(frozen=True)
class JobRecord:
    """A job, as the index has it."""

    id: str
    host: str
    """The host as the user wrote it."""
    settings: str
    """How to reach it: ``HostSettings`` in JSON."""
    target: str
    """What it runs, for people: ``module.function``, or a command."""
    submitted_at: float
    """Seconds since the epoch, on this machine's clock."""
    kind: str = "call"
    """call or command."""
    accepted: int = 0
    """Over how many lines its request may have gone once the host has accepted it; 0 before."""
    state: str = JobState.UNKNOWN
    reason: str = ""
    source: str = "client"
    observed_at: float = 0.0
    attempt: int = 1
    usage: str = "{}"
    seconds: float = 0.0
    progress: str = "null"
    beat: int | None = None
    """The heartbeat that was seen last, where its process cannot be seen."""
    beat_at: float | None = None
    scheduler: str | None = None
    """The batch system that runs it."""
    resources: str = "{}"
    batch_id: str | None = None
    """The batch system's id for it."""
    array: str | None = None
    """The id of the array that it is an element of; its own id ends in its index there."""
    outputs: str = "[]"
    """The files to pull when it has ended."""
    folder: str | None = None
    """Its own working folder on the host, below sremote's."""
    fetched: int = 0
    """Whether its response is here."""
    dropped: int = 0
    """Whether the host need not keep it any more, and has been told so."""

    @property
    def status(self) -> JobStatus:
        """What was last seen of it."""
        return JobStatus(
            JobState(self.state),
            self.reason,
            datetime.fromtimestamp(self.observed_at or self.submitted_at, UTC),
            self.source,
            self.attempt,
            json.loads(self.usage),
            Progress.read(json.loads(self.progress)),
            self.seconds,
        )

    @property
    def host_settings(self) -> HostSettings:
        """How to reach its host."""
        return HostSettings(**json.loads(self.settings))

    @property
    def attempt_id(self) -> str:
        """The id of the latest attempt, which its response bears."""
        return self.id if self.attempt == 1 else f"{self.id}.{self.attempt}"

    @property
    def is_to_go(self) -> bool:
        """Whether the host may remove it: it has succeeded, its response is here, and it leaves no files to pull."""
        return bool(self.fetched) and self.state == JobState.SUCCEEDED and self.folder is None


_COLUMNS = [column.name for column in dataclasses.fields(JobRecord)]
_TYPES = {"float": "REAL", "float | None": "REAL", "int": "INTEGER", "int | None": "INTEGER"}


def _definition(column: dataclasses.Field[Any]) -> str:
    """Return how SQL defines a column, with the default that the jobs of an older version get."""
    default = column.default
    if isinstance(default, str):
        default = "'" + default.replace("'", "''") + "'"
    given = "" if default is dataclasses.MISSING or default is None else f" DEFAULT {default}"
    return f"{column.name} {_TYPES.get(str(column.type), 'TEXT')}{given}"


def settings_text(settings: HostSettings) -> str:
    """Return settings as the index keeps them: without secrets, and without what is not plain data."""
    entries = dataclasses.asdict(settings) | {"preload": list(settings.preload)}
    entries["connector"] = {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value
        for name, value in settings.connector.items()
        if name.endswith(_PLACES) or not any(part in name for part in _SECRET)
        if isinstance(value, str | int | float | bool | os.PathLike) or _is_words(value)
    }
    return json.dumps(entries, sort_keys=True)


def _is_words(value: object) -> bool:
    """Say whether an option is a command as a list."""
    return isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)


class Index:
    """The index; safe to use from several threads and processes."""

    def __init__(self, folder: Path | None = None) -> None:
        from platformdirs import user_state_path

        self.folder = folder or user_state_path("sremote", appauthor=False)
        self._lock = threading.Lock()
        with self._explained():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self.folder / "jobs.sqlite"
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA synchronous=NORMAL")
        with self._transaction() as database:
            database.execute("CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY)")
            there = {row[1] for row in database.execute("PRAGMA table_info(jobs)")}
            for column in dataclasses.fields(JobRecord):
                if column.name not in there:  # all of them, or those that an older version did not have
                    database.execute(f"ALTER TABLE jobs ADD COLUMN {_definition(column)}")
            database.execute("CREATE INDEX IF NOT EXISTS jobs_by_host ON jobs (host, state)")

    def add(self, records: Iterable[JobRecord]) -> None:
        """Take jobs in, before anything of them is sent."""
        marks = ", ".join("?" * len(_COLUMNS))
        rows = [dataclasses.astuple(record) for record in records]
        with self._transaction() as database:
            database.executemany(f"INSERT OR REPLACE INTO jobs ({', '.join(_COLUMNS)}) VALUES ({marks})", rows)  # noqa: S608

    def update(self, changes: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Change jobs, each given by its id and the fields that are other now."""
        with self._transaction() as database:
            for job_id, fields in changes:
                assignments = ", ".join(f"{name} = ?" for name in fields)
                database.execute(f"UPDATE jobs SET {assignments} WHERE id = ?", (*fields.values(), job_id))  # noqa: S608

    def observe(self, changes: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Note what was seen of jobs; what another process has seen of a job's end stays."""
        ended = ", ".join(f"'{state}'" for state in JobState if state.ended)
        with self._transaction() as database:
            for job_id, fields in changes:
                assignments = ", ".join(f"{name} = ?" for name in fields)
                where = f"id = ? AND (state NOT IN ({ended}) OR attempt < ?)"
                values = (*fields.values(), job_id, fields.get("attempt", 0))
                database.execute(f"UPDATE jobs SET {assignments} WHERE {where}", values)  # noqa: S608

    def get(self, job_id: str) -> JobRecord | None:
        """Return a job; None where the index does not have it."""
        found = self._select("WHERE id = ?", (job_id,))
        return found[0] if found else None

    def find(self, start: str) -> JobRecord:
        """Return the job whose id begins with ``start``.  Raises UsageError where there is none, or more than one."""
        record = self.get(start)
        if record is not None:
            return record
        escaped = start.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        found = self._select("WHERE id LIKE ? ESCAPE '\\'", (f"{escaped}%",)) if start else []
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"{len(found)} jobs have ids that begin with {start!r}", "Give more of it.")
        raise UsageError(f"there is no job {start!r} in {self.folder}", "Those that are there: sremote jobs --all")

    def jobs(self, host: str | None = None, *, unfetched: bool = False) -> list[JobRecord]:
        """Return jobs, the oldest first; ``unfetched`` leaves out those whose results have been fetched."""
        clauses, values = [], []
        if host is not None:
            clauses.append("host = ?")
            values.append(host)
        if unfetched:
            clauses.append("fetched = 0")
        where = f"WHERE {' AND '.join(clauses)} " if clauses else ""
        return self._select(f"{where}ORDER BY submitted_at, id", values)

    def unfetched(self, settings: str, *, ended: bool) -> list[JobRecord]:
        """Return the jobs of a host whose responses have not been fetched: those that have ended, or the others."""
        states = ", ".join(f"'{state}'" for state in JobState if state.ended)
        where = f"WHERE settings = ? AND fetched = 0 AND state {'IN' if ended else 'NOT IN'} ({states})"
        return self._select(f"{where} ORDER BY submitted_at", (settings,))

    def to_drop(self, settings: str) -> list[JobRecord]:
        """Return the jobs of a host that it need not keep any more, and does not know that of."""
        where = "WHERE settings = ? AND fetched = 1 AND dropped = 0 AND state = 'SUCCEEDED' AND folder IS NULL"
        return self._select(where, (settings,))

    def remove(self, ids: Sequence[str]) -> None:
        """Forget jobs, and their responses."""
        with self._transaction() as database:
            database.executemany("DELETE FROM jobs WHERE id = ?", [(job_id,) for job_id in ids])
        for job_id in ids:
            for path in (self.response_path(job_id), *self.response_path(job_id).parent.glob(f"{job_id}.*")):
                path.unlink(missing_ok=True)

    def response_path(self, job_id: str) -> Path:
        """Return where a job's response is kept."""
        return self.folder / "responses" / job_id

    def keep_response(self, job_id: str, content: bytes | memoryview) -> None:
        """Keep a response, in one step."""
        path = self.response_path(job_id)
        with self._explained():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            beside = path.with_name(f".{job_id}.{os.getpid()}.{threading.get_ident()}.part")
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
            beside.replace(path)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _select(self, where: str, values: Sequence[Any]) -> list[JobRecord]:
        with self._explained(), self._lock:
            rows = self._database.execute(f"SELECT {', '.join(_COLUMNS)} FROM jobs {where}", values).fetchall()  # noqa: S608
        return [JobRecord(*row) for row in rows]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._explained(), self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise UsageError(
                f"the index of jobs in {self.folder} cannot be used: {error}",
                "Make room there, or name another folder with XDG_STATE_HOME.",
            ) from error


_opened: dict[Path, Index] = {}
_opening = threading.Lock()


def index() -> Index:
    """Return this user's index."""
    from platformdirs import user_state_path

    folder = user_state_path("sremote", appauthor=False)
    with _opening:
        if folder not in _opened:
            _opened[folder] = Index(folder)
        return _opened[folder]


def now() -> float:
    """Return the time that the index notes."""
    return time.time()
