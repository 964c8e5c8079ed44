"""The index of jobs: what processes share of it, what it keeps, and what it does when it cannot."""

import dataclasses
import sqlite3
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sremote
from sremote.errors import UsageError
from sremote.hosts import HostSettings
from sremote.index import Index, JobRecord, settings_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


def record(job_id: str, **fields: object) -> JobRecord:
    text = settings_text(HostSettings("local:", name="here"))
    return dataclasses.replace(JobRecord(job_id, "here", text, "math.sqrt", time.time()), **fields)


def test_a_job_is_found_by_the_beginning_of_its_id(folder: Path) -> None:
    index = Index(folder)
    index.add([record("2026-a1"), record("2026-a2"), record("2027-b")])
    assert index.find("2027").id == "2027-b"
    with pytest.raises(UsageError, match="2 jobs have ids"):
        index.find("2026")
    for nothing in ("20%", "2027_b", ""):
        with pytest.raises(UsageError, match="there is no job"):
            index.find(nothing)


def test_the_end_of_a_job_stays_whatever_is_seen_late(folder: Path) -> None:
    index = Index(folder)
    index.add([record("one", state="RUNNING")])
    index.observe([("one", {"state": "SUCCEEDED", "attempt": 1})])
    index.observe([("one", {"state": "RUNNING", "attempt": 1}), ("one", {"state": "LOST", "attempt": 1})])
    assert Index(folder).jobs()[0].state == "SUCCEEDED"
    index.observe([("one", {"state": "RUNNING", "attempt": 2})])
    assert index.jobs()[0].state == "RUNNING"


def test_many_threads_and_processes_write_to_it(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from sremote.index import Index\n"
        "from tests.sremote.test_index import record\n"
        "for number in range(50): Index(Path(sys.argv[1])).add([record(f'{sys.argv[2]}-{number}')])"
    )
    root = Path(__file__).parents[2]
    processes = [subprocess.Popen([sys.executable, "-c", program, folder, str(name)], cwd=root) for name in range(2)]
    index = Index(folder)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: index.add([record(f"thread-{number}")]), range(50)))
    assert [process.wait() for process in processes] == [0, 0]
    assert len(index.jobs()) == 150


def test_it_is_the_users_own_and_holds_no_secrets(folder: Path) -> None:
    settings = HostSettings("h", connector={"key_file": Path("/k"), "password": "hush", "prompt": print}, name="h")
    index = Index(folder)
    index.add([record("one", settings=settings_text(settings))])
    assert index.jobs()[0].host_settings.connector == {"key_file": "/k"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "jobs.sqlite").stat().st_mode) == 0o600
    index.keep_response("one", b"content")
    assert stat.S_IMODE(index.response_path("one").stat().st_mode) == 0o600


def test_an_index_of_an_older_version_is_taken_over(folder: Path) -> None:
    folder.mkdir()
    with sqlite3.connect(folder / "jobs.sqlite") as database:
        database.execute(
            "CREATE TABLE jobs (id TEXT PRIMARY KEY, host TEXT, settings TEXT, target TEXT, submitted_at REAL)"
        )
        database.execute("INSERT INTO jobs VALUES ('old', 'here', '{}', 'f', 1.0)")
    database.close()
    index = Index(folder)
    index.add([record("new")])
    assert [found.id for found in index.jobs()] == ["old", "new"]
    assert index.jobs()[0].status.state == "UNKNOWN"


def test_an_index_that_cannot_be_used_is_told_before_anything_is_sent(folder: Path, monkeypatch, client_home) -> None:
    place = client_home / ".local" / "state"
    place.mkdir(parents=True)
    (place / "sremote").write_text("no folder")
    with sremote.connect("local:") as client, pytest.raises(UsageError, match="XDG_STATE_HOME"):
        client.submit("operator", "neg", [1])
    folder.mkdir()
    (folder / "jobs.sqlite").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(UsageError, match="cannot be used"):
        Index(folder)
