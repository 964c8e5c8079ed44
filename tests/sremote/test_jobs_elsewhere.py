"""Jobs that another node of the host runs, as its files tell: this node cannot see their processes."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import sremote
from sremote import host_jobs

ELSEWHERE = {"host": "elsewhere", "boot": "b", "pid": 1, "started": "1"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[sremote.Client]:
    with sremote.connect("local:", root=str(tmp_path / "root")) as client:
        client.call("os", "getpid")
        yield client


@pytest.fixture
def directory(client: sremote.Client, tmp_path: Path) -> Path:
    """A job's directory as the other node has left it: claimed there, with a heartbeat."""
    directory = tmp_path / "root" / "jobs" / "job"
    (directory / "claim").mkdir(parents=True)
    (directory / "claim" / "owner").write_text(json.dumps(ELSEWHERE))
    (directory / "stdout").write_text("so far\n")
    beat(directory, 1)
    return directory


def beat(directory: Path, count: int) -> None:
    (directory / "heartbeat").write_text(json.dumps({"count": count, "supervisor": ELSEWHERE, "cpu_seconds": 1.5}))


def test_it_runs_as_long_as_its_heartbeat_goes_on(
    client: sremote.Client, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = client.job("job")
    status = job.status()
    assert (status.state, status.source, status.usage) == ("RUNNING", "heartbeat", {"cpu_seconds": 1.5})
    assert "runs on elsewhere" in status.reason
    monkeypatch.setattr(host_jobs, "BEAT_PATIENCE", 0.0)
    time.sleep(0.01)
    assert job.status().state == "UNKNOWN"
    assert "no heartbeat for" in job.last_status.reason
    beat(directory, 2)
    assert job.status().state == "RUNNING"
    assert list(job.logs()) == ["so far"]


def test_it_is_told_to_stop_and_not_taken_for_stopped(client: sremote.Client, directory: Path) -> None:
    assert client.job("job").cancel().state == "RUNNING"
    assert (directory / "cancel").exists()
    assert not (directory / "response").exists()


def test_one_that_waits_there_is_left_to_that_node(client: sremote.Client, directory: Path) -> None:
    (directory / "claim" / "owner").unlink()
    (directory / "claim").rmdir()
    status = client.job("job").status()
    assert (status.state, status.reason, status.source) == ("QUEUED", "waits on elsewhere", "heartbeat")


def test_one_that_ran_before_a_restart_of_this_node_is_lost(client: sremote.Client, directory: Path) -> None:
    here = {**ELSEWHERE, "host": os.uname().nodename}
    (directory / "claim" / "owner").write_text(json.dumps(here))
    (directory / "heartbeat").write_text(json.dumps({"count": 1, "supervisor": here}))
    status = client.job("job").wait(60)
    assert status.state == "LOST"
    assert "was started again" in status.reason
