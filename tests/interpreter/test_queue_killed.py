"""Workers are killed at any moment: no task is lost, and no result is recorded twice."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from sremote.tasks import Task
from tests.interpreter.far_side import wait_for
from tests.interpreter.queue_side import QueueSide, children, descendants, executions, noting

LONG = bool(os.environ.get("SREMOTE_LONG_TESTS"))
KILLS = 400 if LONG else 24


def kill_somebody(queue: QueueSide) -> None:
    """Kill a worker, the process that runs its tasks, or both, each at once."""
    workers = [one for one in queue.processes if one.poll() is None]
    if not workers:
        return
    worker = random.choice(workers)
    victims = random.choice([[worker.pid], children(worker.pid), [worker.pid, *descendants(worker.pid)]])
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_no_task_is_lost_and_no_result_is_recorded_twice_however_often_workers_are_killed(
    queue: QueueSide, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    numbers = range(KILLS * 30)
    queue.add(*noting(count, numbers, 0.002))
    kills = 0

    def done() -> bool:
        nonlocal kills
        for process in [one for one in queue.processes if one.poll() is not None]:
            process.communicate()
            queue.processes.remove(process)
        while len(queue.processes) < 2:
            queue.start(wait=True)
        time.sleep(random.uniform(0, 0.3))
        if kills < KILLS:
            kill_somebody(queue)
            kills += 1
        queue.ask("recover", [], None)
        queue.ask("retry", {}, None, None)  # those at which the process that ran them was killed have failed
        return kills >= KILLS and queue.counts() == {"SUCCEEDED": len(numbers)}

    wait_for(done, 60.0 + KILLS)
    queue.ask("recover", [], None)  # changes nothing any more
    assert queue.counts() == {"SUCCEEDED": len(numbers)}

    attempts = {row[0]: row[2] for row in queue.ask("tasks", {}, None)}
    results = queue.results()
    assert {number: row[0] for number, row in results.items()} == dict.fromkeys(numbers, "returned")
    runs = executions(count)
    assert set(runs) == set(numbers)
    assert all(runs[number] <= attempts[number] for number in numbers)
    assert sum(attempts.values()) - len(numbers) <= KILLS


def test_a_task_that_was_begun_when_its_worker_was_killed_is_pending_after_recover_and_that_was_an_attempt(
    queue: QueueSide, tmp_path: Path
) -> None:
    queue.add(*noting(tmp_path / "count", [0], 60), Task.call("deeds", "note_number", [str(tmp_path / "count"), 1]))
    worker = queue.start()
    queue.wait_for_state("RUNNING")
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()

    recovered = queue.ask("recover", [], None)

    assert (recovered["recovered"], recovered["failed"], recovered["unknown"]) == (1, 0, [])
    assert queue.counts() == {"PENDING": 2}
    assert [row[2] for row in queue.ask("tasks", {}, None)] == [1, 0]


def test_a_task_that_has_had_its_attempts_fails_where_its_worker_is_killed(queue: QueueSide, tmp_path: Path) -> None:
    queue.add(*noting(tmp_path / "count", [0], 60))
    worker = queue.start()
    queue.wait_for_state("RUNNING")
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()

    assert queue.ask("recover", [], 1)["failed"] == 1
    assert queue.counts() == {"FAILED": 1}
    assert queue.results()[0][0] == "lost"


def test_what_a_killed_workers_task_has_started_ends_with_it(queue: QueueSide) -> None:
    queue.add("sleep 1234.5")
    worker = queue.start()
    queue.wait_for_state("RUNNING")
    sleeping = list(descendants(worker.pid))
    os.kill(worker.pid, signal.SIGKILL)

    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in sleeping))


def test_a_task_that_dies_fails_though_a_process_that_it_has_forked_lives_on(queue: QueueSide) -> None:
    dying = "import os, time\nif os.fork() == 0: time.sleep(600)\nos._exit(5)"
    queue.add(Task.call("builtins", "exec", [dying]), "true")

    (done,) = queue.work()

    assert (done["failed"], done["succeeded"]) == (1, 1)


def test_a_task_that_kills_its_process_fails_and_the_worker_goes_on(queue: QueueSide) -> None:
    queue.add(
        Task.call("os", "_exit", [5]),
        Task.call("os", "abort"),
        Task.call("ctypes", "string_at", [0]),
        Task.call("math", "sqrt", [16]),
    )

    (done,) = queue.work()

    assert (done["failed"], done["succeeded"], done["ended"]) == (3, 1, "empty")
    results = queue.results()
    assert [results[number][:2] for number in range(4)] == [
        ("exited", 5),
        ("killed", signal.SIGABRT),
        ("killed", signal.SIGSEGV),
        ("returned", 0),
    ]
