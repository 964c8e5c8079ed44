"""``sremote doctor``: what is wrong on the way to a host, and what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sremote.cli.options import State, common_options, host_options
from sremote.cli.output import print_json

if TYPE_CHECKING:
    from sremote.connectors.check import Check
    from sremote.hosts import HostSettings

_COLORS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "bright_black"}
_NAME_WIDTH = 22


@click.command()
@host_options
@common_options
@click.pass_obj
@click.pass_context
def doctor(ctx: click.Context, state: State, settings: HostSettings) -> None:
    """Try every step of the way to a call on HOST, and say what mends those that fail.

    Nothing is installed or changed there.
    """
    from sremote.doctor import examine

    checks = []
    for check in examine(settings):
        checks.append(check)
        if not state.json:
            _print_check(check)
    status = next((check.exit_status for check in checks if check.state == "failed"), 0)
    if state.json:
        steps = [
            {"name": check.name, "state": check.state, "detail": check.detail, "mend": check.mend or None}
            for check in checks
        ]
        print_json({"host": settings.name, "ok": status == 0, "exit_status": status, "checks": steps})
    ctx.exit(status)


def _print_check(check: Check) -> None:
    state = click.style(f"{check.state:<8}", fg=_COLORS[check.state])
    click.echo(f"{state} {check.name:<{_NAME_WIDTH}} {check.detail}")
    if check.mend:
        click.echo(f"{'':<9}{'':<{_NAME_WIDTH}} {check.mend}")
