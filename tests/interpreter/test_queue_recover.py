"""Who is dead, and what becomes of a worker that was given up: judged by proofs, never by a clock."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from sremote.interpreter.queue_state import change
from sremote.interpreter.queue_store import Store
from sremote.interpreter.queue_workers import about_this_process
from tests.interpreter.far_side import wait_for
from tests.interpreter.queue_side import QueueSide, descendants, executions, noting


@pytest.fixture
def count(tmp_path: Path) -> Path:
    return tmp_path / "count"


def start_task_on(queue: QueueSide, hostname: str, count: Path, **options: object) -> "subprocess.Popen[bytes]":
    """Return a worker on a node that has begun a long task."""
    queue.add(*noting(count, [0], 600))
    worker = queue.start(hostname=hostname, **options)
    queue.wait_for_state("RUNNING")
    return worker


def worker_state(queue: QueueSide, hostname: str) -> list[str]:
    return [row["state"] for row in queue.ask_on(hostname, "status")["workers"]]


@pytest.mark.root
def test_recover_leaves_alone_what_lives(queue: QueueSide, count: Path) -> None:
    start_task_on(queue, "node1", count)

    assert worker_state(queue, "node1") == ["live"]
    assert queue.ask_on("node1", "recover", [], None)["recovered"] == 0
    assert queue.counts() == {"RUNNING": 1}


@pytest.mark.root
def test_a_worker_of_another_node_is_not_judged_from_here_even_if_it_is_dead(queue: QueueSide, count: Path) -> None:
    worker = start_task_on(queue, "node1", count)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.communicate()

    assert worker_state(queue, "node2") == ["unknown"]
    recovered = queue.ask_on("node2", "recover", [], None)
    assert (recovered["recovered"], [one["host"] for one in recovered["unknown"]]) == (0, ["node1"])

    assert queue.ask_on("node1", "recover", [], None)["recovered"] == 1


@pytest.mark.root
def test_a_worker_of_another_node_is_dead_once_its_job_has_left_a_response(queue: QueueSide, count: Path) -> None:
    worker = start_task_on(queue, "node1", count, job="20260101T000000-0123456789abcdef")
    os.killpg(worker.pid, signal.SIGKILL)
    worker.communicate()
    job = queue.root / "jobs" / "20260101T000000-0123456789abcdef"
    job.mkdir(parents=True)
    (job / "response").touch()

    assert worker_state(queue, "node2") == ["dead"]
    assert queue.ask_on("node2", "recover", [], None)["recovered"] == 1


@pytest.mark.root
def test_a_worker_is_dead_if_somebody_who_knows_says_so(queue: QueueSide, count: Path) -> None:
    worker = start_task_on(queue, "node1", count)
    (row,) = queue.ask("status")["workers"]
    os.killpg(worker.pid, signal.SIGKILL)
    worker.communicate()

    assert queue.ask_on("node2", "recover", [row["number"]], None)["recovered"] == 1


def test_a_worker_is_dead_if_its_host_was_started_again(queue: QueueSide, count: Path) -> None:
    store = Store(str(queue.root), queue.name)
    queue.add(*noting(count, [0]))
    store.load()
    about = about_this_process(None)
    about["process"]["boot"] = "an earlier one"
    store.propose(lambda _: change("join", about=about))

    assert [row["state"] for row in queue.ask("status")["workers"]] == ["dead"]
    assert len(queue.ask("recover", [], None)["workers"]) == 1


@pytest.mark.root
def test_a_worker_that_was_given_up_and_lives_records_nothing_more_and_ends(queue: QueueSide, count: Path) -> None:
    """It is stopped, taken for dead on a false word, and goes on when another has done its task."""
    queue.add(*noting(count, [0], 0.5))
    worker = queue.start(hostname="node1")
    queue.wait_for_state("RUNNING")
    (row,) = queue.ask("status")["workers"]
    os.killpg(worker.pid, signal.SIGSTOP)
    for child in descendants(worker.pid):
        os.kill(child, signal.SIGSTOP)
    assert queue.ask("recover", [row["number"]], None)["recovered"] == 1
    queue.work()
    first = queue.ask("tasks", {}, None)

    for child in descendants(worker.pid):
        os.kill(child, signal.SIGCONT)
    os.killpg(worker.pid, signal.SIGCONT)
    answer, _ = worker.communicate(timeout=60)

    assert json.loads(answer)[0]["ended"] == "given up"
    assert queue.ask("tasks", {}, None) == first
    assert queue.counts() == {"SUCCEEDED": 1}
    assert executions(count) == {0: 2}


@pytest.mark.root
def test_the_tasks_of_dead_workers_are_recovered_while_others_work(queue: QueueSide, count: Path) -> None:
    queue.add(*noting(count, range(60), 0.05))
    victim = queue.start(hostname="node1")
    queue.wait_for_state("SUCCEEDED")
    queue.start(hostname="node2", wait=True)
    wait_for(lambda: len(queue.ask("status")["workers"]) == 2)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()

    queue.ask_on("node1", "recover", [], None)

    wait_for(lambda: queue.counts() == {"SUCCEEDED": 60})
    runs = executions(count)
    assert set(runs) == set(range(60))
    assert sum(runs.values()) <= 61


@pytest.mark.parametrize("damage", ["record", "result"])
def test_what_a_machine_had_not_put_to_disk_when_it_went_down_is_done_again(
    queue: QueueSide, count: Path, damage: str
) -> None:
    queue.add(*noting(count, range(2)), *noting(count, [2], 600))
    worker = queue.start()
    wait_for(lambda: queue.counts() == {"SUCCEEDED": 2, "RUNNING": 1})
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()
    (journal,) = (queue.folder / "workers").glob("*.journal")
    if damage == "record":  # half of the last record is there
        os.truncate(journal, journal.stat().st_size - 20)
        assert queue.ask("recover", [], None)["recovered"] == 1
        assert queue.counts() == {"PENDING": 1, "SUCCEEDED": 2}
    else:
        os.truncate(journal.with_suffix(".results"), 0)
        assert queue.ask("recover", [], None)["recovered"] == 3
        assert queue.counts() == {"PENDING": 3}
