"""The command line: ``sremote COMMAND HOST …``.

A command's file is loaded when the command is asked for, and what it needs when
it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from sremote.cli.errors import Stopped, report
from sremote.cli.options import State, common_options

COMPLETION_VARIABLE = "_SREMOTE_COMPLETE"
"""Set by the completion scripts when they ask for the words that may follow."""

_COMMANDS = {
    "call": "sremote.cli.call:call",
    "run": "sremote.cli.run:run",
    "submit": "sremote.cli.submit:submit",
    "jobs": "sremote.cli.jobs:jobs",
    "status": "sremote.cli.jobs:status",
    "logs": "sremote.cli.watch:logs",
    "wait": "sremote.cli.watch:wait",
    "result": "sremote.cli.watch:result",
    "outputs": "sremote.cli.jobs:outputs",
    "cancel": "sremote.cli.jobs:cancel",
    "retry": "sremote.cli.jobs:retry",
    "push": "sremote.cli.files:push",
    "pull": "sremote.cli.files:pull",
    "queue": "sremote.cli.queue:queue",
    "install": "sremote.cli.install:install",
    "hosts": "sremote.cli.hosts:hosts",
    "doctor": "sremote.cli.doctor:doctor",
    "facts": "sremote.cli.facts:facts",
    "clean": "sremote.cli.clean:clean",
    "launch": "sremote.cli.launch:launch",
    "login": "sremote.cli.sign_in:login",
    "logout": "sremote.cli.sign_in:logout",
    "serve": "sremote.cli.serve:serve",
    "gateway": "sremote.cli.gateway:gateway",
    "completion": "sremote.cli.completion:completion",
}


class _Commands(click.Group):
    """A group that loads a command's file when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"sremote {version('sremote')}")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A HOST is user@host, local:, a URL such as openssh://host, or a name of the hosts file.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@common_options
def program() -> None:
    """Call Python, run commands and copy files on any machine you can reach.

    Exit status: 0 fine, 1 the function or command failed there, 2 usage, 3 the
    host cannot be reached or refuses the sign-in, 4 not installed or versions
    disagree, 5 it has not ended, or nobody can tell yet whether it ran.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with ``arguments`` (default: those of this process); return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if COMPLETION_VARIABLE in os.environ:
        from click.shell_completion import shell_complete

        return shell_complete(program, {}, "sremote", COMPLETION_VARIABLE, os.environ[COMPLETION_VARIABLE])
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    state = State()
    color = False if os.environ.get("NO_COLOR") else None
    try:
        with program.make_context("sremote", words, obj=state, color=color) as context:
            program.invoke(context)
        sys.stdout.flush()
        return 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except (Exception, KeyboardInterrupt) as error:
        return report(error, words, state, color)
    finally:
        logging.shutdown()


def _stop(number: int, _: FrameType | None) -> NoReturn:
    """End as Ctrl-C does: what is under way on a host is stopped and removed."""
    raise Stopped(number)
