"""Durable jobs that a real Slurm runs, on nodes that are other hosts than the one that is asked about them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import sremote
from sremote.errors import JobCancelled
from tests.interpreter.far_side import wait_for
from tests.kit.slurm import Slurm

PATIENCE = 120.0
"""Seconds for a batch job to get its turn on a busy machine."""


@pytest.fixture
def client(slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sremote.Client]:
    """A client of this machine, where the cluster's commands are found."""
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    with sremote.connect("local:", root=str(tmp_path / "root")) as client:
        yield client


def work(gate: str) -> str:
    """Wait for the gate, and return."""
    import os
    import time

    print("at work", flush=True)
    while not os.path.exists(gate):
        time.sleep(0.05)
    return os.uname().nodename


def test_a_function_runs_on_a_node_and_its_value_comes_back(client: sremote.Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = client.submit(
        "os.path", "exists", ["/"], scheduler="slurm", resources={"cores": 1, "walltime": 300}, walltime=200
    )
    assert job.result(PATIENCE) is True
    del gate


def test_a_job_that_runs_is_seen_running_and_can_be_cancelled(client: sremote.Client) -> None:
    job = client.submit("time", "sleep", [1000], scheduler="auto")
    wait_for(lambda: job.status().state == "RUNNING", PATIENCE)
    assert job.status().source in ("heartbeat", "scheduler")
    job.cancel()
    assert job.wait(PATIENCE).state == "CANCELLED"
    with pytest.raises(JobCancelled):
        job.result()
