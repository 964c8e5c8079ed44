"""The far side of a queue without a line: requests are made in this process, workers are processes of any Python."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import sremote.interpreter
from sremote.interpreter import queue_answers, queue_requests
from sremote.tasks import Task, tasks_message
from tests.interpreter.far_side import DATA, TIMEOUT, wait_for
from tests.kit.requirements import need_program

INTERPRETER = Path(sremote.interpreter.__file__).parent
_START = f"""
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location(
    "sremote_interpreter", {str(INTERPRETER / "__init__.py")!r}, submodule_search_locations=[{str(INTERPRETER)!r}])
sys.modules["sremote_interpreter"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from sremote_interpreter import {{module}}
print(json.dumps({{module}}.{{function}}(*json.loads(sys.argv[1]))))
"""


class QueueSide:
    """A queue in a folder, and processes that use it."""

    def __init__(self, root: Path, name: str = "queue") -> None:
        self.root = root
        self.name = name
        self.folder = root / "queues" / name
        self.processes: list[subprocess.Popen[bytes]] = []

    def ask(self, function: str, *args: Any) -> Any:
        """Make a request in this process."""
        return getattr(module_of(function), function)(str(self.root), self.name, *args)

    def add(self, *tasks: Task | str, identity: str | None = None) -> int:
        """Add tasks; return the number of the first."""
        first = self.ask("add", tasks_message(tasks, identity or os.urandom(8).hex(), {}).to_bytes())
        assert isinstance(first, int)
        return first

    def counts(self) -> dict[str, int]:
        """Return how many tasks are in each state, without the states that have none."""
        return {state: count for state, count in self.ask("status")["tasks"].items() if count}

    def results(self) -> dict[int, tuple[Any, ...]]:
        """Return outcome, status, end, seconds and message of the finished tasks."""
        rows, left = self.ask("results", {})
        assert not left
        assert len({row[0] for row in rows}) == len(rows)
        return {number: tuple(row) for number, _, *row in rows}

    def start(
        self, *, workers: int = 1, python: Path = Path(sys.executable), hostname: str = "", **options: Any
    ) -> "subprocess.Popen[bytes]":
        """Start workers in a process of their own; with ``hostname`` they see themselves on a node of that name."""
        arguments = [workers, options.get("wait", False), options.get("walltime"), options.get("job")]
        return self._run(python, hostname, "queue_work", "work", *arguments)

    def work(self, **options: Any) -> list[dict[str, Any]]:
        """Have workers work until there is nothing to do; return what they have done."""
        return self.answer(self.start(**options))

    def ask_on(self, hostname: str, function: str, *args: Any) -> Any:
        """Make a request on a node of that name."""
        module = module_of(function).__name__.rpartition(".")[2]
        return self.answer(self._run(Path(sys.executable), hostname, module, function, *args))

    def answer(self, process: "subprocess.Popen[bytes]") -> Any:
        """Wait for a process; return what it answers."""
        answer, errors = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, errors.decode()
        return json.loads(answer)

    def _run(self, python: Path, hostname: str, module: str, function: str, *args: Any) -> "subprocess.Popen[bytes]":
        program = _START.format(module=module, function=function)
        command = [str(python), "-c", program, json.dumps([str(self.root), self.name, *args])]
        if hostname:
            unshare = need_program("unshare", "util-linux")
            command = [unshare, "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', hostname, *command]
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(DATA)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def wait_for_state(self, state: str, count: int = 1) -> None:
        """Wait until so many tasks are in a state."""
        wait_for(lambda: self.counts().get(state, 0) >= count)

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.communicate()


def module_of(function: str) -> ModuleType:
    """Return the module that has a request."""
    return queue_answers if function in ("status", "tasks", "results") else queue_requests


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(pid: int) -> Iterator[int]:
    """Yield a process's children and theirs."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def executions(count: Path) -> Counter[int]:
    """Return how often each task was executed, from the file to which each appends its number."""
    return Counter(int(line) for line in count.read_text().split()) if count.exists() else Counter()


def noting(count: Path, numbers: Sequence[int], seconds: float = 0.0) -> list[Task]:
    """Return tasks that each append a number to a file and return it."""
    return [Task.call("deeds", "note_number", [str(count), number, seconds]) for number in numbers]
