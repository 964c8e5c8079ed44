"""``sremote submit``: have a function called or a command run as a job that needs nobody to wait for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from sremote.cli.call import keywords_of
from sremote.cli.options import State, common_options, host_options, json_or_text, pairs
from sremote.cli.output import print_json

if TYPE_CHECKING:
    from sremote.hosts import HostSettings


class _Submit(click.Command):
    """A command that takes a function with arguments, or, right behind HOST and ``--``, another command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = args[: args.index("--")] if "--" in args else list(args)
        found, _, _ = self.make_parser(ctx).parse_args(list(before))
        named = found.get("words")
        is_command = "--" in args and not (isinstance(named, list | tuple) and named)
        rest = super().parse_args(ctx, args)
        words = ctx.params.get("words", ())
        ctx.params["is_command"] = is_command
        if not is_command:
            for text in words:
                if text.startswith("-") and text in before and isinstance(json_or_text(text), str):
                    raise click.NoSuchOption(text, ctx=ctx)
            if len(words) < 2:
                raise click.UsageError("Give MODULE and FUNCTION, or -- and a command.", ctx)
        return rest


def _seconds(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    from sremote.schedulers.resources import read_resources

    return None if text is None else read_resources({"walltime": text}).walltime


@click.command(cls=_Submit, context_settings={"ignore_unknown_options": True})
@host_options
@click.argument("words", metavar="(MODULE FUNCTION [ARG]... | -- COMMAND...)", nargs=-1, type=click.UNPROCESSED)
@click.option("--kwargs", metavar="JSON", help="The function's keyword arguments, as a JSON object.")
@click.option("--walltime", metavar="TIME", callback=_seconds, help="Stop it after that long: seconds, 90m, 1:30:00.")
@click.option("--retries", metavar="N", type=int, default=0, help="Try it again up to N times if it fails.")
@click.option("--scheduler", metavar="NAME", help="Have that batch system run it: slurm, pbs, lsf, sge, flux or auto.")
@click.option(
    "--resource",
    "resources",
    metavar="KEY=VALUE",
    multiple=True,
    help="What it asks of the batch system: nodes, tasks, cores, memory, gpus, queue, account, after; repeatable.",
)
@click.option("--env", metavar="KEY=VALUE", multiple=True, help="Set an environment variable there; repeatable.")
@click.option("--cwd", metavar="DIR", help="The folder to run in, there.")
@click.option(
    "--file", "files", metavar="PATH", multiple=True, help="Copy it to the command's own folder first; repeatable."
)
@click.option(
    "--output", "outputs", metavar="PATTERN", multiple=True, help="A file that the command makes there; repeatable."
)
@click.option("--stdin", "with_stdin", is_flag=True, help="Give the command this program's standard input.")
@common_options
@click.pass_obj
def submit(
    state: State,
    /,
    settings: HostSettings,
    words: tuple[str, ...],
    is_command: bool,
    kwargs: str | None,
    walltime: float | None,
    env: tuple[str, ...],
    cwd: str | None,
    resources: tuple[str, ...],
    files: tuple[str, ...],
    outputs: tuple[str, ...],
    with_stdin: bool,
    **how: Any,
) -> None:
    """Have HOST call a function or run a command, and do not wait for it; print the job's id.

    The job goes on whatever becomes of this machine. ARGs are as for call,
    COMMAND as for run.

    \b
    sremote submit cluster simulation run '{"steps": 1000000}'
    sremote submit cluster --walltime 2h --file input.dat --output '*.csv' -- ./simulate input.dat
    """
    keywords = keywords_of(kwargs)
    how |= {"walltime": walltime, "env": pairs(env, "--env"), "cwd": cwd}
    how["resources"] = pairs(resources, "--resource") or None
    if not is_command and (files or outputs or with_stdin):
        raise click.UsageError("--file, --output and --stdin are for commands.")
    if is_command and kwargs is not None:
        raise click.UsageError("--kwargs is for functions.")
    from sremote.cli.client import connect

    with connect(settings) as client:
        if is_command:
            stdin = sys.stdin.buffer.read() if with_stdin else b""
            job = client.submit_command(words, stdin=stdin, files=files, outputs=outputs, **how)
        else:
            arguments = [json_or_text(text) for text in words[2:]]
            job = client.submit(words[0], words[1], arguments, keywords, **how)
    if state.json:
        record = job.record
        found = {"id": job.id, "host": job.host, "target": job.target, "scheduler": record.scheduler}
        print_json(found | {"batch_id": record.batch_id})
    else:
        click.echo(job.id)
