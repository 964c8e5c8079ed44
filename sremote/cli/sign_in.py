"""``sremote login`` and ``sremote logout``: one sign-in that later commands use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sremote.cli.options import State, common_options, host_options
from sremote.cli.output import print_json

if TYPE_CHECKING:
    from sremote.connectors.openssh import OpensshConnector
    from sremote.hosts import HostSettings


@click.command()
@host_options
@common_options
@click.pass_obj
def login(state: State, settings: HostSettings) -> None:
    """Sign in to HOST once, with whatever ssh asks for; later commands need no answer until logout.

    For hosts that want a one-time code. HOST is one that openssh:// reaches.
    """
    _connector(settings).login()
    if state.json:
        print_json({"host": settings.name, "signed_in": True})
    else:
        click.echo(f"Signed in to {settings.name}. To end that: sremote logout {settings.name}", err=True)


@click.command()
@host_options
@common_options
@click.pass_obj
def logout(state: State, settings: HostSettings) -> None:
    """End the sign-in to HOST that login made."""
    was_there = _connector(settings).logout()
    if state.json:
        print_json({"host": settings.name, "was_signed_in": was_there})
    else:
        click.echo(
            f"Signed out of {settings.name}." if was_there else f"There was no sign-in to {settings.name}.", err=True
        )


def _connector(settings: HostSettings) -> OpensshConnector:
    from sremote.connectors.address import parse_address
    from sremote.connectors.openssh import OpensshConnector
    from sremote.connectors.registry import make_connector
    from sremote.errors import UsageError

    address = parse_address(settings.address)
    connector = make_connector(address, **settings.connector)
    if not isinstance(connector, OpensshConnector):
        raise UsageError(
            f"{settings.name} is reached by {address.scheme}:, which keeps no sign-in",
            f"Reach it as openssh://{address.host or 'HOST'}.",
        )
    return connector
