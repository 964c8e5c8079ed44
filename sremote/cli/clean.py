"""``sremote clean``: see and remove what old calls and clients have left on a host."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from sremote.cli.options import State, common_options, host_options
from sremote.cli.output import print_json, to_json

if TYPE_CHECKING:
    from sremote.answers import Leftover
    from sremote.hosts import HostSettings

_KEPT = ("running", "unknown")
"""States of jobs that may be running; they are never removed."""


@click.command()
@host_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would go, and remove nothing.")
@common_options
@click.pass_obj
def clean(state: State, settings: HostSettings, yes: bool, dry_run: bool) -> None:
    """Show what old calls and clients have left on HOST, and remove it.

    Jobs that may be running stay. A finished job whose result nobody has
    fetched goes with the rest.
    """
    from sremote.cli.client import connect

    with connect(settings) as client:
        leftovers = client.leftovers()
        doomed = [each for each in leftovers if each.state not in _KEPT]
        if not state.json:
            _print_leftovers(leftovers)
        removed = client.clean(doomed) if doomed and not dry_run and (yes or _agrees(state, len(doomed))) else []
    if state.json:
        print_json({"leftovers": [to_json(each) for each in leftovers], "removed": removed})
    elif doomed and not dry_run:
        click.echo(f"Removed {len(removed)} of {len(leftovers)}.")


def _agrees(state: State, count: int) -> bool:
    if state.json or not sys.stdin.isatty():
        raise click.UsageError("Nobody is here to ask: give --yes to remove, or --dry-run to look.")
    return click.confirm(f"Remove {count}?", default=False, err=True)


def _print_leftovers(leftovers: list[Leftover]) -> None:
    if not leftovers:
        click.echo("Nothing is left there.")
    from sremote.sizes import as_size

    width = max((len(each.path) for each in leftovers), default=0)
    for each in leftovers:
        age = f"{each.age / 3600:.1f} h old"
        stays = ", stays" if each.state in _KEPT else ""
        click.echo(f"{each.path:<{width}}  {each.kind}, {each.state}{stays}, {age}, {as_size(each.bytes)}")
