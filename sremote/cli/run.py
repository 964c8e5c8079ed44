"""``sremote run``: run one command on a host."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

import click

from sremote.cli.options import State, common_options, host_options, pairs
from sremote.cli.output import as_text, print_json

if TYPE_CHECKING:
    from sremote.hosts import HostSettings


class _Run(click.Command):
    """A command that takes another: behind HOST, options are its own only up to a ``--``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = False
        found, _, _ = self.make_parser(ctx).parse_args(list(args))
        behind = found.get("argv")
        if isinstance(behind, list | tuple) and behind and behind[0].startswith("-"):
            if "--" not in behind:
                raise click.UsageError("Options behind HOST need -- and then the command.", ctx)
            dashes = behind.index("--")
            host = len(args) - len(behind) - 1
            args = [*args[:host], *behind[:dashes], "--", args[host], *behind[dashes + 1 :]]
        return super().parse_args(ctx, args)


@click.command(cls=_Run)
@host_options
@click.argument("argv", metavar="[--] COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--timeout", metavar="SECONDS", type=float, help="Give up after that long; no limit by default.")
@click.option("--env", metavar="KEY=VALUE", multiple=True, help="Set an environment variable there; repeatable.")
@click.option("--cwd", metavar="DIR", help="The folder to run in, there.")
@click.option("--stdin", "with_stdin", is_flag=True, help="Give the command this program's standard input.")
@common_options
@click.pass_obj
@click.pass_context
def run(
    ctx: click.Context,
    state: State,
    settings: HostSettings,
    argv: tuple[str, ...],
    timeout: float | None,
    env: tuple[str, ...],
    cwd: str | None,
    with_stdin: bool,
) -> None:
    """Run COMMAND on HOST, word for word: no shell reads it.

    Its output is shown as it comes. The exit status is 0 or 1; --json tells the
    command's own. Options stand before HOST, or before the --.

    \b
    sremote run cluster -- ls -l /scratch
    sremote run cluster -- sh -c 'du -sh * | sort -h'
    """
    from sremote.cli.client import connect

    with connect(settings) as client:
        result = client.run(
            argv,
            timeout=timeout,
            env=pairs(env, "--env"),
            cwd=cwd,
            stdin=sys.stdin.buffer.read() if with_stdin else b"",
            echo=_pass_on if not state.json else False,
        )
    if state.json:
        print_json({"status": result.status, "stdout": as_text(result.stdout), "stderr": as_text(result.stderr)})
        ctx.exit(1 if result.status else 0)
    if result.status:
        click.echo(f"sremote: {argv[0]} ended with exit status {result.status} (on {settings.name})", err=True)
        ctx.exit(1)


def _pass_on(stream: Literal["stdout", "stderr"], data: bytes) -> None:
    target = (sys.stdout if stream == "stdout" else sys.stderr).buffer
    target.write(data)
    target.flush()
