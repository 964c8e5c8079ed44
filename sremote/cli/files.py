"""``sremote push`` and ``sremote pull``: copy files to and from a host."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from sremote.cli.options import State, common_options, host_options
from sremote.cli.output import print_json

if TYPE_CHECKING:
    from sremote.hosts import HostSettings
    from sremote.tree_progress import Progress, ProgressCallback

    Command = Callable[..., None]


def copy_options(command: Command) -> Command:
    """Give a command the options of ``push`` and ``pull``."""
    for option in (
        click.option("--compress/--no-compress", default=None, help="Compress; default: where the line is slow."),
        click.option("--delete", is_flag=True, help="Remove what is in the target's folders and not in the source's."),
        click.option("--always-copy", is_flag=True, help="Send every file, whatever is there."),
    ):
        command = option(command)
    return command


@click.command()
@host_options
@click.argument("local", type=click.Path(exists=True))
@click.argument("remote")
@copy_options
@common_options
@click.pass_obj
def push(state: State, /, settings: HostSettings, local: str, remote: str, **how: Any) -> None:
    """Copy LOCAL to REMOTE on HOST; a relative REMOTE starts at the home directory there.

    Only what differs is sent.
    """
    from sremote.cli.client import connect

    with connect(settings) as client, _progress(state) as progress:
        copied = client.push(local, remote, progress=progress, **how)
    if state.json:
        print_json({"local": local, "remote": remote, "files": copied.files, "unchanged": copied.unchanged})


@click.command()
@host_options
@click.argument("remote")
@click.argument("local", type=click.Path())
@copy_options
@common_options
@click.pass_obj
def pull(state: State, /, settings: HostSettings, remote: str, local: str, **how: Any) -> None:
    """Copy REMOTE on HOST to LOCAL; a relative REMOTE starts at the home directory there.

    Only what differs is sent.
    """
    from sremote.cli.client import connect

    with connect(settings) as client, _progress(state) as progress:
        copied = client.pull(remote, local, progress=progress, **how)
    if state.json:
        print_json({"remote": remote, "local": local, "files": copied.files, "unchanged": copied.unchanged})


@contextlib.contextmanager
def _progress(state: State) -> Iterator[ProgressCallback | None]:
    """Give what draws a bar: on a terminal only."""
    if state.json or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(progress: Progress) -> None:
            bar.update(task, total=progress.bytes, completed=progress.bytes_done, description=escape(progress.path))

        yield show
