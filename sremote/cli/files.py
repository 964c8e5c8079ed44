"""``sremote push`` and ``sremote pull``: copy files to and from a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sremote.cli.options import State, common_options, host_options
from sremote.cli.output import print_json

if TYPE_CHECKING:
    from sremote.hosts import HostSettings


@click.command()
@host_options
@click.argument("local", type=click.Path(exists=True))
@click.argument("remote")
@common_options
@click.pass_obj
def push(state: State, settings: HostSettings, local: str, remote: str) -> None:
    """Copy LOCAL to REMOTE on HOST; a relative REMOTE starts at the home directory there."""
    from sremote.cli.client import connect

    with connect(settings) as client:
        client.push(local, remote)
    if state.json:
        print_json({"local": local, "remote": remote})


@click.command()
@host_options
@click.argument("remote")
@click.argument("local", type=click.Path())
@common_options
@click.pass_obj
def pull(state: State, settings: HostSettings, remote: str, local: str) -> None:
    """Copy REMOTE on HOST to LOCAL; a relative REMOTE starts at the home directory there."""
    from sremote.cli.client import connect

    with connect(settings) as client:
        client.pull(remote, local)
    if state.json:
        print_json({"remote": remote, "local": local})
