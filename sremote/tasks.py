"""Tasks of a queue: what they run, and how they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sremote.arguments import split_arguments
from sremote.errors import UsageError, ValueRefused
from sremote.interpreter.queue_tasks import TaskWriter
from sremote.interpreter.wire import Header, Message, Section

if TYPE_CHECKING:
    from sremote.host import Host

STATES = ("WAITING", "PENDING", "RUNNING", "SUCCEEDED", "FAILED")
"""WAITING comes after tasks that have not succeeded; PENDING can be run as soon as a worker has time."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """A task to be added.  ``Task.command``, ``Task.shell``, ``Task.call`` and ``Task.function`` make one.

    A command is a success where its exit status is 0, a call where it returns.  Of
    equal ``priority`` the task that was added first runs first; higher ones come
    before.  It waits until the tasks in ``after`` have succeeded: numbers of tasks in the queue,
    or tasks that are added before it in the same request.  After ``timeout`` seconds it is
    stopped and has failed.  A call with ``own_process`` runs in a process of its own: slower,
    but nothing stays of it.
    """

    target: Header
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    after: Sequence[int | Task] = ()
    timeout: float | None = None
    own_process: bool = False
    local_function: Callable[..., Any] | None = None
    """A function of this program, which is then what it runs."""

    @classmethod
    def command(cls, argv: Sequence[str], **options: Any) -> Task:
        """Return a task that runs a command; ``argv`` reaches it as it is.  ``options`` are the fields of a task."""
        if isinstance(argv, str | bytes) or not argv:
            raise UsageError(f"{argv!r} is not a command", "Give it as a list, ['ls', '-l'], or use Task.shell.")
        return cls(target={"kind": "command"}, args=[str(word) for word in argv], **options)

    @classmethod
    def shell(cls, line: str, **options: Any) -> Task:
        """Return a task that has ``sh`` run a line."""
        return cls(target={"kind": "shell"}, args=[line], **options)

    @classmethod
    def call(
        cls,
        module: str,
        function: str,
        args: Sequence[Any] | Mapping[str, Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Task:
        """Return a task that calls ``module.function`` as ``Client.call`` does."""
        positional, keywords = split_arguments(args, kwargs)
        target = {"kind": "name", "module": module, "function": function}
        return cls(target=target, args=positional, kwargs=keywords, **options)

    @classmethod
    def function(
        cls,
        function: Callable[..., Any],
        args: Sequence[Any] | Mapping[str, Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Task:
        """Return a task that calls a function of this program, which goes there as with ``Client.call_function``."""
        positional, keywords = split_arguments(args, kwargs)
        return cls(target={}, args=positional, kwargs=keywords, local_function=function, **options)


@dataclass(frozen=True)
class Worker:
    """A worker that has joined a queue and not left it."""

    number: int
    host: str
    pid: int
    job: str | None
    """The job that it runs in."""
    batch: Mapping[str, str] | None
    """``scheduler`` and ``id``, where a batch scheduler runs that job."""
    state: str
    """live, dead, or unknown where nobody can tell from the host that was asked."""


@dataclass(frozen=True)
class QueueStatus:
    """How a queue is."""

    name: str
    paused: bool
    tasks: Mapping[str, int]
    """How many tasks are in each state."""
    blocked: int
    """How many of the waiting come after one that failed."""
    workers: Sequence[Worker]

    @property
    def total(self) -> int:
        """How many tasks there are."""
        return sum(self.tasks.values())

    @property
    def finished(self) -> bool:
        """Whether nothing is left that can be done: all have succeeded or failed, or wait for some that failed."""
        return self.tasks["PENDING"] == self.tasks["RUNNING"] == 0 and self.tasks["WAITING"] == self.blocked


@dataclass(frozen=True)
class TaskStatus:
    """How a task is."""

    number: int
    state: str
    what: str
    """The command, or the call."""
    attempts: int
    """How often it has been begun, since it was added or asked for again."""
    priority: int
    after: Sequence[int]
    worker: int | None
    """The worker that has it or had it last."""
    host: str | None
    """That worker's host."""
    outcome: str | None
    """How it ended, where it has: a word as ``Response.outcome`` has it."""
    exit_status: int | None
    seconds: float | None
    """How long it ran."""
    finished: float | None
    """When it ended, in seconds since the epoch on its worker's clock."""


def as_task(task: Task | str | Sequence[str]) -> Task:
    """Return what may stand for a task as one: text is a line for ``sh``, a list of texts a command."""
    if isinstance(task, Task):
        return task
    return Task.shell(task) if isinstance(task, str) else Task.command(task)


def tasks_message(
    tasks: Iterable[Task | str | Sequence[str]], identity: str, allowed: Mapping[str, type], host: Host | None = None
) -> Message:
    """Return tasks as the entry that adds them; functions of this program are made for ``host``.

    Raises ValueRefused, VersionMismatch or UsageError, naming the task by its place.
    """
    writer = TaskWriter(identity, sorted(allowed))
    places: dict[int, int] = {}
    for place, given in enumerate(tasks):
        try:
            task = as_task(given)
            _check(task)
            target, sections = _target(task, allowed, host)
            key = json.dumps(target, sort_keys=True)
            after = [_reference(one, places) for one in task.after]
            writer.add(target, key, (list(task.args), dict(task.kwargs)), task.priority, after, sections)
        except ValueRefused as error:
            said = error.message.replace("value[0]", "args", 1).replace("value[1]", "kwargs", 1)
            raise ValueRefused(f"task {place}: {said}", "Send plain data, or sremote.allow(...) the type.") from None
        except UsageError as error:
            raise UsageError(f"task {place}: {error.message}", error.remedy) from None
        places[id(given)] = place
    return writer.message()


def _check(task: Task) -> None:
    if task.timeout is not None and task.timeout <= 0:
        raise UsageError(f"a timeout of {task.timeout} s leaves no time to run")
    if not -(2**31) <= task.priority < 2**31:
        raise UsageError(f"{task.priority} is no priority: 32 bits are")


def _target(task: Task, allowed: Mapping[str, type], host: Host | None) -> tuple[Header, Sequence[Section]]:
    """Return what a task runs, as its entry has it, and what goes with it."""
    target, sections = dict(task.target), Message({}).sections
    if task.local_function is not None:
        from sremote.functions import add_function

        assert host is not None
        request = Message({})
        target = dict(add_function(request, task.local_function, host, allowed, (task.args, task.kwargs)))
        sections = request.sections
    if task.timeout is not None:
        target["timeout"] = task.timeout
    if task.own_process:
        target["own_process"] = True
    return target, sections


def _reference(other: int | Task, places: Mapping[int, int]) -> int:
    """Return what ``after`` names as an entry has it."""
    if isinstance(other, Task):
        if id(other) not in places:
            raise UsageError(
                "it comes after a task that does not stand before it here",
                "Put that one first in the same add_many, or give the number that add returned for it.",
            )
        return -1 - places[id(other)]
    if other < 0:
        raise UsageError(f"it comes after {other}, which is no number of a task")
    return int(other)


def describe(target: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return what a task runs, in one line."""
    if target.get("kind") == "shell":
        return str(args[0])
    if target.get("kind") == "command":
        import shlex

        return shlex.join(str(word) for word in args)
    given = [repr(value) for value in args] + [f"{name}={value!r}" for name, value in kwargs.items()]
    return f"{called(target)}({', '.join(given)})"


def called(target: Mapping[str, Any]) -> str:
    """Return the name of what a call calls."""
    if target.get("kind") == "name":
        return f"{target.get('module')}.{target.get('function')}"
    return str(target.get("name", "function"))
