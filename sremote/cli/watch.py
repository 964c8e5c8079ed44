"""``sremote logs``, ``wait`` and ``result``: what durable jobs print, their ends, and what came of them."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Literal

import click

from sremote.bars import bars
from sremote.cli.jobs import described, find_jobs, id_argument, ids_argument
from sremote.cli.options import State, common_options
from sremote.cli.output import print_json, print_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from sremote.bars import Bars
    from sremote.connectors.base import OutputSink
    from sremote.job_handle import Job
    from sremote.job_status import JobStatus


@click.command()
@id_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@common_options
@click.pass_obj
def logs(state: State, job_id: str, follow: bool) -> None:
    """Show what job ID has printed, on the streams that it printed it on."""
    (job,) = find_jobs((job_id,))
    if state.json:
        printed = {"stdout": bytearray(), "stderr": bytearray()}
        job.follow(lambda stream, data: printed[stream].extend(data), until_end=follow)
        texts = {stream: data.decode("utf-8", "backslashreplace") for stream, data in printed.items()}
        print_json({"id": job.id, **texts})
        return
    with bars(wanted=follow) as shown:
        if shown is None:
            job.follow(_pass_on, until_end=follow)
        else:
            job.follow(_above(shown), until_end=True, on_progress=lambda progress: shown.show(job.target, progress))


def _above(shown: Bars) -> OutputSink:
    """Return what prints a job's output above the bars: on stdout itself where that is no terminal."""
    from codecs import getincrementaldecoder

    decoders = {name: getincrementaldecoder("utf-8")("backslashreplace") for name in ("stdout", "stderr")}

    def sink(stream: Literal["stdout", "stderr"], data: bytes) -> None:
        if stream == "stdout" and not sys.stdout.isatty():
            _pass_on(stream, data)
        else:
            shown.print(decoders[stream].decode(data))

    return sink


def _pass_on(stream: Literal["stdout", "stderr"], data: bytes) -> None:
    target = sys.stdout if stream == "stdout" else sys.stderr
    target.buffer.write(data)
    target.flush()


@click.command()
@ids_argument
@click.option("--timeout", metavar="SECONDS", type=float, help="Wait that long at most; no limit by default.")
@common_options
@click.pass_obj
@click.pass_context
def wait(ctx: click.Context, state: State, job_ids: tuple[str, ...], timeout: float | None) -> None:
    """Wait until jobs have ended, and say how.

    The exit status is 0 if all of them have succeeded, 5 if one has not ended in
    time, else 1.
    """
    from sremote.errors import NotFinished

    found = find_jobs(job_ids)
    deadline = None if timeout is None else time.monotonic() + timeout
    ends = {}
    with bars(wanted=not state.json) as shown:
        for job in found:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ends[job.id] = end = job.wait(left, on_change=None if shown is None else _shower(shown, job))
            if shown is not None:
                shown.end(job.id)
            if not state.json:
                click.echo(f"{job.id}  {end}")
    if state.json:
        print_json({"jobs": [described(job, ends[job.id]) for job in found]})
    if not all(end.state.ended for end in ends.values()):
        ctx.exit(NotFinished.exit_status)
    ctx.exit(0 if all(end.state == "SUCCEEDED" for end in ends.values()) else 1)


def _shower(shown: Bars, job: Job) -> Callable[[JobStatus], None]:
    return lambda status: shown.show(job.id, status.progress)


@click.command()
@id_argument
@click.option("--timeout", metavar="SECONDS", type=float, help="Wait that long at most; no limit by default.")
@common_options
@click.pass_obj
def result(state: State, job_id: str, timeout: float | None) -> None:
    """Wait for the end of job ID and print what its function returned; of a command, what it printed.

    The result is kept on this machine then, and can be read again.
    """
    (job,) = find_jobs((job_id,))
    value = job.result(timeout)
    if job.record.kind == "command":
        _print_command(state, job)
    elif state.json:
        response = job.response()
        print_json({"id": job.id, "value": value, "stdout": response.stdout, "stderr": response.stderr})
    else:
        print_value(value)


def _print_command(state: State, job: Job) -> None:
    response = job.response()
    if state.json:
        texts = {"stdout": response.stdout, "stderr": response.stderr}
        print_json({"id": job.id, "status": response.exit_status(), **texts})
    else:
        _pass_on("stdout", response.output("stdout"))
        _pass_on("stderr", response.output("stderr"))
