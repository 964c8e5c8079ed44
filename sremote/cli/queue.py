"""``sremote queue``: queues of tasks, and the workers that work on them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from sremote.cli.options import State, common_options, host_options, pairs
from sremote.cli.output import print_json, to_json

if TYPE_CHECKING:
    from sremote.hosts import HostSettings
    from sremote.queue import Queue
    from sremote.tasks import QueueStatus


class _Queue(click.Group):
    """A group whose commands about tasks are in a file of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        importlib.import_module("sremote.cli.queue_tasks")
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        importlib.import_module("sremote.cli.queue_tasks")
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Queue)
@common_options
def queue() -> None:
    """Keep tasks in a queue on a host, and have any number of workers work on them.

    \b
    sremote queue add cluster night -- ./simulate 1
    sremote queue load cluster night tasks.txt
    sremote queue launch cluster night --workers 32 --scheduler slurm --walltime 2h
    sremote queue status cluster night
    """


def queue_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command HOST, its options, and NAME; it gets ``settings`` and ``name``."""
    return host_options(click.argument("name")(command))


def task_options(*, states: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command TASK..., --exit-status and, with ``states``, --state: which tasks are meant."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "--exit-status", metavar="N", type=int, help="Only commands that ended with that exit status."
        )(command)
        if states:
            command = click.option(
                "--state", "state_names", metavar="STATE", multiple=True, help="Only tasks in that state; repeatable."
            )(command)
        return click.argument("tasks", metavar="[TASK]...", nargs=-1, callback=_numbers)(command)

    return add


def _numbers(ctx: click.Context, _: click.Parameter, texts: tuple[str, ...]) -> list[int] | None:
    """Read numbers of tasks, and ranges such as 5-9; None where there are none."""
    numbers: list[int] = []
    for text in texts:
        first, dash, last = text.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise click.BadParameter(f"{text!r} is no number of a task, nor a range such as 5-9", ctx)
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers or None


@contextmanager
def opened(settings: HostSettings, name: str) -> Iterator[Queue]:
    """Give a queue of a host."""
    from sremote.cli.client import connect

    with connect(settings) as client:
        yield client.queue(name)


@queue.command("list")
@host_options
@common_options
@click.pass_obj
def list_queues(state: State, settings: HostSettings) -> None:
    """List the queues on HOST."""
    from sremote.cli.client import connect

    with connect(settings) as client:
        found = client.queues()
    if state.json:
        print_json({"queues": [to_json(one) for one in found]})
    for one in found if not state.json else ():
        click.echo(_in_one_line(one))


@queue.command()
@queue_argument
@common_options
@click.pass_obj
def create(state: State, settings: HostSettings, name: str) -> None:
    """Make an empty queue NAME; adding something to one does so too."""
    with opened(settings, name) as found:
        made = found.create()
    if state.json:
        print_json({"name": name, "created": made})
    elif not made:
        click.echo(f"{name} is there already.")


@queue.command()
@queue_argument
@common_options
@click.pass_obj
def status(state: State, settings: HostSettings, name: str) -> None:
    """Show how many tasks of the queue NAME are in each state, and who works on them."""
    with opened(settings, name) as found:
        now = found.status()
    if state.json:
        print_json(to_json(now))
    else:
        _print_status(now)


@queue.command()
@queue_argument
@click.option("--timeout", metavar="SECONDS", type=float, help="Give up after that long; no limit by default.")
@common_options
@click.pass_obj
def wait(state: State, settings: HostSettings, name: str, timeout: float | None) -> None:
    """Wait until nothing is left in the queue NAME that can be done. Exit status 1 where tasks have failed."""
    from sremote.bars import bars
    from sremote.job_status import Progress

    def show(now: QueueStatus) -> None:
        if shown is not None:
            done = now.tasks["SUCCEEDED"] + now.tasks["FAILED"]
            shown.show(name, Progress(done, now.total, f"{now.tasks['RUNNING']} running, {len(now.workers)} workers"))

    with opened(settings, name) as found, bars(wanted=not state.json) as shown:
        now = found.wait(timeout, on_status=show)
    if state.json:
        print_json(to_json(now))
    else:
        _print_status(now)
    if now.tasks["FAILED"]:
        raise click.exceptions.Exit(1)


def _seconds(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    from sremote.schedulers.resources import read_resources

    return None if text is None else read_resources({"walltime": text}).walltime


@queue.command()
@queue_argument
@click.option("--workers", metavar="N", type=int, default=1, show_default=True, help="Workers in each job.")
@click.option("--jobs", metavar="N", type=int, default=1, show_default=True, help="Jobs.")
@click.option("--wait", is_flag=True, help="Have them wait for more tasks when the queue is empty.")
@click.option("--walltime", metavar="TIME", callback=_seconds, help="End by then: seconds, 90m, 1:30:00.")
@click.option(
    "--scheduler", metavar="NAME", help="Have that batch system run them: slurm, pbs, lsf, sge, flux or auto."
)
@click.option(
    "--resource",
    "resources",
    metavar="KEY=VALUE",
    multiple=True,
    help="What a job asks of the batch system: nodes, cores, memory, gpus, queue, account; repeatable.",
)
@click.option("--env", metavar="KEY=VALUE", multiple=True, help="Set an environment variable for tasks; repeatable.")
@click.option("--cwd", metavar="DIR", help="The folder that tasks run in, there.")
@common_options
@click.pass_obj
def launch(
    state: State,
    /,
    settings: HostSettings,
    name: str,
    resources: tuple[str, ...],
    env: tuple[str, ...],
    **how: Any,
) -> None:
    """Launch jobs with workers that work on the queue NAME; print the jobs' ids.

    They end when nothing is left to do. With a walltime they stop cleanly before it
    is over, and what they have not done stays in the queue.
    """
    how |= {"resources": pairs(resources, "--resource") or None, "env": pairs(env, "--env")}
    with opened(settings, name) as found:
        jobs = found.launch(**how)
    if state.json:
        print_json({"jobs": [job.id for job in jobs]})
    for job in jobs if not state.json else ():
        click.echo(job.id)


@queue.command()
@queue_argument
@click.option("--workers", metavar="N", type=int, default=1, show_default=True, help="Worker processes.")
@click.option("--walltime", metavar="TIME", callback=_seconds, help="End by then: seconds, 90m, 1:30:00.")
@common_options
@click.pass_obj
def work(state: State, settings: HostSettings, name: str, workers: int, walltime: float | None) -> None:
    """Work on the queue NAME now, and wait until nothing is left to do."""
    with opened(settings, name) as found:
        count = found.work(workers, walltime=walltime)
    say(state, {"done": count}, f"{count} done.")


@queue.command()
@queue_argument
@click.option("--attempts", metavar="N", type=int, help="Tasks that have had N attempts have failed.")
@common_options
@click.pass_obj
def recover(state: State, settings: HostSettings, name: str, attempts: int | None) -> None:
    """Give the tasks of dead workers to others.

    It is safe while others live: only workers that are provably dead are given up.
    """
    with opened(settings, name) as found:
        answer = found.recover(attempts=attempts)
    say(
        state,
        answer,
        f"{answer['recovered']} tasks of {len(answer['workers'])} dead workers are pending again, "
        f"{answer['failed']} have failed.",
    )
    for one in answer["unknown"] if not state.json else ():
        click.echo(
            f"Whether worker {one['number']} (process {one['pid']} of {one['host']}) lives cannot be told from here.",
            err=True,
        )


@queue.command()
@queue_argument
@common_options
@click.pass_obj
def pause(state: State, settings: HostSettings, name: str) -> None:
    """Have no more tasks of the queue NAME begun; those that run go on."""
    with opened(settings, name) as found:
        changed = found.pause()
    say(state, {"paused": True, "changed": changed}, f"{name} is paused.")


@queue.command()
@queue_argument
@common_options
@click.pass_obj
def resume(state: State, settings: HostSettings, name: str) -> None:
    """End the pause of the queue NAME."""
    with opened(settings, name) as found:
        changed = found.resume()
    say(state, {"paused": False, "changed": changed}, f"{name} goes on.")


def say(state: State, answer: dict[str, Any], text: str) -> None:
    """Print an answer: as JSON where that was asked for, else in words."""
    if state.json:
        print_json(answer)
    else:
        click.echo(text)


def _in_one_line(now: QueueStatus) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in now.tasks.items() if count) or "empty"
    return f"{now.name}: {counts}{', paused' if now.paused else ''}, {len(now.workers)} workers"


def _print_status(now: QueueStatus) -> None:
    click.echo(_in_one_line(now))
    if now.blocked:
        click.echo(f"{now.blocked} of the waiting come after one that failed.")
    for one in now.workers:
        where = f"process {one.pid} of {one.host}" + (f", job {one.job}" if one.job else "")
        click.echo(f"worker {one.number}: {one.state}, {where}")
