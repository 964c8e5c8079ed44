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


@click.command()
@host_options
@click.option("--unfetched", is_flag=True, help="Also submitted jobs whose results nobody has fetched.")
@click.option("--results", is_flag=True, help="Also the results of its jobs that were fetched and are kept here.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would go, and remove nothing.")
@common_options
@click.pass_obj
def clean(state: State, settings: HostSettings, yes: bool, dry_run: bool, unfetched: bool, results: bool) -> None:
    """Show what old calls and clients have left on HOST, and remove it.

    Jobs that may be running stay, and so do those that were submitted and whose
    results nobody has fetched.
    """
    from sremote.cli.client import connect
    from sremote.index import index

    with connect(settings) as client:
        leftovers = client.leftovers()
        doomed = [each for each in leftovers if not each.is_wanted or (unfetched and each.state == "unfetched")]
        kept = [job for job in client.jobs() if job.record.fetched] if results else []
        if not state.json:
            _print_leftovers(leftovers, doomed)
            for job in kept:
                click.echo(f"{job.id}  result kept here: {job.target}")
        count = len(doomed) + len(kept)
        agreed = count > 0 and not dry_run and (yes or _agrees(state, count))
        removed = client.clean(doomed) if agreed and doomed else []
    if agreed and kept:
        index().remove([job.id for job in kept])
        removed += [job.id for job in kept]
    if state.json:
        print_json({"leftovers": [to_json(each) for each in leftovers], "removed": removed})
    elif count and not dry_run:
        click.echo(f"Removed {len(removed)} of {len(leftovers) + len(kept)}.")


def _agrees(state: State, count: int) -> bool:
    if state.json or not sys.stdin.isatty():
        raise click.UsageError("Nobody is here to ask: give --yes to remove, or --dry-run to look.")
    return click.confirm(f"Remove {count}?", default=False, err=True)


def _print_leftovers(leftovers: list[Leftover], doomed: list[Leftover]) -> None:
    if not leftovers:
        click.echo("Nothing is left there.")
    from sremote.sizes import as_size

    width = max((len(each.path) for each in leftovers), default=0)
    for each in leftovers:
        age = f"{each.age / 3600:.1f} h old"
        stays = "" if each in doomed else ", stays"
        click.echo(f"{each.path:<{width}}  {each.kind}, {each.state}{stays}, {age}, {as_size(each.bytes)}")
