"""The options that commands share: ``--json``, ``-v``, and how to reach a host."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

Command = Callable[..., Any]


@dataclass
class State:
    """What the common options say, wherever on the line they stood."""

    json: bool = False
    verbosity: int = 0


def common_options(command: Command) -> Command:
    """Give a command ``--json`` and ``-v``; they end up in the context's ``State``."""
    command = click.option(
        "--json", is_flag=True, expose_value=False, callback=_set_json, help="Print one JSON object and nothing else."
    )(command)
    return click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        callback=_set_verbosity,
        help="Say what is done; -vv says more.",
    )(command)


def _set_json(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    state = ctx.ensure_object(State)
    state.json = state.json or wanted


def _set_verbosity(ctx: click.Context, _: click.Parameter, count: int) -> None:
    state = ctx.ensure_object(State)
    if not count:
        return
    state.verbosity += count
    logger = logging.getLogger("sremote")
    logger.setLevel(logging.INFO if state.verbosity == 1 else logging.DEBUG)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(relativeCreated)6d ms  %(name)s: %(message)s"))
        logger.addHandler(handler)


def complete_host(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the hosts of the hosts file that begin with ``incomplete``."""
    from sremote.errors import UsageError
    from sremote.hosts import read_hosts

    try:
        names = [*read_hosts(), "local:"]
    except UsageError:
        return []
    return [name for name in names if name.startswith(incomplete)]


host_argument = click.argument("host", shell_complete=complete_host)

_SETTINGS = ("python", "root", "environment", "preamble", "login_env", "application", "via", "connector")
_HOST_OPTIONS = [
    click.option("--python", metavar="PATH", help="The Python to use there; looked for by default."),
    click.option("--root", metavar="DIR", help="sremote's directory there; ~/.sremote by default."),
    click.option("--environment", metavar="NAME", help="The installed environment to use."),
    click.option("--preamble", metavar="LINE", help="A line of shell to run first, such as 'module load python'."),
    click.option("--login-env/--no-login-env", default=None, help="Whether to use the login shell's environment."),
    click.option("--application", metavar="NAME", help="Use the installation that is shared for this application."),
    click.option("--via", metavar="HOST", help="A host on the way: what leads to this one runs there."),
    click.option(
        "--option",
        "connector",
        metavar="KEY=VALUE",
        multiple=True,
        callback=lambda _ctx, _param, texts: {
            key: json_or_text(value) for key, value in pairs(texts, "--option").items()
        },
        help="An option of the connector; repeatable.",
    ),
]


def settings_options(command: Command) -> Command:
    """Give a command the options that stand for the keys of ``HostSettings``, None where not given."""
    for option in reversed(_HOST_OPTIONS):
        command = option(command)
    return command


def host_options(command: Command) -> Command:
    """Give a command HOST and the options that override the hosts file; it gets ``settings``."""

    @functools.wraps(command)
    def with_settings(*args: Any, host: str, **kwargs: Any) -> Any:
        from sremote.hosts import find_host

        given = {name: kwargs.pop(name) for name in _SETTINGS}
        return command(*args, settings=find_host(host, **given), **kwargs)

    return host_argument(settings_options(with_settings))


def json_or_text(text: str) -> Any:
    """Return what ``text`` says as JSON, or ``text`` itself where it is not JSON."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """Read ``KEY=VALUE`` texts; a usage error names the option where one has no ``=``."""
    result = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=option)
        result[key] = value
    return result
