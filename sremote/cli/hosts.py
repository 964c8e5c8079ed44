"""``sremote hosts``: the short names of the hosts file."""

from __future__ import annotations

from typing import Any

import click

from sremote.cli.options import State, common_options, host_argument, settings_options
from sremote.cli.output import print_json, print_table


@click.group(invoke_without_command=True)
@common_options
@click.pass_context
def hosts(ctx: click.Context) -> None:
    """Give hosts short names: list, show, add, remove."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_hosts)


@hosts.command("list")
@common_options
@click.pass_obj
def list_hosts(state: State) -> None:
    """List the hosts of the hosts file."""
    from sremote.hosts import hosts_file, read_hosts

    known = read_hosts()
    if state.json:
        print_json({"file": hosts_file(), "hosts": {name: settings.entries() for name, settings in known.items()}})
        return
    print_table([(name, settings.address) for name, settings in known.items()])
    if not known:
        click.echo(f"No hosts in {hosts_file()}. Add one: sremote hosts add NAME user@host", err=True)


@hosts.command()
@host_argument
@common_options
@click.pass_obj
def show(state: State, host: str) -> None:
    """Show what the hosts file says of HOST."""
    from sremote.hosts import no_such_host, read_hosts

    known = read_hosts()
    if host not in known:
        raise no_such_host(host, known)
    entries = known[host].entries()
    if state.json:
        print_json({"name": host, **entries})
    else:
        print_table(list(entries.items()))


@hosts.command()
@click.argument("name")
@click.argument("address")
@settings_options
@click.option("--trust", is_flag=True, help="Let what the host returns be any object; that can run code here.")
@click.option("--replace", is_flag=True, help="Replace the host of that name.")
@common_options
@click.pass_obj
def add(state: State, /, name: str, address: str, replace: bool, **given: Any) -> None:
    """Call the host at ADDRESS by NAME from now on.

    \b
    sremote hosts add cluster user@login.example.org --root /scratch/user/.sremote
    sremote hosts add lab openssh://lab7 --option key_file=~/.ssh/id_lab
    """
    from sremote.hosts import HostSettings, add_host, hosts_file

    settings = HostSettings(address).override(**given)
    add_host(name, settings, replace=replace)
    if state.json:
        print_json({"file": hosts_file(), "name": name, **settings.entries()})
    else:
        click.echo(f"{name} is {address} now. See whether it works: sremote doctor {name}")


@hosts.command()
@host_argument
@common_options
@click.pass_obj
def remove(state: State, host: str) -> None:
    """Take HOST out of the hosts file."""
    from sremote.hosts import hosts_file, remove_host

    remove_host(host)
    if state.json:
        print_json({"file": hosts_file(), "name": host})
    else:
        click.echo(f"{host} is no longer in {hosts_file()}; nothing on the host itself was changed.")
