"""``sremote jobs``, ``status``, ``outputs``, ``cancel``, ``retry``: see and steer durable jobs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from sremote.cli.options import State, common_options, complete_host
from sremote.cli.output import print_json, print_table, to_json

if TYPE_CHECKING:
    from sremote.job_handle import Job
    from sremote.job_status import JobStatus

_WIDEST = 60
"""Characters of a table's widest column."""


def _complete_id(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from sremote.job_handle import jobs as all_jobs

    return [job.id for job in all_jobs() if job.id.startswith(incomplete)]


def id_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the argument ID; the beginning of one will do."""
    return click.argument("job_id", metavar="ID", shell_complete=_complete_id)(command)


def ids_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the arguments ID..., at least one."""
    argument = click.argument("job_ids", metavar="ID...", nargs=-1, required=True, shell_complete=_complete_id)
    return argument(command)


def find_jobs(ids: tuple[str, ...]) -> list[Job]:
    """Return the jobs that were named, before anything is done about one of them."""
    from sremote.job_handle import job

    return [job(job_id) for job_id in ids]


@click.command(name="jobs")
@click.argument("host", required=False, shell_complete=complete_host)
@click.option("--all", "all_of_them", is_flag=True, help="Also those whose results have been fetched.")
@click.option("--offline", is_flag=True, help="Show what was last seen, and ask no host.")
@common_options
@click.pass_obj
def jobs(state: State, host: str | None, all_of_them: bool, offline: bool) -> None:
    """List the jobs that you have submitted, to HOST or anywhere, and how they are.

    Each host is asked once, about all of its jobs.
    """
    from sremote.index import index
    from sremote.job_handle import Job, statuses

    records = index().jobs(host, unfetched=not all_of_them)
    found = [Job(record) for record in records]
    seen = {job.id: job.last_status for job in found} if offline else statuses(found)
    if state.json:
        print_json({"jobs": [described(job, seen[job.id]) for job in found]})
        return
    if not found:
        click.echo("No jobs." if all_of_them else "No jobs with results to fetch; --all shows the others.")
    rows = [
        (job.id, str(seen[job.id].state), as_age(job.record.submitted_at), job.host, job.target, seen[job.id].reason)
        for job in found
    ]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    for row in rows:
        cells = [cell[:_WIDEST].ljust(min(width, _WIDEST)) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[-1]]).rstrip())


@click.command()
@ids_argument
@common_options
@click.pass_obj
def status(state: State, job_ids: tuple[str, ...]) -> None:
    """Say how jobs are: their states, why, and by what and when that was seen."""
    from sremote.job_handle import statuses

    found = find_jobs(job_ids)
    seen = statuses(found)
    if state.json:
        print_json({"jobs": [described(job, seen[job.id]) for job in found]})
        return
    for number, job in enumerate(found):
        if number:
            click.echo()
        print_table([(name, value) for name, value in _rows(job, seen[job.id]) if value not in (None, "", [])])


@click.command()
@id_argument
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
@click.option("--into", metavar="DIR", default=".", help="The folder to copy to; here by default.")
@common_options
@click.pass_obj
def outputs(state: State, job_id: str, patterns: tuple[str, ...], into: str) -> None:
    """Copy the files that job ID has made in its own folder: its --output, or those that match PATTERN."""
    (job,) = find_jobs((job_id,))
    copies = job.pull(patterns or None, into)
    if state.json:
        print_json({"id": job.id, "files": copies})
    else:
        for copy in copies:
            click.echo(copy)


@click.command()
@ids_argument
@common_options
@click.pass_obj
def cancel(state: State, job_ids: tuple[str, ...]) -> None:
    """Stop jobs with all their children, or take them out of the queue."""
    found = find_jobs(job_ids)
    seen = {job.id: job.cancel() for job in found}
    _tell(state, found, seen)


@click.command()
@ids_argument
@common_options
@click.pass_obj
def retry(state: State, job_ids: tuple[str, ...]) -> None:
    """Have jobs that failed tried once more, as new attempts under the same ids."""
    found = find_jobs(job_ids)
    for job in found:
        job.retry()
    _tell(state, found, {job.id: job.last_status for job in found})


def _tell(state: State, found: list[Job], seen: dict[str, JobStatus]) -> None:
    if state.json:
        print_json({"jobs": [described(job, seen[job.id]) for job in found]})
    else:
        for job in found:
            click.echo(f"{job.id}  {seen[job.id]}")


def described(job: Job, seen: JobStatus) -> dict[str, Any]:
    """Return a job and how it is, for JSON."""
    record = job.record
    known: dict[str, Any] = {"id": job.id, "host": job.host, "target": job.target}
    known["submitted_at"] = record.submitted_at
    known |= {"scheduler": record.scheduler, "batch_id": record.batch_id, "fetched": bool(record.fetched)}
    plain = to_json(dataclasses.asdict(seen))
    assert isinstance(plain, dict)
    return known | plain


def _rows(job: Job, seen: JobStatus) -> list[tuple[str, object]]:
    from sremote.sizes import as_size

    record = job.record
    usage = seen.usage
    memory = usage.get("max_memory")
    return [
        ("job", job.id),
        ("host", job.host),
        ("runs", job.target),
        ("state", seen.state),
        ("reason", seen.reason),
        ("seen", f"{seen.observed_at:%Y-%m-%d %H:%M:%S} UTC, by {seen.source}"),
        ("submitted", as_age(record.submitted_at) + " ago"),
        ("attempt", seen.attempt if seen.attempt > 1 else None),
        ("batch job", f"{record.batch_id} of {record.scheduler}" if record.batch_id else None),
        ("ran", f"{seen.seconds:.1f} s" if seen.seconds else None),
        ("CPU time", f"{usage['cpu_seconds']:.1f} s" if "cpu_seconds" in usage else None),
        ("memory", as_size(int(memory)) if memory else None),
    ]


def as_age(moment: float) -> str:
    """Return how long ago a moment, in seconds since the epoch, was."""
    seconds = max(0.0, time.time() - moment)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
