"""Durable jobs that a real Slurm runs, on nodes that are other hosts to this one."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sremote
from sremote import batch_jobs
from sremote.errors import (
    HostError,
    JobCancelled,
    JobLost,
    RemoteExit,
    UsageError,
    WalltimeExceeded,
)
from sremote.index import index
from tests.kit.program import sremote as sremote_program
from tests.kit.program import sremote_json
from tests.kit.slurm import Slurm
from tests.schedulers.conftest import Place

pytestmark = pytest.mark.root

PATIENCE = 90.0
"""Seconds for something to happen on a busy machine."""


def await_status(job: sremote.Job, expected: Callable[[Any], bool]) -> sremote.JobStatus:
    """Return the job's status once it is as expected."""
    deadline = time.monotonic() + PATIENCE
    while not expected(status := job.status()):
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
    return status


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a job for lost as soon as Slurm says that it has ended: the file system here is not a slow one."""
    monkeypatch.setattr(batch_jobs, "PATIENCE", 0.0)


def test_a_function_runs_on_a_node_and_leaves_only_its_value(client: sremote.Client, place: Place) -> None:
    job = place.submit(client)
    place.await_run()
    status = await_status(job, lambda status: status.state == "RUNNING")
    assert status.source == "heartbeat"
    assert status.reason in ("on n1", "on n2")
    assert list(job.logs()) == ["at work"]

    place.gate.touch()

    assert job.result(PATIENCE) == "done"
    assert job.response().message.header["host"] in ("n1", "n2")
    assert len(place.runs) == 1
    client.close()
    assert list(place.jobs.iterdir()) == []


def test_a_job_that_waits_bears_its_id_and_says_why(client: sremote.Client, place: Place, slurm: Slurm) -> None:
    job = place.submit(client, extra=["#SBATCH --hold"])

    shown = slurm.run("squeue", "-h", "-o", "%j|%k", check=True).stdout

    assert shown == f"sremote-{job.id}|work\n"
    status = await_status(job, lambda status: status.reason != "")
    assert (status.state, status.source, status.reason) == ("QUEUED", "scheduler", "held: JobHeldUser")


def test_a_command_s_files_go_there_and_its_outputs_come_back(client: sremote.Client, tmp_path: Path) -> None:
    source = tmp_path / "input"
    source.write_text("some text")
    argv = ["sh", "-c", "cat input > result; uname -n"]

    job = client.batch("slurm").submit_command(argv, files=[source], outputs=["result"])

    assert job.result(PATIENCE).stdout.strip() in (b"n1", b"n2")
    assert [path.read_text() for path in job.pull(into=tmp_path / "here")] == ["some text"]


def test_what_slurm_refuses_leaves_nothing_behind(client: sremote.Client, place: Place) -> None:
    with pytest.raises(HostError, match=r"slurm refuses the job: .*invalid partition"):
        place.submit(client, queue="nowhere")

    client.close()
    assert list(place.jobs.iterdir()) == []
    assert index().jobs() == []


@pytest.mark.usefixtures("at_once")
def test_a_preamble_that_fails_is_told_in_its_own_words(client: sremote.Client, place: Place) -> None:
    job = place.submit(client, preamble="echo no such module >&2; false")

    with pytest.raises(JobLost, match=r"its batch job \d+ has ended without a response \(failed, NonZeroExitCode\)"):
        job.result(PATIENCE)
    assert "the preamble failed" in job.status().reason
    assert place.runs == []


def test_the_host_s_preamble_runs_in_the_job_too(slurm: Slurm, tmp_path: Path) -> None:
    preamble = f"export SLURM_CONF={slurm.configuration} GREETING=hello"
    with sremote.connect("local:", root=str(tmp_path / "root"), preamble=preamble) as client:
        job = client.batch("slurm", preamble='export GREETING="$GREETING you"').submit("os", "getenv", ["GREETING"])
        assert job.result(PATIENCE) == "hello you"


def test_a_job_is_stopped_at_its_walltime_and_says_so(client: sremote.Client, place: Place) -> None:
    job = place.submit(client, walltime=2)
    with pytest.raises(WalltimeExceeded):
        job.result(PATIENCE)
    assert len(place.runs) == 1


def test_a_job_that_runs_is_cancelled_with_its_process(client: sremote.Client, place: Place) -> None:
    job = place.submit(client)
    pid = place.await_run()

    job.cancel()

    with pytest.raises(JobCancelled):
        job.result(PATIENCE)
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_job_that_waits_is_cancelled_and_never_runs(client: sremote.Client, place: Place, slurm: Slurm) -> None:
    job = place.submit(client, extra=["#SBATCH --hold"])

    assert job.cancel().state == "CANCELLED"

    assert slurm.run("squeue", "-h").stdout == ""
    assert place.runs == []


@pytest.mark.usefixtures("at_once")
def test_a_job_that_somebody_else_cancels_is_cancelled(client: sremote.Client, place: Place, slurm: Slurm) -> None:
    job = place.submit(client, extra=["#SBATCH --hold"])
    slurm.run("scancel", "--user=root", check=True)
    with pytest.raises(JobCancelled):
        job.result(PATIENCE)


def test_a_job_runs_after_another(client: sremote.Client, place: Place) -> None:
    first = place.submit(client)
    second = client.batch("slurm", after=[first]).submit("operator", "add", [1, 2])
    place.await_run()
    assert await_status(second, lambda status: status.reason != "").reason == "Dependency"

    place.gate.touch()

    assert second.result(PATIENCE) == 3
    third = client.batch("slurm", after=[first, second.id]).submit("operator", "add", [1, 2])
    assert third.result(PATIENCE) == 3


def test_a_job_after_one_that_failed_is_refused(client: sremote.Client) -> None:
    first = client.batch("slurm").submit_command(["false"])
    with pytest.raises(RemoteExit):
        first.result(PATIENCE)
    with pytest.raises(UsageError, match="is FAILED, so what comes after it would never run"):
        client.batch("slurm", after=[first]).submit("operator", "add", [1, 2])


def test_a_job_after_one_that_is_with_no_scheduler_is_refused(client: sremote.Client) -> None:
    first = client.submit("operator", "add", [1, 2])
    with pytest.raises(UsageError, match="is not with slurm here"):
        client.batch("slurm", after=[first]).submit("operator", "add", [1, 2])


def whoami(ledger: str) -> str:
    """Note this rank, and where it runs."""

    with open(ledger, "a") as file:
        file.write("{SREMOTE_RANK}/{SREMOTE_RANKS}@{SLURMD_NODENAME}\n".format(**os.environ))
    return os.environ["SREMOTE_RANK"]


def test_a_function_runs_on_all_ranks_of_two_nodes_and_rank_0_answers(client: sremote.Client, place: Place) -> None:
    job = client.batch("slurm", nodes=2, tasks=4).submit_function(whoami, str(place.ledger))

    assert job.result(PATIENCE) == "0"
    assert sorted(place.ledger.read_text().split()) == ["0/4@n1", "1/4@n1", "2/4@n2", "3/4@n2"]


def test_a_command_runs_once_for_each_task_unless_it_starts_them_itself(client: sremote.Client) -> None:
    batch = client.batch("slurm", tasks=2)
    printed = batch.submit_command(["sh", "-c", "echo $SLURM_PROCID"]).result(PATIENCE).stdout
    assert sorted(printed.split()) == [b"0", b"1"]
    batch = client.batch("slurm", tasks=2, launcher="none")
    assert batch.submit_command(["sh", "-c", "echo $SLURM_NTASKS"]).result(PATIENCE).stdout == b"2\n"


def test_a_job_is_tried_again_within_its_batch_job(client: sremote.Client, tmp_path: Path) -> None:
    argv = ["sh", "-c", f"echo $SLURM_JOB_ID >> {tmp_path}/ran; test -e {tmp_path}/twice || ! touch {tmp_path}/twice"]

    job = client.batch("slurm").submit_command(argv, retries=1)

    job.result(PATIENCE)
    first, second = (tmp_path / "ran").read_text().split()
    assert first == second


def test_an_array_is_refused_for_one_job(client: sremote.Client) -> None:
    with pytest.raises(UsageError, match="an array is many jobs"):
        client.batch("slurm", array=4).submit("operator", "add", [1, 2])


def test_the_command_line_submits_and_collects(client: sremote.Client, tmp_path: Path) -> None:
    place = ["--root", str(tmp_path / "root"), "local:"]
    found = sremote_json(
        "submit", "--scheduler", "auto", "--resource", "cores=1", "--walltime", "10m", *place, "platform", "node"
    )
    assert found["scheduler"] == "slurm"
    assert found["batch_id"].isdigit()
    sremote_program("wait", found["id"])
    assert sremote_program("result", found["id"]).stdout.strip().strip('"') in ("n1", "n2")
