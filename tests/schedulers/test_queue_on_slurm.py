"""Workers of a queue as jobs of a real Slurm, on nodes that are other hosts to this one and to each other."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

import sremote
from sremote import Queue, Task, batch_jobs
from tests.interpreter.far_side import wait_for

pytestmark = pytest.mark.root

PATIENCE = 90.0
"""Seconds for something to happen on a busy machine."""
APART = {"extra": ["#SBATCH --exclusive"]}
"""A node for each job."""


@pytest.fixture
def queue(client: sremote.Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    monkeypatch.setattr(batch_jobs, "PATIENCE", 0.0)
    found = client.queue("on-slurm")
    found.create()
    yield found
    for job in client.jobs():
        job.cancel()


def test_workers_on_several_nodes_share_a_queue(queue: Queue) -> None:
    numbers = queue.add_many(Task.call("time", "sleep", [0.05]) for _ in range(100))
    jobs = queue.launch(jobs=2, wait=True, scheduler="slurm", walltime=600, resources=APART)
    wait_for(lambda: len(queue.status().workers) == 2, PATIENCE)

    queue.wait(PATIENCE)

    tasks = queue.tasks(numbers)
    assert {task.state for task in tasks} == {"SUCCEEDED"}
    assert {task.host for task in tasks} <= {"n1", "n2"}
    assert {worker.host for worker in queue.status().workers} == {"n1", "n2"}
    assert {task.attempts for task in tasks} == {1}
    assert {worker.job for worker in queue.status().workers} == {job.id for job in jobs}


def test_a_worker_s_job_that_has_ended_proves_that_it_is_dead_while_the_other_goes_on(queue: Queue) -> None:
    queue.add_many(["sleep 600", "sleep 600"])
    queue.launch(jobs=2, scheduler="slurm", walltime=3600)
    wait_for(lambda: queue.status().tasks["RUNNING"] == 2, PATIENCE)
    killed, alive = queue.status().workers
    assert {killed.state, alive.state} == {"unknown"}
    os.kill(killed.pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while not queue.client.job(str(killed.job)).status().state.ended:
        assert time.monotonic() < deadline

    recovered = queue.recover()

    assert (recovered["recovered"], [one["number"] for one in recovered["workers"]]) == (1, [killed.number])
    assert [one["number"] for one in recovered["unknown"]] == [alive.number]
    assert (queue.status().tasks["RUNNING"], queue.status().tasks["PENDING"]) == (1, 1)
