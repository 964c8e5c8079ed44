"""Tasks from a file: a line for each, which is a line for ``sh`` or a JSON object.

Empty lines, and those that begin with ``#``, are skipped.  Keys of an object: one of
``shell`` (text), ``command`` (list of texts) or ``module`` and ``function`` (with ``args``, a
list or an object, and ``kwargs``); and ``priority``, ``timeout``, ``own_process``, ``name`` and
``after``, a list of names of tasks on lines before and of numbers of tasks in the queue.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sremote.errors import UsageError
from sremote.tasks import Task

_KEYS = ("shell", "command", "module", "function", "args", "kwargs", "name", "after")
_OPTIONS: dict[str, tuple[type, ...]] = {"priority": (int,), "timeout": (int, float), "own_process": (bool,)}


def read_tasks(lines: Iterable[str], where: str) -> list[Task]:
    """Return the tasks of a file.  Raises UsageError, naming the line; ``where`` is how messages call the file."""
    tasks: list[Task] = []
    names: dict[str, Task] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            if not text.startswith("{"):
                tasks.append(Task.shell(text))
                continue
            try:
                found = json.loads(text)
            except ValueError as error:
                raise UsageError(f"this is no JSON: {error}", "A line that begins with { is a JSON object.") from None
            task = _task(found, names)
        except UsageError as error:
            raise UsageError(f"{where}, line {number}: {error.message}", error.remedy) from None
        if "name" in found:
            names[str(found["name"])] = task
        tasks.append(task)
    return tasks


def _task(found: Mapping[str, Any], names: Mapping[str, Task]) -> Task:
    unknown = sorted(found.keys() - {*_KEYS, *_OPTIONS})
    if unknown:
        raise UsageError(f"a task has no {unknown[0]!r}", f"It may have {', '.join([*_KEYS, *_OPTIONS])}.")
    options: dict[str, Any] = {}
    for name, kinds in _OPTIONS.items():
        if name in found:
            if not isinstance(found[name], kinds) or (isinstance(found[name], bool) and bool not in kinds):
                raise UsageError(f"{name} is {found[name]!r}, not a {kinds[-1].__name__}")
            options[name] = found[name]
    options["after"] = [_earlier(one, names) for one in _listed(found.get("after", []))]
    given = [name for name in ("shell", "command", "module") if name in found]
    if len(given) != 1:
        raise UsageError("a task is one of shell, command, and module with function")
    if given == ["shell"]:
        return Task.shell(str(found["shell"]), **options)
    if given == ["command"]:
        return Task.command(_listed(found["command"]), **options)
    if "function" not in found:
        raise UsageError("a module needs a function")
    return Task.call(
        str(found["module"]), str(found["function"]), found.get("args", ()), found.get("kwargs"), **options
    )


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError(f"{value!r} is not a list")
    return value


def _earlier(one: Any, names: Mapping[str, Task]) -> int | Task:
    if isinstance(one, int) and not isinstance(one, bool):
        return one
    if not isinstance(one, str) or one not in names:
        raise UsageError(f"it comes after {one!r}, which is no name of a task on a line before")
    return names[one]
