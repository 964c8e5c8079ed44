"""``sremote queue``: what is about tasks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sremote.cli.options import State, common_options, json_or_text
from sremote.cli.output import as_text, print_json, print_value, to_json
from sremote.cli.queue import opened, queue, queue_argument, say, task_options

if TYPE_CHECKING:
    from sremote.hosts import HostSettings
    from sremote.tasks import Task, TaskStatus


@queue.command(context_settings={"ignore_unknown_options": True})
@queue_argument
@click.argument("words", metavar="[--] WORD...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--shell", is_flag=True, help="The only WORD is a line for sh.")
@click.option("--call", "is_call", is_flag=True, help="The WORDs are MODULE FUNCTION [ARG]..., as for sremote call.")
@click.option("--priority", metavar="N", type=int, default=0, help="Tasks of a higher one run first; 0 by default.")
@click.option("--after", metavar="TASK", type=int, multiple=True, help="Wait until that one succeeds; repeatable.")
@click.option("--timeout", metavar="SECONDS", type=float, help="It has failed after that long.")
@click.option("--own-process", is_flag=True, help="Make the call in a process of its own.")
@common_options
@click.pass_obj
def add(
    state: State,
    /,
    settings: HostSettings,
    name: str,
    words: tuple[str, ...],
    shell: bool,
    is_call: bool,
    **options: Any,
) -> None:
    """Add a task to the queue NAME, which is made where it is not there; print the task's number.

    A command is run word for word; what it has of options stands behind --.

    \b
    sremote queue add cluster night -- ./simulate --seed 1
    sremote queue add cluster night --shell './simulate 1 > 1.txt' --priority 5
    sremote queue add cluster night --call simulation run '{"steps": 1000}'
    """
    task = _task(words, shell, is_call, options)
    with opened(settings, name) as found:
        number = found.add(task)
    say(state, {"task": number}, str(number))


def _task(words: tuple[str, ...], shell: bool, is_call: bool, options: dict[str, Any]) -> Task:
    from sremote.tasks import Task

    if shell and is_call:
        raise click.UsageError("A task is a line for sh or a call, not both.")
    if shell:
        if len(words) != 1:
            raise click.UsageError("With --shell give one word, in quotes: the line.")
        return Task.shell(words[0], **options)
    if not is_call:
        if words[0].startswith("-"):
            raise click.NoSuchOption(words[0])
        return Task.command(words, **options)
    if len(words) < 2:
        raise click.UsageError("With --call give MODULE and FUNCTION.")
    return Task.call(words[0], words[1], [json_or_text(text) for text in words[2:]], **options)


@queue.command()
@queue_argument
@click.argument("file", metavar="FILE|-")
@click.option("--id", "identity", metavar="TEXT", help="Add nothing if something was added under that id before.")
@common_options
@click.pass_obj
def load(state: State, settings: HostSettings, name: str, file: str, identity: str | None) -> None:
    """Add the tasks in FILE, or on standard input, to the queue NAME: one a line.

    A line is for sh, or it is a JSON object: {"command": ["./simulate", "1"], "name": "one"},
    {"module": "simulation", "function": "run", "args": [1], "after": ["one"]}. Other keys: shell,
    kwargs, priority, timeout, own_process.
    """
    from sremote.task_files import read_tasks

    if file == "-":
        tasks = read_tasks(sys.stdin, "standard input")
    else:
        with Path(file).open(encoding="utf-8") as lines:
            tasks = read_tasks(lines, file)
    with opened(settings, name) as found:
        numbers = found.add_many(tasks, id=identity)
    first = numbers[0] if numbers else None
    say(
        state, {"count": len(numbers), "first": first}, f"{len(numbers)} tasks" + (f", from {first}" if numbers else "")
    )


@queue.command("tasks")
@queue_argument
@task_options()
@click.option("--limit", metavar="N", type=int, help="Show at most N; with --json all by default, else 100.")
@common_options
@click.pass_obj
def list_tasks(
    state: State,
    settings: HostSettings,
    name: str,
    tasks: list[int] | None,
    state_names: tuple[str, ...],
    exit_status: int | None,
    limit: int | None,
) -> None:
    """Show how tasks of the queue NAME are: all, or those of these numbers (7, 10-19)."""
    shown = limit if limit is not None or state.json else 100
    with opened(settings, name) as found:
        rows = found.tasks(
            tasks, state=state_names or None, exit_status=exit_status, limit=None if shown is None else shown + 1
        )
    if state.json:
        print_json({"tasks": [to_json(row) for row in rows[:shown]]})
        return
    for row in rows[:shown]:
        click.echo(_line(row))
    if shown is not None and len(rows) > shown:
        click.echo("There are more; --limit N shows them.", err=True)


def _line(row: TaskStatus) -> str:
    how = row.outcome or ""
    if row.exit_status is not None:
        how += f" {row.exit_status}"
    if row.seconds is not None:
        how += f", {row.seconds:.1f} s"
    more = f" (attempt {row.attempts})" if row.attempts > 1 else ""
    return f"{row.number:>6}  {row.state:<9}  {how:<18}  {row.what}{more}"


@queue.command()
@queue_argument
@click.argument("task", type=int)
@common_options
@click.pass_obj
def result(state: State, settings: HostSettings, name: str, task: int) -> None:
    """Print what a task has left: its output, and what the call returned. Exit status 1 where it has failed."""
    with opened(settings, name) as found:
        left = found.results(task).get(task)
        value = found.result(task)
    assert left is not None
    status = value if left.is_command else 0
    if state.json:
        output = {"stdout": as_text(left.output("stdout")), "stderr": as_text(left.output("stderr"))}
        print_json(
            {"outcome": left.outcome, "status": status, "value": None if left.is_command else to_json(value), **output}
        )
    else:
        click.echo(left.output("stdout"), nl=False)
        click.echo(left.output("stderr"), nl=False, err=True)
        print_value(None if left.is_command else value)
    if status:
        raise click.exceptions.Exit(1)


@queue.command()
@queue_argument
@task_options(states=False)
@click.option("--attempts", metavar="N", type=int, help="Leave alone those that have had N attempts.")
@click.option("--priority", metavar="N", type=int, help="Give them that priority.")
@common_options
@click.pass_obj
def retry(
    state: State,
    settings: HostSettings,
    name: str,
    tasks: list[int] | None,
    exit_status: int | None,
    attempts: int | None,
    priority: int | None,
) -> None:
    """Give failed tasks of the queue NAME another attempt."""
    with opened(settings, name) as found:
        answer = found.retry(tasks, exit_status=exit_status, attempts=attempts, priority=priority)
    say(state, answer, f"{answer['retried']} are pending again; {answer['spent']} have had their attempts.")


@queue.command()
@queue_argument
@task_options()
@common_options
@click.pass_obj
def rerun(
    state: State,
    settings: HostSettings,
    name: str,
    tasks: list[int] | None,
    state_names: tuple[str, ...],
    exit_status: int | None,
) -> None:
    """Have finished tasks of the queue NAME done anew, and forget their results."""
    with opened(settings, name) as found:
        count = found.rerun(tasks, state=state_names or None, exit_status=exit_status)
    say(state, {"rerun": count}, f"{count} are pending again.")


@queue.command()
@queue_argument
@click.argument("priority", type=int)
@click.argument("tasks", metavar="[TASK]...", nargs=-1, type=int)
@click.option("--state", "state_names", metavar="STATE", multiple=True, help="Only tasks in that state; repeatable.")
@common_options
@click.pass_obj
def priority(
    state: State,
    settings: HostSettings,
    name: str,
    priority: int,
    tasks: tuple[int, ...],
    state_names: tuple[str, ...],
) -> None:
    """Set the PRIORITY of tasks of the queue NAME that have not begun; those of a higher one run first."""
    with opened(settings, name) as found:
        count = found.priority(priority, tasks or None, state=state_names or None)
    say(state, {"changed": count}, f"{count} have priority {priority} now.")


@queue.command()
@queue_argument
@task_options()
@click.option("--force", is_flag=True, help="Delete the queue though workers may be at work on it.")
@click.option("--yes", is_flag=True, help="Do not ask before the whole queue is deleted.")
@common_options
@click.pass_obj
def delete(
    state: State,
    settings: HostSettings,
    name: str,
    tasks: list[int] | None,
    state_names: tuple[str, ...],
    exit_status: int | None,
    force: bool,
    yes: bool,
) -> None:
    """Delete tasks of the queue NAME; the whole queue where no TASK, --state or --exit-status is given."""
    whole = tasks is None and not state_names and exit_status is None
    if whole and not yes:
        if state.json or not sys.stdin.isatty():
            raise click.UsageError("Nobody is here to ask: give --yes to delete the whole queue.")
        click.confirm(f"Delete the queue {name} with all its tasks and results?", abort=True, err=True)
    with opened(settings, name) as found:
        answer = found.delete(tasks, state=state_names or None, exit_status=exit_status, force=force)
    if whole:
        say(state, {"deleted": name}, f"{name} is gone.")
        return
    kept = f"{answer['held']} are in a worker's hands, {answer['needed']} come before others"
    say(state, answer, f"{answer['deleted']} deleted; {kept}.")
