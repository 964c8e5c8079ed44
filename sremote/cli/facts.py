"""``sremote facts``: what a host is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sremote.cli.options import State, common_options, host_options
from sremote.cli.output import print_json, print_table, to_json
from sremote.sizes import as_size

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
        found = client.facts()
    if state.json:
        print_json(to_json(found))
    else:
        print_table([(key.replace("_", " "), _shown(key, value)) for key, value in vars(found).items()])


def _shown(key: str, value: object) -> object:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ".".join(map(str, value))
    return as_size(value) if key in ("memory", "free_bytes") and isinstance(value, int) else value
