"""The job directory: accepting, claiming and finishing happen once, whoever tries."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sremote.interpreter import main
from sremote.interpreter.job import Job
from sremote.interpreter.processes import is_alive, this_process
from sremote.interpreter.wire import Message, parse

CLAIM = """
import sys
from sremote.interpreter.job import Job
sys.stdin.readline()
print(Job(sys.argv[1]).claim(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job directory without a request."""
    (tmp_path / "job").mkdir()
    return Job(str(tmp_path / "job"))


def claimed_by(job: Job, **process: Any) -> None:
    """Claim the job for another process."""
    claim = Path(job.path("claim"))
    claim.mkdir()
    (claim / "owner").write_text(json.dumps({**this_process(), **process}))


def test_a_request_becomes_a_job_whole(tmp_path: Path) -> None:
    job = Job(str(tmp_path / "job"))
    assert not job.accept()
    with job.receive() as file:
        file.write(b"request")
    assert not os.path.exists(job.directory)
    assert job.accept()
    assert Path(job.path("request")).read_bytes() == b"request"
    assert os.listdir(tmp_path) == ["job"]


def test_a_second_request_of_the_same_id_is_dropped(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        job = Job(str(tmp_path / "job"))
        with job.receive() as file:
            file.write(content)
        assert job.accept()
    assert Path(job.path("request")).read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["job"]


def test_one_of_eight_processes_claims_a_job(job: Job) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, job.directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = []
    for racer in racers:
        assert racer.stdout is not None
        said.append(racer.stdout.readline())
    winner = racers[said.index("True\n")].pid
    assert sorted(said) == ["False\n"] * 7 + ["True\n"]
    assert (job.owner() or {})["pid"] == winner
    assert job.runs() is True
    for racer in racers:
        racer.communicate()
    assert job.runs() is False
    assert os.listdir(job.directory) == ["claim"]


def test_who_has_claimed_a_job_has_it_still_when_asked_again(job: Job) -> None:
    assert job.claim()
    assert job.claim()


def test_the_first_response_counts(job: Job) -> None:
    assert job.finish(Message({"number": 1}))
    assert not job.finish(Message({"number": 2}))
    assert parse(Path(job.path("response")).read_bytes()).header == {"number": 1}
    assert os.listdir(job.directory) == ["response"]


def test_where_there_are_no_hard_links_a_response_is_renamed_and_still_the_first_counts(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    test_the_first_response_counts(job)


def test_a_response_that_cannot_be_written_leaves_nothing_behind(job: Job) -> None:
    with pytest.raises(TypeError):
        job.finish(Message({"number": object()}))
    assert os.listdir(job.directory) == []


def test_nothing_is_left_of_a_job_that_is_dropped(job: Job) -> None:
    os.mkdir(job.directory + ".new")
    assert job.claim()
    job.drop()
    assert os.listdir(os.path.dirname(job.directory)) == []


@pytest.mark.parametrize(
    ("change", "alive"),
    [
        ({}, True),
        ({"started": "1"}, False),
        ({"boot": "another"}, False),
        ({"pid": 2**22 + 1}, False),
        ({"host": "another"}, None),
        ({"pid": None}, None),
        ({"pid": "1"}, None),
        ({"pid": -1}, None),
    ],
    ids=str,
)
def test_a_process_is_known_by_host_boot_number_and_start(change: dict[str, Any], alive: bool | None) -> None:
    assert is_alive({**this_process(), **change}) is alive


def test_a_zombie_does_not_run() -> None:
    with subprocess.Popen(["sleep", "100"]) as child:
        stat = Path(f"/proc/{child.pid}/stat").read_text()
        process = {**this_process(), "pid": child.pid, "started": stat.rpartition(")")[2].split()[19]}
        assert is_alive(process) is True
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_alive(process) is False


@pytest.mark.parametrize("owner", ["", "[]", "nonsense", "{}"])
def test_a_damaged_claim_can_be_judged_by_nobody(job: Job, owner: str) -> None:
    claimed_by(job)
    Path(job.path("claim/owner")).write_text(owner)
    assert job.runs() is None


def test_a_job_of_before_the_host_was_started_again_is_lost(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "PATIENCE", 2)
    claimed_by(job, boot="another")
    assert main.run_job(job) == 0
    assert parse(Path(job.path("response")).read_bytes()).header["outcome"] == "lost"


def test_a_job_that_another_host_has_claimed_is_neither_run_nor_called_lost(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "PATIENCE", 2)
    claimed_by(job, host="other.example")
    assert main.run_job(job) == 75
    assert "was claimed by {'host': 'other.example'" in capsys.readouterr().err
    assert os.listdir(job.directory) == ["claim"]


def test_a_job_that_another_host_runs_cannot_be_cancelled_from_here(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    claimed_by(job, host="other.example")
    assert main.cancel(job) == 75
    assert "cannot be stopped from here" in capsys.readouterr().err
    assert job.claimed()
