"""A queue of tasks on a host, worked on by workers on any node that sees the same files."""

from __future__ import annotations

import dataclasses
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from sremote.allowed import allowed_types
from sremote.connectors.batch import Resources
from sremote.errors import FormatError, JobError, NotFinished, RemoteError, SremoteError, UsageError
from sremote.interpreter.queue_journal import ENDS, NONE, Record
from sremote.interpreter.queue_tasks import StoredTask
from sremote.interpreter.values import decode
from sremote.interpreter.wire import Message, parse
from sremote.pickle_grammar import check_pickle
from sremote.response import Response
from sremote.surroundings import Surroundings
from sremote.tasks import STATES, QueueStatus, Task, TaskStatus, Worker, called, describe, tasks_message

if TYPE_CHECKING:
    from sremote.client import Client
    from sremote.job_handle import Job

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_SIGNS = {"exited": 1, "killed": -1}
"""Outcomes that have an exit status; a signal's counts below zero."""

Numbers = int | Iterable[int] | None
"""A task or several by number, or all."""


class Queue:
    """A queue on the client's host.  Made by ``Client.queue``; it is there once something was added.

    Methods that are about tasks take ``tasks`` (a number or several; default: all) and
    ``state`` (one or several of WAITING, PENDING, RUNNING, SUCCEEDED, FAILED; default: any),
    and those that go by results also ``exit_status``.  All raise UsageError where
    there is no such queue.
    """

    def __init__(self, client: Client, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be a queue's name", "Use letters, digits, '_', '-' and '.', 100 at most."
            )
        self.client = client
        self.name = name

    def create(self) -> bool:
        """Make the queue, empty; return False where it is there already."""
        made: bool = self._ask("create")
        return made

    def add(self, task: Task | str | Sequence[str], **options: Any) -> int:
        """Add a task and return its number.

        Text is a line for ``sh``, a list of texts is a command; ``Task.call`` makes a
        call.  ``options`` are as for ``add_many``.
        """
        return self.add_many([task], **options)[0]

    def add_many(self, tasks: Iterable[Task | str | Sequence[str]], *, id: str | None = None) -> range:  # noqa: A002
        """Add any number of tasks in one request, and return their numbers.

        What was added under an ``id`` is not added again, so a program that does not
        know whether it has added them may do it again.
        """
        self.client._probe()
        entry = tasks_message(tasks, id or secrets.token_hex(8), allowed_types, self.client.host)
        if not entry.header["count"]:
            return range(0)
        first = self._ask("add", entry.to_bytes())
        if first is None:
            raise UsageError(
                f"{self._where}: they come after tasks that are not there",
                f"See which there are: sremote queue tasks {self.client.host.name} {self.name}",
            )
        return range(first, first + entry.header["count"])

    def status(self) -> QueueStatus:
        """Return how many tasks are in each state, and who works on them."""
        return queue_status(self._ask("status"))

    def tasks(
        self,
        tasks: Numbers = None,
        *,
        state: str | Sequence[str] | None = None,
        exit_status: int | None = None,
        limit: int | None = None,
    ) -> list[TaskStatus]:
        """Return how tasks are, in order, at most ``limit``."""
        rows = self._ask("tasks", _selection(tasks, state, exit_status), limit)
        return [self._task_status(*row) for row in rows]

    def results(
        self, tasks: Numbers = None, *, state: str | Sequence[str] | None = None, exit_status: int | None = None
    ) -> dict[int, TaskResult]:
        """Return what finished tasks have left, by number.

        Of a response, ``result()`` is the value of a call or raises what it raised;
        ``exit_status()`` is that of a command; ``stdout`` and ``stderr`` are the last
        16 KiB that it printed.
        """
        selection = _selection(tasks, state, exit_status)
        found: dict[int, TaskResult] = {}
        while True:
            rows, left = self._ask("results", selection)
            found.update((number, self._result(number, *row)) for number, *row in rows)
            if not left:
                return found
            selection = {"numbers": left}

    def result(self, task: int) -> Any:
        """Return what a task returned, or a command's exit status; raise what it raised.

        Raises UsageError where it has not finished.
        """
        found = self.results(task).get(task)
        if found is None:
            raise UsageError(
                f"{self._where}: task {task} has no result",
                f"See how it is: sremote queue tasks {self.client.host.name} {self.name} {task}",
            )
        return found.exit_status() if found.is_command else found.result()

    def work(self, workers: int = 1, *, walltime: float | None = None) -> int:
        """Work on the queue in a call, until nothing is left to do; return how many tasks were done.

        ``walltime`` is the seconds after which the workers end.
        """
        done = self._ask_far_side("queue_work", "work", self._root, self.name, _workers(workers), False, walltime)
        self._check_workers(done)
        return sum(one.get("succeeded", 0) + one.get("failed", 0) for one in done)

    def launch(
        self,
        workers: int = 1,
        *,
        jobs: int = 1,
        wait: bool = False,
        walltime: float | None = None,
        scheduler: str | None = None,
        resources: Resources | Mapping[str, Any] | None = None,
        **surroundings: Unpack[Surroundings],
    ) -> list[Job]:
        """Launch workers as durable jobs: ``jobs`` of them, each with that many ``workers``, a process each.

        They end when the queue has nothing left to do, or with ``wait`` wait for more.
        They stop cleanly before ``walltime`` seconds are over: a task that is not done
        by then goes back to the queue.  ``scheduler``, ``resources`` and the surroundings are
        as for ``Client.submit``; unless ``resources`` say otherwise, a job asks its
        scheduler for a core for each worker.
        """
        arguments = [self._root, self.name, _workers(workers), wait, None if walltime is None else _before(walltime)]
        if jobs < 1:
            raise UsageError(f"{jobs} jobs do nothing", "At least one.")
        self._ask("status")  # that there is such a queue
        return [
            self.client.submit(
                "sremote_interpreter.queue_work",
                "work",
                arguments,
                walltime=walltime,
                scheduler=scheduler,
                resources=_with_cores(resources, workers) if scheduler else resources,
                **surroundings,
            )
            for _ in range(jobs)
        ]

    def wait(
        self, timeout: float | None = None, *, on_status: Callable[[QueueStatus], None] = lambda _: None
    ) -> QueueStatus:
        """Wait until nothing is left that can be done, looking ever less often; return how the queue is then.

        ``on_status`` is given how it is at each look.
        Raises NotFinished after ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while not (status := self.status()).finished:
            on_status(status)
            if deadline is not None and time.monotonic() + pause > deadline:
                left = status.tasks["PENDING"] + status.tasks["RUNNING"] + status.tasks["WAITING"]
                raise NotFinished(
                    f"{self._where}: {left} tasks are not finished after {timeout:g} s",
                    f"See who works on them: sremote queue status {self.client.host.name} {self.name}",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return status

    def pause(self) -> bool:
        """Have no more tasks begun; return False where it was so.  Those that run go on."""
        changed: bool = self._ask("pause", True)
        return changed

    def resume(self) -> bool:
        """End a pause; return False where there was none."""
        changed: bool = self._ask("pause", False)
        return changed

    def retry(
        self,
        tasks: Numbers = None,
        *,
        exit_status: int | None = None,
        attempts: int | None = None,
        priority: int | None = None,
    ) -> dict[str, int]:
        """Give failed tasks another attempt, but not those that have had ``attempts`` already.

        With ``priority`` they get that one.  Returns ``retried`` and ``spent``: how many,
        and how many have had their attempts.
        """
        selection = _selection(tasks, None, exit_status)
        return dict(self._ask("retry", selection, _attempts(attempts), priority))

    def recover(self, *, attempts: int | None = None) -> dict[str, Any]:
        """Give the tasks of workers that are provably dead to others; safe while others live.

        A task that had begun counts that as an attempt; with ``attempts`` it has failed
        where that was the last.  Returns ``recovered`` and ``failed`` (how many tasks),
        ``workers`` (those that were given up) and ``unknown`` (those of which nobody can tell).
        """
        _attempts(attempts)
        doubtful = [one for one in self.status().workers if one.state == "unknown" and one.job]
        dead = [one.number for one in doubtful if self._job_has_ended(str(one.job))]
        return dict(self._ask("recover", dead, attempts))

    def rerun(
        self, tasks: Numbers = None, *, state: str | Sequence[str] | None = None, exit_status: int | None = None
    ) -> int:
        """Have finished tasks done anew, and their results forgotten; return how many."""
        count: int = self._ask("rerun", _selection(tasks, state, exit_status))
        return count

    def priority(self, priority: int, tasks: Numbers = None, *, state: str | Sequence[str] | None = None) -> int:
        """Set the priority of tasks that have not begun; return how many.  Those of a higher one are run first."""
        count: int = self._ask("prioritize", _selection(tasks, state, None), priority)
        return count

    def delete(
        self,
        tasks: Numbers = None,
        *,
        state: str | Sequence[str] | None = None,
        exit_status: int | None = None,
        force: bool = False,
    ) -> dict[str, int]:
        """Delete tasks; where none are named, by number, state or exit status, the whole queue.

        Tasks that a worker holds stay, and those that others wait for: the answer says how many were
        ``deleted``, are ``held``, are ``needed``.  A queue with workers stays too, unless ``force``.
        """
        if tasks is None and state is None and exit_status is None:
            at_work = self._ask("delete_queue", force)
            if at_work:
                raise UsageError(
                    f"{self._where}: {len(at_work)} workers may be at work",
                    "Pause it and wait for them to end, or delete it all the same with force (--force).",
                )
            return {}
        return dict(self._ask("delete", _selection(tasks, state, exit_status)))

    # How the host is asked

    @property
    def _where(self) -> str:
        return f"{self.client.host.where}: queue {self.name}"

    @property
    def _root(self) -> str:
        return self.client._probe().root

    def _ask(self, function: str, *args: Any) -> Any:
        module = "queue_answers" if function in ("status", "tasks", "results") else "queue_requests"
        return self._ask_far_side(module, function, self._root, self.name, *args)

    def _ask_far_side(self, module: str, function: str, *args: Any) -> Any:
        try:
            return self.client._ask(module, function, *args)
        except RemoteError as error:
            raise self._translated(error) from error
        except OSError as error:
            if getattr(error, "remote", None) is None:
                raise
            raise self.client.host.error(str(error).encode(), f"queue {self.name}") from error

    def _translated(self, error: RemoteError) -> SremoteError:
        """Return what an error of the far side means for the user."""
        kind = error.type_name.rpartition(".")[2]
        said = str(error).partition(": ")[2]
        host = self.client.host
        if kind == "QueueMissing":
            return UsageError(
                f"{host.where}: there is no queue {self.name!r}",
                f"Add tasks to it, or see which there are: sremote queue list {host.name}",
            )
        if kind == "FormatError":
            return FormatError(f"{self._where}: {said}")
        if kind == "SremoteError":
            return host.error(said.encode(), f"queue {self.name}")
        return error

    def _job_has_ended(self, job_id: str) -> bool:
        """Ask the job's host and scheduler whether it has ended; False where they cannot tell."""
        try:
            return self.client.job(job_id).status().state.ended
        except SremoteError:
            return False

    def _check_workers(self, done: Sequence[Mapping[str, Any]]) -> None:
        for one in done:
            if one["ended"] in ("failed", "killed"):
                what = one.get("error") or f"signal {one.get('signal')}"
                raise JobError(
                    f"{self._where}: a worker has ended: {what}",
                    f"Give its tasks to others: sremote queue recover {self.client.host.name} {self.name}",
                )

    def _task_status(
        self,
        number: int,
        state: str,
        attempts: int,
        priority: int,
        target: Mapping[str, Any],
        value: bytes,
        whole: bool,
        after: Sequence[int],
        worker: Mapping[str, Any] | None,
        record: Sequence[Any] | None,
    ) -> TaskStatus:
        ended = None if record is None else Record(*record)
        outcome = ENDS[ended.end] if ended else "lost" if state == "FAILED" else None
        return TaskStatus(
            number=number,
            state=state,
            what=self._what(target, value, whole),
            attempts=attempts,
            priority=priority,
            after=tuple(after),
            worker=None if worker is None else worker["number"],
            host=None if worker is None else worker["host"],
            outcome=outcome,
            exit_status=_SIGNS[outcome] * ended.status if ended and outcome in _SIGNS else None,
            seconds=None if ended is None else ended.seconds,
            finished=None if ended is None else ended.time,
        )

    def _what(self, target: Mapping[str, Any], value: bytes, whole: bool) -> str:
        request = StoredTask(dict(target), memoryview(value), whole).request({})
        try:
            check_pickle(request.get("value"))
            args, kwargs = decode(request, "value", allowed_types)
        except (FormatError, SremoteError):
            return f"{called(target)}(…)"
        return describe(target, args, kwargs)

    def _result(
        self, number: int, is_command: bool, outcome: str, status: int, finished: float, seconds: float, data: bytes
    ) -> TaskResult:
        message = parse(data) if data else Message({"outcome": outcome})
        if outcome == "returned" and not data:
            message.sections = list(NONE)
        if outcome in ("exited", "killed"):
            message.header["status" if outcome == "exited" else "signal"] = status
        message.header["times"] = {"started": finished - seconds, "finished": finished}
        return TaskResult(self.client.host.name, f"{self.name}/{number}", message, is_command)


class TaskResult(Response):
    """What a finished task has left: a response, with the end of what it printed."""

    def __init__(self, host: str, name: str, message: Message, is_command: bool) -> None:
        super().__init__(host, name, message, allowed_types, trust=False)
        self.is_command = is_command


def _before(walltime: float) -> float:
    """Return the seconds after which workers end so that a job of that wall time ends by itself."""
    return walltime - min(max(2.0, walltime / 20), 60.0, walltime / 2)


def _with_cores(resources: Resources | Mapping[str, Any] | None, workers: int) -> Resources:
    """Return resources with a core for each worker where they do not tell how many."""
    from sremote.schedulers.resources import read_resources

    found = read_resources(resources)
    return found if found.cores is not None else dataclasses.replace(found, cores=workers)


def queue_status(found: Mapping[str, Any]) -> QueueStatus:
    """Return what a host says of a queue."""
    return QueueStatus(**{**found, "workers": [Worker(**one) for one in found["workers"]]})


def _selection(tasks: Numbers, state: str | Sequence[str] | None, exit_status: int | None) -> dict[str, Any]:
    states = [state] if isinstance(state, str) else list(state or ())
    for one in states:
        if one not in STATES:
            raise UsageError(f"there is no state {one!r}", f"States are {', '.join(STATES)}.")
    numbers = [tasks] if isinstance(tasks, int) else None if tasks is None else list(tasks)
    return {"numbers": numbers, "states": states, "exit_status": exit_status}


def _attempts(attempts: int | None) -> int | None:
    if attempts is not None and attempts < 1:
        raise UsageError(f"attempts is {attempts}; at least 1 makes sense")
    return attempts


def _workers(workers: int) -> int:
    if workers < 1:
        raise UsageError(f"{workers} workers do nothing", "At least one.")
    return workers
