"""``sremote submit`` and what follows: jobs on the command line."""

from pathlib import Path

import pexpect
import pytest

from tests.interpreter.far_side import wait_for
from tests.kit.program import PROGRAM, sremote, sremote_json


@pytest.fixture
def host(tmp_path: Path) -> str:
    """A host of the hosts file, with a root of its own."""
    sremote("hosts", "add", "here", "local:", "--root", tmp_path / "root")
    return "here"


def test_a_function_is_submitted_and_its_result_fetched_by_later_commands(host: str) -> None:
    job_id = sremote("submit", host, "operator", "add", "40", "2").stdout.strip()
    assert sremote("wait", job_id[:17]).stdout == f"{job_id}  SUCCEEDED\n"
    assert sremote("result", job_id).stdout == "42\n"
    (entry,) = sremote_json("jobs", "--all")["jobs"]
    assert (entry["id"], entry["host"], entry["target"]) == (job_id, host, "operator.add")
    assert (entry["state"], entry["source"], entry["fetched"]) == ("SUCCEEDED", "response", True)
    assert sremote("jobs").stdout == "No jobs with results to fetch; --all shows the others.\n"


def test_a_command_has_files_output_and_logs(host: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("text\n")
    words = ["--file", tmp_path / "in.txt", "--output", "*.out", "--", "sh", "-c", "tee a.out <in.txt; echo err >&2"]
    job_id = sremote_json("submit", host, *words)["id"]
    followed = sremote("logs", "-f", job_id)
    assert (followed.stdout, followed.stderr) == ("text\n", "err\n")
    assert sremote_json("result", job_id) == {"id": job_id, "status": 0, "stdout": "text\n", "stderr": "err\n"}
    sremote("outputs", job_id, "--into", tmp_path / "results")
    assert (tmp_path / "results" / "a.out").read_text() == "text\n"


def test_a_job_that_fails_is_told_by_every_command_and_tried_again(host: str, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    job_id = sremote("submit", host, "--", "test", "-e", flag).stdout.strip()
    assert sremote("wait", job_id, status=1).stdout == f"{job_id}  FAILED: exit status 1\n"
    assert "exited with status 1" in sremote("result", job_id, status=1).stderr
    flag.touch()
    assert sremote("retry", job_id).stdout == f"{job_id}  QUEUED\n"
    assert sremote_json("wait", job_id)["jobs"][0]["attempt"] == 2
    assert "attempt    2" in sremote("status", job_id).stdout


def test_a_job_is_cancelled(host: str) -> None:
    job_id = sremote("submit", host, "time", "sleep", "1000").stdout.strip()
    wait_for(lambda: sremote_json("status", job_id)["jobs"][0]["state"] == "RUNNING")
    assert sremote("wait", job_id, "--timeout", "0", status=5).stdout == f"{job_id}  RUNNING\n"
    assert sremote("cancel", job_id).stdout == f"{job_id}  CANCELLED\n"
    assert sremote_json("result", job_id, status=1)["error"]["type"] == "JobCancelled"


def test_the_jobs_of_a_host_that_gives_no_answer_are_unknown(tmp_path: Path) -> None:
    program = tmp_path / "carrier"
    program.write_text('#!/bin/sh\nexec "$@"\n')
    program.chmod(0o755)
    job_id = sremote(
        "submit", f"command:{program}", "--root", tmp_path / "root", "operator", "add", 1, 2
    ).stdout.strip()
    program.unlink()
    (entry,) = sremote_json("jobs")["jobs"]
    assert (entry["id"], entry["state"], entry["source"]) == (job_id, "UNKNOWN", "client")
    assert "when last seen" in entry["reason"]
    assert sremote("jobs", "--offline").stdout.split()[:2] == [job_id, "QUEUED"]


@pytest.mark.parametrize(
    "words",
    [
        ["submit", "local:", "math"],
        ["submit", "local:", "math", "sqrt", "--wrong"],
        ["submit", "local:", "--file", "x", "math", "sqrt", "2"],
        ["submit", "local:", "--resource", "nodes=2", "math", "sqrt", "2"],
        ["submit", "local:", "--walltime", "soon", "math", "sqrt", "2"],
        ["status", "20990101T"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused_before_anything_is_sent(words: list[str]) -> None:
    sremote(*words, status=2)


STEPS = """
import os, sys, time
import sremote
def work(gate):
    for number in range(3):
        sremote.progress(number + 1, 4, "stirring")
        print("step", number, flush=True)
    while not os.path.exists(gate):
        time.sleep(0.02)
"""


def test_logs_and_wait_show_a_bar_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "steps.py").write_text(STEPS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    gate = tmp_path / "gate"
    job_id = sremote("submit", "local:", "steps", "work", gate).stdout.strip()
    followed = pexpect.spawn(str(PROGRAM), ["logs", "-f", job_id], encoding="utf-8", timeout=60)
    waiting = pexpect.spawn(str(PROGRAM), ["wait", job_id], encoding="utf-8", timeout=60)
    followed.expect(r"step 0\r\n.*step 2\r\n")
    for terminal in (followed, waiting):
        terminal.expect(r"3/4.*stirring")
    gate.touch()
    waiting.expect(f"{job_id}  SUCCEEDED")
    for terminal in (followed, waiting):
        terminal.expect(pexpect.EOF)
    assert sremote("wait", job_id).stdout == f"{job_id}  SUCCEEDED\n"
