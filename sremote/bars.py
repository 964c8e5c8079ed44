"""Bars on a terminal that show how far jobs have got."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from sremote.job_status import Progress


class Bars:
    """A bar for each of several names, on stderr; each appears once something is known of it."""

    def __init__(self, display: RichProgress) -> None:
        self._display = display
        self._tasks: dict[str, TaskID] = {}

    def show(self, name: str, progress: Progress | None) -> None:
        """Draw how far ``name`` has got."""
        from rich.markup import escape

        if progress is None:
            return
        if name not in self._tasks:
            self._tasks[name] = self._display.add_task(escape(name), total=progress.total, message="")
        self._display.update(
            self._tasks[name], completed=progress.done, total=progress.total, message=escape(progress.message)
        )

    def end(self, name: str) -> None:
        """Take the bar of ``name`` away."""
        task = self._tasks.pop(name, None)
        if task is not None:
            self._display.remove_task(task)

    def print(self, text: str) -> None:
        """Print a piece of text above the bars."""
        self._display.console.print(text, markup=False, highlight=False, end="", soft_wrap=True)


@contextlib.contextmanager
def bars(*, wanted: bool = True) -> Iterator[Bars | None]:
    """Give what draws bars while the block runs; None where stderr is not a terminal, or they are not wanted."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}"),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as display:
        yield Bars(display)
