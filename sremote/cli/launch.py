"""``sremote launch``: start programs on many hosts, as a configuration file says; remote_runner's flags."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sremote.cli.options import State, common_options
from sremote.cli.output import print_json

if TYPE_CHECKING:
    from sremote.launcher.inspection import Inspection, Seen
    from sremote.launcher.options import LaunchOptions
    from sremote.launcher.plan import Plan

_FILE = click.Path(path_type=Path)
_ALL = "*"
"""What ``--logs`` stands for without a name."""
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@click.command()
@click.option("-c", "--config", type=_FILE, help="The configuration file.")
@click.option("-u", "--user", metavar="NAME", help="The user on hosts whose name says none.")
@click.option(
    "-p", "--pass", "password", metavar="TEXT", help="What ssh hosts ask for: password or passphrase. '-' asks you."
)
@click.option("-l", "--log-level", type=click.Choice(_LEVELS), default="INFO", help="How much to say; INFO by default.")
@click.option("--screen", metavar="NAME", default="runner", help="The launch's and its sessions' name; runner.")
@click.option("--no-kill", is_flag=True, help="Leave earlier launches of that name running.")
@click.option(
    "-t/ ",
    "--terminate/--no-terminate",
    default=True,
    help="Whether the others are stopped once those that are waited for have ended; they are.",
)
@click.option("--always-copy", is_flag=True, help="Send every file, whatever is there.")
@click.option("--no-zombie", is_flag=True, help="Close a window when its component has ended.")
@click.option("-m", "--muddler", type=_FILE, help="A Python file with muddle(config).")
@click.option("--extra-args", metavar="TEXT", help="Arguments for the arg parser; any text.")
@click.option("-a", "--arg-parser", type=_FILE, help="A Python file with parse_args(extra_args, ssh_user).")
@click.option("--remote-done-dir", metavar="DIR", help="A folder on each host for NAME.done files with exit statuses.")
@click.option("--max-hosts-at-once", metavar="N", type=int, default=32, help="Hosts to work on at the same time; 32.")
@click.option(
    "--multiplexer",
    type=click.Choice(["auto", "screen", "tmux", "none"]),
    default="auto",
    help="Where components run; the first that is there by default.",
)
@click.option("--grace", metavar="SECONDS", type=float, default=5.0, help="Between SIGTERM and SIGKILL; 5.")
@click.option("--dry-run", is_flag=True, help="Show the plan, and do nothing.")
@click.option("--status", is_flag=True, help="Show how the components of the latest launch are.")
@click.option("--stop", is_flag=True, help="Stop the latest launch, with its sessions.")
@click.option("--logs", metavar="[NAME]", is_flag=False, flag_value=_ALL, help="Show what components have printed.")
@click.option("-f", "--follow", is_flag=True, help="Stay until all components have ended; with --logs, too.")
@click.option("--attach", metavar="NAME", help="Show a component's window on this terminal.")
@common_options
@click.pass_obj
@click.pass_context
def launch(ctx: click.Context, state: State, /, **given: Any) -> None:
    """Start programs on many hosts, with their files, in order, each in a window of screen or tmux.

    \b
    sremote launch -c config.py              # start what it describes
    sremote launch -c config.py --dry-run    # the plan: hosts, files, order, commands
    sremote launch --status                  # of the latest launch; also --logs, --stop
    sremote launch --attach NAME             # see a component's window and type to it

    Without -c, --status, --stop, --logs and --attach are about the latest launch
    begun here, or the one called --screen.
    """
    status = _launch(state, given)
    ctx.exit(status)


def _launch(state: State, given: dict[str, Any]) -> int:
    _set_log_level(given["log_level"])
    modes = [mode for mode in ("dry_run", "status", "stop", "logs", "attach") if given[mode]]
    if len(modes) > 1:
        raise click.UsageError(f"Give one of {' and '.join('--' + mode.replace('_', '-') for mode in modes)}.")
    options = _options(given)
    plan = _plan(given["config"], options) if given["config"] else None
    if modes and modes != ["dry_run"]:
        from sremote.launcher.inspection import inspect

        with inspect(options, plan.hosts if plan else None) as inspection:
            return _inspect(state, inspection, modes[0], given)
    if plan is None:
        raise click.UsageError("Missing option '-c' / '--config'.")
    if given["dry_run"]:
        return _show_plan(state, plan)
    return _run(state, plan, given)


def _options(given: dict[str, Any]) -> LaunchOptions:
    from sremote.launcher.options import LaunchOptions

    names = (
        "user", "screen", "terminate", "always_copy", "muddler", "extra_args", "arg_parser", "remote_done_dir",
        "log_level", "max_hosts_at_once", "multiplexer", "grace",
    )  # fmt: skip
    password = given["password"]
    if password == "-":  # noqa: S105  # not one
        password = click.prompt("Password", hide_input=True, err=True)
    return LaunchOptions(
        password=password,
        kill_first=not given["no_kill"],
        zombie=not given["no_zombie"],
        **{name: given[name] for name in names},
    )


def _plan(config: Path, options: LaunchOptions) -> Plan:
    from sremote.launcher.plan import make_plan
    from sremote.launcher.user_files import load_configuration

    with contextlib.redirect_stdout(sys.stderr):  # what the user's files print is not the answer
        found = load_configuration(config, options)
    return make_plan(found, options, config.expanduser().resolve().parent)


def _set_log_level(level: str) -> None:
    logger = logging.getLogger("sremote")
    if level != "INFO":
        logger.setLevel(level)
    if level == "DEBUG" and not logger.handlers:
        logger.addHandler(logging.StreamHandler())


def _show_plan(state: State, plan: Plan) -> int:
    from sremote.cli.launch_output import print_plan

    if state.json:
        print_json(plan.to_json())
    else:
        print_plan(plan)
    return 0


def _run(state: State, plan: Plan, given: dict[str, Any]) -> int:
    from sremote.cli.launch_output import ConsoleReporter, print_result
    from sremote.launcher.launch import Launch
    from sremote.launcher.reporter import Reporter

    quiet = _LEVELS.index(given["log_level"]) > _LEVELS.index("INFO")
    reporter = Reporter() if state.json else ConsoleReporter([each.name for each in plan.components], quiet=quiet)
    running = Launch(plan, reporter, follow=given["follow"])
    try:
        running.run()
    except KeyboardInterrupt:
        if not state.json:
            print_result(running.result)
            raise
        print_json(running.result.to_json())
    finally:
        if isinstance(reporter, ConsoleReporter):
            reporter.close()
    if state.json:
        print_json(running.result.to_json())
    else:
        print_result(running.result)
    return running.result.exit_status


def _inspect(state: State, inspection: Inspection, mode: str, given: dict[str, Any]) -> int:
    if mode == "attach":
        return _attach(state, inspection.component(given["attach"]))
    if mode == "stop":
        stopped = inspection.stop()
        if state.json:
            print_json({"stopped": stopped, "errors": _errors(inspection)})
        else:
            click.echo(f"Stopped {', '.join(stopped)}." if stopped else "Nothing was running.")
    elif mode == "logs":
        _show_logs(state, inspection, given["logs"], follow=given["follow"])
    else:
        from sremote.cli.launch_output import print_components

        found = [each.result for each in inspection.components()]
        if state.json:
            print_json({"components": [each.to_json() for each in found], "errors": _errors(inspection)})
        else:
            print_components(found)
    if not state.json:
        inspection.raise_errors()
    return next((error.exit_status for error in inspection.errors.values()), 0)


def _errors(inspection: Inspection) -> dict[str, str]:
    return {host: error.message for host, error in inspection.errors.items()}


def _show_logs(state: State, inspection: Inspection, name: str, *, follow: bool) -> None:
    from sremote.cli.launch_output import Collector, ConsoleReporter

    chosen = inspection.components() if name == _ALL else [inspection.component(name)]
    if state.json:
        collector = Collector()
        inspection.print_logs(chosen, collector, follow=follow)
        print_json({"logs": collector.lines})
        return
    reporter = ConsoleReporter([each.result.name for each in chosen], prefix=name == _ALL)
    inspection.print_logs(chosen, reporter, follow=follow)


def _attach(state: State, seen: Seen) -> int:
    from sremote.errors import UsageError
    from sremote.launcher.attach import attach

    if not seen.attach:
        raise UsageError(
            f"{seen.result.name} has no window on {seen.result.host}",
            f"See what it prints: sremote launch --logs {seen.result.name} -f",
        )
    if state.json:
        print_json({"host": seen.result.host, "command": list(seen.attach)})
        return 0
    return attach(seen.link.client.host, seen.attach)
