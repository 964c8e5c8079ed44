"""Workers: what they run on, how they end, and what they leave to others."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sremote.interpreter import queue_worker
from sremote.interpreter.queue_store import Store
from sremote.interpreter.queue_worker import Worker
from sremote.interpreter.queue_workers import about_this_process
from sremote.tasks import Task
from tests.interpreter.far_side import DATA, wait_for
from tests.interpreter.queue_side import QueueSide, descendants, executions, noting
from tests.kit.pythons import Python, installed_pythons


@pytest.fixture(autouse=True)
def signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let workers run in this process: give it its signal handlers back, and let it find what tasks call."""
    monkeypatch.syspath_prepend(DATA)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def work_here(queue: QueueSide) -> dict[str, Any]:
    """Work on the queue in this process."""
    return Worker(Store(str(queue.root), queue.name), about_this_process(None), wait=False, deadline=None).run()


def changes(queue: QueueSide, kind: str) -> int:
    """Return how many entries of the log are of a kind and about tasks."""
    log = Store(str(queue.root), queue.name).log
    entries = [log.read(number) for number in range(len(list((queue.folder / "log" / "0").iterdir())) - 1)]
    return sum(entry is not None and entry.header["kind"] == kind and entry.has("tasks") for entry in entries)


@pytest.mark.parametrize("python", installed_pythons(), ids=str)
def test_a_worker_runs_on_each_python(queue: QueueSide, python: Python) -> None:
    queue.add(
        "echo out",
        Task.call("operator", "add", [1, 2]),
        Task.call("os", "_exit", [3]),
        Task.call("os", "_exit", [4], own_process=True),
        Task.call("time", "sleep", [60], timeout=0.1),
    )

    (done,) = queue.work(python=python.path)

    assert (done["succeeded"], done["failed"], done["ended"]) == (2, 3, "empty")
    assert [row[:2] for row in queue.results().values()] == [
        ("exited", 0),
        ("returned", 0),
        ("exited", 3),
        ("exited", 4),
        ("walltime", 0),
    ]


def test_on_sigterm_a_worker_gives_all_back_and_what_it_had_begun_counts_as_an_attempt(
    queue: QueueSide, tmp_path: Path
) -> None:
    queue.add(*noting(tmp_path / "count", [0], 600), Task.shell("sleep 600", priority=1), "true")
    worker = queue.start()
    queue.wait_for_state("RUNNING")
    worker.send_signal(signal.SIGTERM)

    (done,) = queue.answer(worker)

    assert done["ended"] == "stopped"
    assert queue.counts() == {"PENDING": 3}
    assert sorted(row[2] for row in queue.ask("tasks", {}, None)) == [0, 0, 1]
    assert queue.ask("status")["workers"] == []


def test_a_command_that_ends_as_all_processes_of_the_job_are_told_to_has_not_failed(queue: QueueSide) -> None:
    queue.add("sleep 600")
    worker = queue.start()
    queue.wait_for_state("RUNNING")
    wait_for(lambda: len(list(descendants(worker.pid))) > 1)
    for pid in reversed([worker.pid, *descendants(worker.pid)]):
        os.kill(pid, signal.SIGTERM)

    assert queue.answer(worker)[0]["ended"] == "stopped"
    assert queue.counts() == {"PENDING": 1}


def test_of_several_workers_each_ends_on_the_signal_that_their_parent_gets(queue: QueueSide) -> None:
    queue.add(*["sleep 600"] * 3)
    workers = queue.start(workers=3)
    queue.wait_for_state("RUNNING", 3)
    workers.send_signal(signal.SIGTERM)

    assert [one["ended"] for one in queue.answer(workers)] == ["stopped"] * 3
    assert queue.counts() == {"PENDING": 3}


def test_that_one_of_several_workers_was_killed_is_told(queue: QueueSide) -> None:
    queue.add("sleep 600")
    workers = queue.start(workers=2, wait=True)
    queue.wait_for_state("RUNNING")
    (running,) = (row[8]["pid"] for row in queue.ask("tasks", {"states": ["RUNNING"]}, None))
    os.kill(running, signal.SIGKILL)
    wait_for(lambda: queue.ask("recover", [], 1)["failed"])
    workers.send_signal(signal.SIGTERM)

    assert {one["ended"] for one in queue.answer(workers)} == {"killed", "stopped"}


def test_a_task_that_is_not_done_at_the_walltime_goes_back(queue: QueueSide) -> None:
    queue.add("sleep 600")

    (done,) = queue.work(walltime=2.5)

    assert done["ended"] == "walltime"
    assert [row[1:3] for row in queue.ask("tasks", {}, None)] == [("PENDING", 1)]


def test_a_worker_begins_no_task_that_would_probably_not_come_to_its_end(queue: QueueSide, tmp_path: Path) -> None:
    queue.add(*noting(tmp_path / "count", range(10), 1.2))

    (done,) = queue.work(walltime=4.0)

    assert done["ended"] == "walltime"
    assert executions(tmp_path / "count").total() == done["succeeded"]
    assert {row[2] for row in queue.ask("tasks", {"states": ["PENDING"]}, None)} == {0}


def test_what_a_worker_took_up_is_given_back_when_a_task_takes_long(
    queue: QueueSide, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(queue_worker, "PATIENCE", 0.2)
    monkeypatch.setattr(queue_worker, "LOOK", 0.1)
    count = tmp_path / "count"
    queue.add(*noting(count, range(200)), *noting(count, [200], 1.0), *noting(count, range(201, 1000)))

    assert work_here(queue)["succeeded"] == 1000

    assert changes(queue, "release") >= 1
    assert set(executions(count).values()) == {1}


def test_a_pause_takes_back_what_was_taken_up_and_not_begun(
    queue: QueueSide, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(queue_worker, "LOOK", 0.05)
    count = tmp_path / "count"
    queue.add(*noting(count, range(100), 0.05))

    def pause() -> None:
        wait_for(lambda: len(executions(count)) > 12)
        queue.ask("pause", True)

    pausing = threading.Thread(target=pause)
    pausing.start()
    done = work_here(queue)
    pausing.join()

    assert 12 < done["succeeded"] < 100
    assert queue.counts() == {"PENDING": 100 - done["succeeded"], "SUCCEEDED": done["succeeded"]}


def test_a_worker_ends_when_its_queue_is_deleted(queue: QueueSide, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.add("sleep 600")
    worker = queue.start(wait=True)
    queue.wait_for_state("RUNNING")

    assert [one["pid"] for one in queue.ask("delete_queue", False)] == [worker.pid]
    assert queue.ask("delete_queue", True) == []

    assert queue.answer(worker)[0]["ended"] == "given up"
    assert os.listdir(queue.root / "queues") == []


def test_a_task_that_closes_or_replaces_its_streams_harms_no_other(queue: QueueSide) -> None:
    queue.add(
        Task.call("builtins", "exec", ["import sys; print('one'); sys.stdout.close()"]),
        Task.call("builtins", "exec", ["import sys; sys.stdout = None; sys.stderr = 3"]),
        Task.call("builtins", "print", ["three"]),
    )
    work_here(queue)

    assert queue.counts() == {"SUCCEEDED": 3}
    assert [b"one\n" in row[-1] or b"three\n" in row[-1] for row in queue.results().values()] == [True, False, True]


def test_what_a_task_has_left_behind_is_found_by_the_next_unless_it_had_a_process_of_its_own(queue: QueueSide) -> None:
    def changing(**options: Any) -> list[Task]:
        return [Task.call("os", "putenv", ["LEFT", "behind"], **options), Task.shell('echo "$LEFT"')]

    queue.add(*changing(own_process=True), *changing())
    work_here(queue)

    outputs = [queue.results()[number][-1] for number in (1, 3)]
    assert [b"behind" in output for output in outputs] == [False, True]
