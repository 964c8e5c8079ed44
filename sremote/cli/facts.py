"""``sremote facts``: what a host is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sremote.cli.options import State, common_options, host_options
from sremote.cli.output import print_json, print_table, to_json

if TYPE_CHECKING:
    from sremote.hosts import HostSettings


@click.command()
@host_options
@common_options
@click.pass_obj
def facts(state: State, settings: HostSettings) -> None:
    """Show what HOST is: its Python, platform, home, scheduler, file system and space."""
    from sremote.cli.client import connect

    with connect(settings) as client:
        found = to_json(client.facts())
    if state.json:
        print_json(found)
    else:
        print_table([(key.replace("_", " "), value) for key, value in found.items()])
