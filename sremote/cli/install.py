"""``sremote install``: set a host up, once."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from sremote.cli.options import State, common_options, host_options
from sremote.cli.output import print_json, to_json

if TYPE_CHECKING:
    from sremote.hosts import HostSettings
    from sremote.installer import InstallReport


@click.command()
@host_options
@click.option(
    "--package", "packages", metavar="SPEC", multiple=True, help="Such as 'numpy>=1.26', or a path here; repeatable."
)
@click.option("--requirements", metavar="FILE", multiple=True, help="A requirements file, as pip has them; repeatable.")
@click.option("--git", metavar="URL[@REF]", multiple=True, help="A repository, cloned and built here; repeatable.")
@click.option(
    "--offline/--online",
    default=None,
    help="Whether packages are fetched here and copied; so where the host reaches no index.",
)
@click.option("--shared", metavar="DIR", help="Make an installation in DIR there that others may use.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing there.")
@common_options
@click.pass_obj
def install(
    state: State,
    settings: HostSettings,
    packages: tuple[str, ...],
    requirements: tuple[str, ...],
    git: tuple[str, ...],
    offline: bool | None,
    shared: str | None,
    dry_run: bool,
) -> None:
    """Set HOST up once: push the interpreter, make an environment, install packages.

    HOST needs neither pip nor the internet. What is installed already stays;
    running it again changes only what differs. With --application the
    installation is noted under that name, for --application of other commands.

    \b
    sremote install cluster --package numpy --package 'scipy>=1.11'
    sremote install cluster --git https://example.org/simulate.git@v2
    """
    from sremote.connection import open_host
    from sremote.host import DEFAULT_ENVIRONMENT
    from sremote.installer import install as install_on

    host = open_host(dataclasses.replace(settings, application=None))
    with host.connector, _progress(state) as progress:
        report = install_on(
            host,
            environment=settings.environment or DEFAULT_ENVIRONMENT,
            packages=packages,
            requirements=requirements,
            git=git,
            offline=offline,
            shared=shared,
            application=settings.application,
            dry_run=dry_run,
            progress=progress,
        )
    if state.json:
        print_json({"changed": report.changed, **to_json(report)})
    else:
        _print_report(report)


@contextlib.contextmanager
def _progress(state: State) -> Iterator[Callable[[str, str], None]]:
    """Give a function that shows which step is under way: on a terminal only."""
    if state.json or not sys.stderr.isatty():
        yield lambda _step, _text: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("connected") as line:
        yield lambda step, text: line.update(Text(f"{step}: {text}", overflow="ellipsis", no_wrap=True))


def _print_report(report: InstallReport) -> None:
    did = "would change" if report.dry_run else "changed"
    for step in report.steps:
        said = click.style(f"{did:<12}", fg="green") if step.changed else f"{'as it was':<12}"
        click.echo(f"{said}  {step.name:<11}  {step.detail}")
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
