"""Queues: tasks that are added, worked on, asked about, tried again; over a connector as users see it."""

import dataclasses
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator

import numpy
import pytest

import sremote
from sremote import Queue, Task
from sremote.errors import (
    NotInstalled,
    RemoteExit,
    RemoteKilled,
    UsageError,
    ValueRefused,
    WalltimeExceeded,
)
from tests.interpreter.far_side import wait_for

_names = itertools.count()


@sremote.allow
@dataclasses.dataclass
class Point:
    x: int


def shifted(point: Point, by: int) -> Point:
    return Point(point.x + by)


LOCK = threading.Lock()


def locked() -> None:
    LOCK.acquire()


@pytest.fixture
def queue(client: sremote.Client) -> Iterator[Queue]:
    """A queue of its own name, deleted at the end."""
    found = client.queue(f"queue-{os.getpid()}-{next(_names)}")
    found.create()
    yield found
    found.delete(force=True)


@pytest.fixture
def local_queue(local_client: sremote.Client) -> Iterator[Queue]:
    found = local_client.queue(f"queue-{os.getpid()}-{next(_names)}")
    found.create()
    yield found
    found.delete(force=True)


class TestTasks:
    def test_commands_lines_and_calls_are_run_and_their_results_kept(self, queue: Queue) -> None:
        line = queue.add("echo one; echo two >&2")
        command = queue.add(["printf", "%s", "a b; c"])
        call = queue.add(Task.call("math", "hypot", [3, 4]))

        assert queue.work() == 3

        assert queue.result(call) == 5.0
        assert queue.result(command) == 0
        results = queue.results([line, command])
        assert (results[line].stdout, results[line].stderr) == ("one\n", "two\n")
        assert results[command].stdout == "a b; c"

    def test_any_number_is_added_in_one_request_and_numbered_in_order(self, queue: Queue) -> None:
        first = queue.add("true")
        numbers = queue.add_many(Task.call("operator", "neg", [n]) for n in range(1000))
        queue.work(2)

        assert numbers == range(first + 1, first + 1001)
        assert [queue_result.result() for queue_result in queue.results(numbers).values()] == [-n for n in range(1000)]

    def test_arrays_and_allowed_types_travel(self, local_queue: Queue) -> None:
        array = local_queue.add(Task.call("operator", "add", [numpy.arange(3), 1]))
        echoed = local_queue.add(Task.call("copy", "copy", {"x": b"bytes"}))
        local_queue.work()

        assert local_queue.result(array).tolist() == [1, 2, 3]
        assert local_queue.result(echoed) == b"bytes"

    def test_functions_of_this_program_go_along(self, queue: Queue) -> None:
        numbers = queue.add_many(Task.function(shifted, [Point(n)], {"by": 10}) for n in range(3))
        installed = queue.add(Task.function(os.path.basename, ["a/b"]))
        queue.work()

        assert [queue.result(number) for number in numbers] == [Point(10), Point(11), Point(12)]
        assert queue.result(installed) == "b"
        assert [one.what for one in queue.tasks([numbers[0], installed])] == [
            "shifted(Point(x=0), by=10)",
            "posixpath.basename('a/b')",
        ]
        with pytest.raises(ValueRefused, match="task 0: the function 'locked' cannot be sent"):
            queue.add(Task.function(locked))

    def test_a_type_that_is_not_there_fails_its_own_task_only(self, local_queue: Queue) -> None:
        numbers = local_queue.add_many([Task.call("copy", "copy", [Point(1)]), Task.call("copy", "copy", [2])])
        local_queue.work()

        assert local_queue.results()[numbers[0]].outcome == "refused"
        assert local_queue.result(numbers[1]) == 2

    def test_what_is_added_under_an_id_is_added_once(self, local_queue: Queue) -> None:
        assert local_queue.add_many(["true", "true"], id="nightly") == local_queue.add_many(
            ["true", "true"], id="nightly"
        )
        assert local_queue.status().total == 2

    def test_nothing_is_added_where_one_of_them_cannot_be(self, local_queue: Queue) -> None:
        with pytest.raises(ValueRefused, match=r"task 1: args\[0\] is a builtins.object"):
            local_queue.add_many(["true", Task.call("copy", "copy", [object()])])
        with pytest.raises(UsageError, match="task 1: a timeout of 0 s"):
            local_queue.add_many(["true", Task.shell("true", timeout=0)])
        with pytest.raises(UsageError, match="is not a command"):
            local_queue.add([])
        assert local_queue.status().total == 0

    def test_a_task_finds_who_it_is_in_the_environment(self, local_queue: Queue) -> None:
        local_queue.add("true")
        number = local_queue.add("echo $SREMOTE_QUEUE $SREMOTE_TASK $SREMOTE_ATTEMPT")
        local_queue.work()

        assert local_queue.results()[number].stdout == f"{local_queue.name} {number} 1\n"

    def test_of_long_output_the_end_is_kept(self, local_queue: Queue) -> None:
        number = local_queue.add("head -c 100000 /dev/zero | tr '\\0' x; echo end")
        after = local_queue.add(Task.call("builtins", "print", ["next"]))
        local_queue.work()

        stdout = local_queue.results()[number].stdout
        assert (len(stdout), stdout[-5:]) == (16384, "xend\n")
        assert local_queue.results()[after].stdout == "next\n"


class TestFailures:
    @pytest.mark.parametrize(
        ("task", "error"),
        [
            (Task.call("builtins", "int", ["x"]), ValueError),
            (Task.call("sys", "exit", [3]), RemoteExit),
            (Task.call("os", "abort", own_process=True), RemoteKilled),
            (Task.call("os", "_exit", [4], own_process=True), RemoteExit),
            (Task.call("time", "sleep", [60], timeout=0.2), WalltimeExceeded),
            (Task.call("time", "sleep", [60], timeout=0.2, own_process=True), WalltimeExceeded),
            (Task.shell("sleep 60", timeout=0.2), WalltimeExceeded),
            (Task.call("no_such_module", "f"), NotInstalled),
            (Task.command(["no-such-command"]), UsageError),
            (Task.call("builtins", "open", ["/dev/null"]), ValueRefused),
        ],
        ids=lambda value: value.__name__ if isinstance(value, type) else str(value.target.get("function", "command")),
    )
    def test_a_task_that_fails_raises_what_a_call_would(
        self, local_queue: Queue, task: Task, error: type[Exception]
    ) -> None:
        number = local_queue.add(task)
        local_queue.work()

        assert [one.state for one in local_queue.tasks()] == ["FAILED"]
        with pytest.raises(error):
            local_queue.result(number)

    def test_a_command_fails_with_another_exit_status_than_0(self, local_queue: Queue) -> None:
        exits, dies = local_queue.add_many(["exit 3", "kill -9 $$"])
        local_queue.work()

        assert [(one.state, one.exit_status) for one in local_queue.tasks()] == [("FAILED", 3), ("FAILED", -9)]
        assert local_queue.result(exits) == 3
        assert local_queue.result(dies) == -9

    def test_failed_tasks_are_tried_again_up_to_a_number_of_attempts(self, local_queue: Queue) -> None:
        local_queue.add_many(["exit 1", "true"])
        local_queue.work()

        assert local_queue.retry(attempts=2, priority=3) == {"retried": 1, "spent": 0}
        assert (local_queue.tasks()[0].state, local_queue.tasks()[0].priority) == ("PENDING", 3)
        local_queue.work()
        assert local_queue.retry(attempts=2) == {"retried": 0, "spent": 1}
        assert [one.attempts for one in local_queue.tasks()] == [2, 1]

    def test_finished_tasks_are_done_anew_as_if_they_were_new(self, local_queue: Queue) -> None:
        local_queue.add_many(["exit 1", "exit 2", "true"])
        local_queue.work()

        assert local_queue.rerun(exit_status=2) == 1
        assert local_queue.rerun(state="SUCCEEDED") == 1
        assert [(one.state, one.attempts) for one in local_queue.tasks()] == [
            ("FAILED", 1),
            ("PENDING", 0),
            ("PENDING", 0),
        ]
        with pytest.raises(UsageError, match="task 1 has no result"):
            local_queue.result(1)


class TestOrder:
    def test_a_task_waits_until_those_that_it_comes_after_have_succeeded(self, local_queue: Queue) -> None:
        first = Task.shell("exit 1")
        local_queue.add_many([first, Task.shell("true", after=[first]), Task.shell("true", after=[first])])
        last = local_queue.add(Task.shell("true", after=[1, 2]))
        assert local_queue.work() == 1
        assert dict(local_queue.status().tasks) == {
            "WAITING": 3,
            "PENDING": 0,
            "RUNNING": 0,
            "SUCCEEDED": 0,
            "FAILED": 1,
        }
        assert local_queue.status().blocked == 3
        assert local_queue.status().finished
        assert local_queue.tasks(last)[0].after == (1, 2)

        local_queue.rerun(0)
        assert local_queue.delete(0) == {"deleted": 0, "held": 0, "needed": 1}

    def test_what_waits_is_run_by_the_same_workers_once_it_can_be(self, local_queue: Queue) -> None:
        previous: list[Task] = []
        for _ in range(5):
            previous.append(Task.shell("date +%s%N", after=previous[-1:]))
        local_queue.add_many(previous)

        assert local_queue.work(2) == 5
        ends = [int(one.stdout) for one in local_queue.results().values()]
        assert ends == sorted(ends)

    def test_a_task_comes_after_none_that_is_not_there(self, local_queue: Queue) -> None:
        for other, reason in ((5, "after tasks that are not there"), (Task.shell("x"), "stand before"), (-1, "number")):
            with pytest.raises(UsageError, match=reason):
                local_queue.add(Task.shell("true", after=[other]))

    def test_tasks_of_a_higher_priority_run_first(self, local_queue: Queue) -> None:
        low = local_queue.add(Task.shell("date +%s%N", priority=-1))
        middle = local_queue.add("date +%s%N")
        high = local_queue.add(Task.shell("date +%s%N", priority=1))
        raised = local_queue.add("date +%s%N")
        assert local_queue.priority(2, raised) == 1
        local_queue.work()

        ends = {number: int(one.stdout) for number, one in local_queue.results().items()}
        assert sorted(ends, key=ends.__getitem__) == [raised, high, middle, low]


class TestTheQueue:
    def test_tells_how_it_is_and_who_works_on_it(self, local_queue: Queue) -> None:
        local_queue.add_many(["sleep 60", "true"])
        (job,) = local_queue.launch(1)
        wait_for(lambda: local_queue.status().tasks["RUNNING"])

        (worker,) = local_queue.status().workers
        assert (worker.state, worker.job) == ("live", job.id)
        (running,) = local_queue.tasks(state="RUNNING")
        assert (running.what, running.worker, running.host) == ("sleep 60", worker.number, worker.host)
        assert local_queue.delete(0) == {"deleted": 0, "held": 1, "needed": 0}
        with pytest.raises(UsageError, match="1 workers may be at work"):
            local_queue.delete()
        job.cancel()
        wait_for(lambda: job.status().state.ended)
        assert local_queue.status().workers == []
        assert [(one.state, one.attempts) for one in local_queue.tasks()] == [("PENDING", 1), ("PENDING", 0)]

    def test_hands_out_nothing_while_it_is_paused(self, local_queue: Queue) -> None:
        local_queue.add("true")
        assert local_queue.pause()
        assert not local_queue.pause()
        assert local_queue.work() == 0
        assert local_queue.resume()
        assert local_queue.work() == 1

    def test_is_listed(self, local_queue: Queue) -> None:
        local_queue.add("true")
        assert (local_queue.name, 1) in [(one.name, one.total) for one in local_queue.client.queues()]

    def test_that_is_not_there_is_an_error(self, local_client: sremote.Client) -> None:
        none = local_client.queue("none")
        calls: list[Callable[[], object]] = [
            none.status,
            none.tasks,
            none.launch,
            none.recover,
            none.pause,
            none.delete,
        ]
        for call in (*calls, none.work):
            with pytest.raises(UsageError, match="there is no queue 'none'"):
                call()

    @pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "x" * 101])
    def test_needs_a_name_that_can_be_a_files(self, local_client: sremote.Client, name: str) -> None:
        with pytest.raises(UsageError, match="cannot be a queue's name"):
            local_client.queue(name)

    def test_refuses_what_makes_no_sense(self, local_queue: Queue) -> None:
        wrong: list[tuple[Callable[[], object], str]] = [
            (lambda: local_queue.tasks(state="DONE"), "no state 'DONE'"),
            (lambda: local_queue.work(0), "0 workers"),
            (lambda: local_queue.launch(jobs=0), "0 jobs"),
            (lambda: local_queue.retry(attempts=0), "attempts is 0"),
            (lambda: local_queue.add(Task.shell("true", priority=2**31)), "no priority"),
        ]
        for call, message in wrong:
            with pytest.raises(UsageError, match=message):
                call()

    def test_is_waited_for(self, local_queue: Queue) -> None:
        local_queue.add("true")
        with pytest.raises(TimeoutError, match="1 tasks are not finished"):
            local_queue.wait(0.01)
        local_queue.launch()
        assert local_queue.wait(60).tasks["SUCCEEDED"] == 1


class TestLaunch:
    def test_jobs_work_on_it_until_it_is_empty(self, queue: Queue) -> None:
        queue.add_many([Task.call("os", "getpid") for _ in range(50)])
        jobs = queue.launch(2, jobs=2)
        queue.wait(60)

        done = [one for job in jobs for one in job.result()]
        assert sum(one["succeeded"] for one in done) == 50
        assert {one["ended"] for one in done} == {"empty"}

    def test_workers_stop_before_the_walltime_of_their_job(self, local_queue: Queue) -> None:
        local_queue.add_many(["true", "sleep 60"])
        (job,) = local_queue.launch(wait=True, walltime=6)

        (answer,) = job.result(60)

        assert (answer["ended"], answer["succeeded"]) == ("walltime", 1)
        assert [(one.state, one.attempts) for one in local_queue.tasks()] == [("SUCCEEDED", 1), ("PENDING", 1)]

    def test_the_tasks_of_a_job_whose_worker_was_killed_are_recovered(self, queue: Queue) -> None:
        queue.add("sleep 60")
        queue.launch()
        wait_for(lambda: queue.status().tasks["RUNNING"])
        os.kill(queue.status().workers[0].pid, signal.SIGKILL)
        wait_for(lambda: queue.status().workers[0].state == "dead")

        assert queue.recover()["recovered"] == 1
        assert queue.status().tasks["PENDING"] == 1
