"""What ``sremote launch`` shows: the plan, what happens, and how it went."""

from __future__ import annotations

import datetime
import shlex
import sys
import threading
from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import click

from sremote.launcher.plan import where
from sremote.launcher.reporter import Reporter, counted
from sremote.launcher.result import ComponentResult, LaunchResult
from sremote.sizes import as_size

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from sremote.launcher.plan import Plan
    from sremote.tree_progress import Progress

_NAME_COLORS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")
_STATE_COLORS = {"succeeded": "green", "running": "cyan", "stopped": "yellow", "failed": "red", "unknown": "red"}


class ConsoleReporter(Reporter):
    """Shows output on stdout, with each component's name in front; all else on stderr."""

    def __init__(self, names: Sequence[str], *, quiet: bool = False, prefix: bool = True) -> None:
        self._colors = dict(zip(names, cycle(_NAME_COLORS), strict=False))
        self._width = max(map(len, names), default=0)
        self._quiet = quiet
        self._prefix = prefix
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def stage(self, text: str) -> None:
        """Say what is done next."""
        self.close()
        if not self._quiet:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """Say what is out of order."""
        click.echo(click.style(f"sremote: {text}", fg="yellow"), err=True)

    def copying(self, host: str, progress: Progress) -> None:
        """Draw a bar for the host, on a terminal."""
        if self._quiet or not sys.stderr.isatty():
            return
        with self._lock:
            if self._bars is None:
                self._bars = _bars()
                self._bars.start()
            if host not in self._tasks:
                self._tasks[host] = self._bars.add_task(host, total=None)
            self._bars.update(self._tasks[host], total=progress.bytes, completed=progress.bytes_done)

    def copied(self, host: str, files: int, unchanged: int) -> None:
        """Say what has been copied."""
        self.stage(f"{where(host)}: {counted(files, 'file')} sent, {unchanged} unchanged.")

    def output(self, component: ComponentResult, line: str) -> None:
        """Show a line of output."""
        if self._prefix:
            name = click.style(f"{component.name:<{self._width}} |", fg=self._colors[component.name])
            line = f"{name} {line}" if line else name
        click.echo(line)

    def ended(self, component: ComponentResult, last_lines: Sequence[str]) -> None:
        """Say how a component has ended; of one that failed, show the last lines."""
        if component.state != "failed":
            if not self._quiet:
                click.echo(f"{component.name} on {where(component.host)}: {component.state}", err=True)
            return
        said = f"sremote: {component.name} on {where(component.host)} has failed: {component.how}"
        click.echo(click.style(said, fg="red"), err=True)
        for line in last_lines:
            click.echo(f"    {line}", err=True)

    def close(self) -> None:
        """Take the bars away."""
        with self._lock:
            bars, self._bars = self._bars, None
            self._tasks.clear()
        if bars is not None:
            bars.stop()


class Collector(Reporter):
    """Keeps the lines of output by component."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}

    def output(self, component: ComponentResult, line: str) -> None:
        """Keep a line."""
        self.lines.setdefault(component.name, []).append(line)


def print_plan(plan: Plan) -> None:
    """Show hosts, files with sizes, order and exact commands."""
    components, hosts = counted(len(plan.components), "component"), counted(len(plan.hosts), "host")
    click.echo(f"{plan.options.screen}: {components} on {hosts}")
    for host in plan.hosts:
        files = [file for each in plan.on(host) for file in each.files]
        size = as_size(sum(file.size or 0 for file in files))
        click.echo(f"\n{where(host)}: {counted(len(files), 'file')}, {size}")
        for file in files:
            what = "folder" if file.size is None else as_size(file.size)
            click.echo(f"    {file.source} -> {file.destination}  ({what}, mode {file.mode:04o})")
    for stage in plan.stages():
        click.echo(f"\nstart_index {stage[0].start_index}:")
        for each in stage:
            notes = [
                f"in {each.base_dir or 'a temporary folder'}",
                *(["waited for"] if each.wait else []),
                *([f"ready with {each.ready}"] if each.ready else []),
                *([f"on failure {each.on_failure}"] if each.on_failure != "continue" else []),
            ]
            click.echo(f"    {each.name} on {where(each.host)}, {', '.join(notes)}")
            click.echo(f"        {shlex.join(each.argv)}")


def print_result(result: LaunchResult) -> None:
    """Show how a launch fared."""
    times = result.times
    print_components(result.components)
    seconds = times.get("ended", 0.0) - times.get("begun", 0.0)
    failed = [each.name for each in result.components if each.state == "failed"]
    words = f"{len(failed)} failed: {', '.join(failed)}" if failed else result.outcome
    click.echo(f"{result.name}: {words}, after {seconds:.1f} s.", err=True)


def print_components(components: Sequence[ComponentResult]) -> None:
    """Show a table of components."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("component", "host", "state", "how", "started", "lasted", "window"):
        table.add_column(title, overflow="fold")
    for each in components:
        restarts = f"restarted {each.restarts} times" if each.restarts else ""
        table.add_row(
            Text(each.name),
            Text(where(each.host)),
            Text(each.state, style=_STATE_COLORS.get(each.state, "")),
            Text(", ".join(filter(None, (each.how, restarts)))),
            _clock(each.started),
            f"{each.ended - each.started:.1f} s" if each.started and each.ended else "",
            Text(each.window or ""),
        )
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


def _clock(seconds: float | None) -> str:
    return "" if seconds is None else datetime.datetime.fromtimestamp(seconds).strftime("%H:%M:%S")


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Bars(*columns, console=Console(stderr=True), transient=True)
