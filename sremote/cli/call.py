"""``sremote call``: call one function on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sremote.cli.options import State, common_options, host_options, json_or_text, pairs
from sremote.cli.output import print_json, print_value

if TYPE_CHECKING:
    from sremote.hosts import HostSettings


class _Call(click.Command):
    """A command whose arguments may be negative numbers; what else begins with ``-`` is an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before_dashes = args[: args.index("--") if "--" in args else None]
        rest = super().parse_args(ctx, args)
        for text in ctx.params.get("arguments", ()):
            if text.startswith("-") and text in before_dashes and isinstance(json_or_text(text), str):
                raise click.NoSuchOption(text, ctx=ctx)
        return rest


@click.command(cls=_Call, context_settings={"ignore_unknown_options": True})
@host_options
@click.argument("module")
@click.argument("function")
@click.argument("arguments", metavar="[ARG]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--kwargs", metavar="JSON", help="Keyword arguments, as a JSON object.")
@click.option(
    "--timeout", metavar="SECONDS", type=float, help="Stop the function after that long; no limit by default."
)
@click.option("--env", metavar="KEY=VALUE", multiple=True, help="Set an environment variable there; repeatable.")
@click.option("--cwd", metavar="DIR", help="The folder to run in, there.")
@click.option("--no-echo", is_flag=True, help="Do not show what the function prints.")
@common_options
@click.pass_obj
def call(
    state: State,
    settings: HostSettings,
    module: str,
    function: str,
    arguments: tuple[str, ...],
    kwargs: str | None,
    timeout: float | None,
    env: tuple[str, ...],
    cwd: str | None,
    no_echo: bool,
) -> None:
    """Call FUNCTION of MODULE on HOST and print what it returns.

    An ARG is JSON where it parses as JSON, else text: 3 is a number, '"3"' is
    text, '[1, 2]' is a list. What begins with a dash and is no number goes
    behind --.

    \b
    sremote call local: math sqrt 2
    sremote call cluster numpy.linalg norm '[3, 4]' --kwargs '{"ord": 1}'
    """
    keywords = keywords_of(kwargs)
    environment = pairs(env, "--env")
    from sremote.cli.client import connect

    with connect(settings) as client:
        value = client.call(
            module,
            function,
            [json_or_text(text) for text in arguments],
            keywords,
            timeout=timeout,
            env=environment,
            cwd=cwd,
            echo=not no_echo and not state.json,
        )
        response = client.last_response
    if state.json:
        assert response is not None
        print_json({"value": value, "stdout": response.stdout, "stderr": response.stderr})
    else:
        print_value(value)


def keywords_of(text: str | None) -> dict[str, Any]:
    """Return what ``--kwargs`` says."""
    keywords = json_or_text(text) if text is not None else {}
    if not isinstance(keywords, dict):
        raise click.BadParameter(f"{text!r} is not a JSON object", param_hint="--kwargs")
    return keywords
