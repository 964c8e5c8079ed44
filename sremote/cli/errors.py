"""The one place where an error becomes a message and an exit status."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from sremote.cli.options import State
from sremote.cli.output import print_json
from sremote.errors import RemoteContext, SremoteError

FAILED = 1
USAGE = 2


class Stopped(KeyboardInterrupt):
    """A signal that ends the program as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def report(error: BaseException, words: Sequence[str], state: State, color: bool | None) -> int:
    """Say what went wrong, on stderr or as JSON on stdout; return the exit status.

    ``words`` is the command line: it tells whether JSON was asked for where the
    line itself was wrong.
    """
    try:
        return _report(error, words, state, color)
    except BrokenPipeError:
        # What Python's own exit would flush has nowhere to go either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _status_of(signal.SIGPIPE)


def _report(error: BaseException, words: Sequence[str], state: State, color: bool | None) -> int:
    if getattr(error, "remote", None) is None:
        if isinstance(error, Stopped):
            return _status_of(error.number)
        if isinstance(error, KeyboardInterrupt | click.Abort):
            click.echo("", err=True)
            return _status_of(signal.SIGINT)
        if isinstance(error, BrokenPipeError):
            raise error
    description = describe(error)
    if state.json or (isinstance(error, click.UsageError) and _asks_for_json(words)):
        print_json({"error": description})
    else:
        _print_error(error, description, state, color)
    status: int = description["exit_status"]
    return status


def _status_of(number: int) -> int:
    """Return the exit status of a program that a signal ended, as shells have it."""
    return 128 + number


def describe(error: BaseException) -> dict[str, Any]:
    """Return an error as plain data: type, message, remedy, exit_status, and what it had from the host."""
    remedy: str | None = None
    remote: RemoteContext | None = getattr(error, "remote", None)
    if isinstance(error, SremoteError):
        message, remedy, status = error.message, error.remedy, error.exit_status
    elif isinstance(error, click.ClickException):
        message, status = error.format_message(), error.exit_code
        if isinstance(error, click.UsageError) and error.ctx is not None:
            remedy = f"Type: {error.ctx.command_path} --help"
    elif remote is not None:
        message, status = str(error), FAILED
    elif isinstance(error, OSError) and error.filename is not None:
        message, status = f"{error.filename}: {error.strerror}", USAGE
    else:
        message, status = f"sremote has a fault: {type(error).__name__}: {error}", FAILED
        remedy = "Run it again with -vv and report what that shows."
    described = {"type": type(error).__name__, "message": message, "remedy": remedy, "exit_status": status}
    if remote is not None:
        described |= {name: getattr(remote, name) for name in ("host", "job_id", "traceback", "stdout", "stderr")}
    elif hasattr(error, "job_id"):
        described["job_id"] = error.job_id
    return described


def _asks_for_json(words: Sequence[str]) -> bool:
    return "--json" in words[: words.index("--") if "--" in words else None]


def _print_error(error: BaseException, description: dict[str, Any], state: State, color: bool | None) -> None:
    if state.verbosity > 1 and "traceback" not in description:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    if description.get("traceback"):
        click.echo(description["traceback"].rstrip("\n"), err=True)
    message = description["message"]
    if not isinstance(error, SremoteError) and "traceback" in description:
        message = f"{description['type']}: {message} (raised on {description['host']})"
    click.echo(f"{click.style('sremote:', fg='red', bold=True)} {message}", err=True, color=color)
    if description["remedy"]:
        click.echo(f"  {description['remedy']}", err=True)
