"""The plan of a launch: hosts, files, commands and their order, made from a configuration and checked."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sremote.errors import UsageError
from sremote.launcher.configuration import LOCAL_HOST, Component, Config
from sremote.launcher.options import LaunchOptions
from sremote.launcher.readiness import Readiness, read_readiness
from sremote.launcher.user_files import load_configuration

if TYPE_CHECKING:
    from sremote.launcher.reporter import Reporter
    from sremote.launcher.result import LaunchResult

FAILURE_POLICIES = ("continue", "stop", "restart")


def where(host: str) -> str:
    """Return a host's name as messages have it."""
    return host.rstrip(":")


@dataclass(frozen=True)
class PlannedFile:
    """A file that goes to a host."""

    source: Path
    """Here, absolute."""
    destination: str
    """There: absolute, ``~/…``, or relative where base_dir is a temporary folder."""
    size: int | None
    """In bytes; None for a folder, which is made there empty."""
    mode: int
    """Its permission bits."""


@dataclass(frozen=True)
class PlannedComponent:
    """A component, with its paths as they are on its host."""

    name: str
    host: str
    argv: Sequence[str]
    """The executable and its arguments, word for word."""
    base_dir: str | None
    """Absolute or ``~/…``; None for a temporary folder."""
    files: Sequence[PlannedFile]
    start_index: float
    wait: bool
    env: Mapping[str, str]
    ready: Readiness | None
    on_failure: str

    @property
    def sends_executable(self) -> bool:
        """Whether the executable is among the files."""
        return any(file.destination == self.argv[0] for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "name": self.name,
            "host": self.host,
            "argv": list(self.argv),
            "base_dir": self.base_dir,
            "start_index": self.start_index,
            "wait": self.wait,
            "env": dict(self.env),
            "ready": self.ready.to_json() if self.ready else None,
            "on_failure": self.on_failure,
            "files": [
                {
                    "source": str(file.source),
                    "destination": file.destination,
                    "size": file.size,
                    "mode": f"{file.mode:04o}",
                }
                for file in self.files
            ],
        }


@dataclass(frozen=True)
class Plan:
    """What a launch will do.  Made by ``load`` or ``make_plan``; ``run`` does it."""

    components: Sequence[PlannedComponent]
    """In the order in which they start."""
    options: LaunchOptions

    @property
    def hosts(self) -> list[str]:
        """The hosts, sorted; this machine is ``localhost``."""
        return sorted({each.host for each in self.components})

    def on(self, host: str) -> list[PlannedComponent]:
        """Return the components of a host."""
        return [each for each in self.components if each.host == host]

    def stages(self) -> Iterator[list[PlannedComponent]]:
        """Yield the components that start together, in order."""
        for index in sorted({each.start_index for each in self.components}):
            yield [each for each in self.components if each.start_index == index]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data: name, hosts, components."""
        return {
            "name": self.options.screen,
            "hosts": self.hosts,
            "components": [each.to_json() for each in self.components],
        }

    def run(self, reporter: Reporter | None = None, *, follow: bool = False) -> LaunchResult:
        """Carry it out, and return how each component fared.

        It lasts until the components with ``wait`` have ended; with ``follow`` until all
        have.  ``reporter`` is told what happens.  Raises the errors of ``sremote.errors``
        where the launch cannot begin; then nothing of it runs.
        """
        from sremote.launcher.launch import Launch

        return Launch(self, reporter, follow=follow).run()


def load(path: str | Path, **options: Any) -> Plan:
    """Return the plan that a configuration file describes; ``options`` are those of ``LaunchOptions``.

    Raises UsageError with all that is wrong, before anything on any host is touched.
    """
    for name in ("muddler", "arg_parser"):
        if options.get(name) is not None:
            options[name] = Path(options[name])
    chosen = LaunchOptions(**options)
    file = Path(os.path.expandvars(path)).expanduser()
    return make_plan(load_configuration(file, chosen), chosen, file.resolve().parent)


def make_plan(config: Config, options: LaunchOptions | None = None, folder: Path | None = None) -> Plan:
    """Return the plan of a configuration; relative paths here begin at ``folder`` (default: the current one).

    Raises UsageError with all that is wrong.
    """
    problems: list[str] = []
    planned = []
    components = list(config.all_components())
    if not components:
        raise UsageError("the configuration has no components", "Add some with config.add_component(component).")
    for component in components:
        name = vars(component).get("name", "a component without a name")
        found = _problems(component)
        if not found:
            try:
                planned.append(_plan(component, (folder or Path.cwd()).resolve()))
            except _Problems as error:
                found = error.problems
        problems += [f"{name}: {problem}" for problem in found]
    problems += _common_problems(planned, components)
    if problems:
        raise UsageError("\n".join(problems))
    planned.sort(key=lambda each: (each.start_index, each.host))
    return Plan(planned, options or LaunchOptions())


class _Problems(Exception):
    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems)
        self.problems = problems


def _problems(component: Component) -> list[str]:
    """Return what is wrong with a component's attributes, each by itself."""
    missing = component.get_missing_attributes()
    if missing:
        return [f"{', '.join(missing)} must be set"]
    found = []
    for attribute in ("name", "executable", "host"):
        value = getattr(component, attribute)
        if not isinstance(value, str) or not value or re.search(r"[\0\n]", value):
            found.append(f"{attribute} is {value!r}, which is not a line of text")
    if isinstance(component.args, str | bytes) or not hasattr(component.args, "__iter__"):
        found.append(f"args is {component.args!r}; it must be a list of words")
    elif any("\0" in str(word) for word in component.args):
        found.append("an argument holds a zero byte, which no program can be given")
    if component.base_dir is not None and not isinstance(component.base_dir, str | os.PathLike):
        found.append(f"base_dir is {component.base_dir!r}, which is not a path")
    if not isinstance(component.files, Mapping):
        found.append("files must be a dict: {here: there}")
    elif component.files and component.host == LOCAL_HOST:
        found.append(f"it runs on {LOCAL_HOST}, so it can have no files: they are there already")
    if not isinstance(component.start_index, int | float):
        found.append(f"start_index is {component.start_index!r}, which is not a number")
    if not isinstance(component.env, Mapping):
        found.append("env must be a dict: {variable: value}")
    if component.on_failure not in FAILURE_POLICIES:
        found.append(f"on_failure is {component.on_failure!r}; it is one of {', '.join(FAILURE_POLICIES)}")
    return found


def _plan(component: Component, folder: Path) -> PlannedComponent:
    local = component.host == LOCAL_HOST
    base_dir = None if component.base_dir is None else os.fspath(component.base_dir)
    if local:
        base_dir = str(Path(folder, os.path.expanduser(base_dir)) if base_dir else Path.cwd())  # noqa: PTH111
        executable = str(folder / Path(component.executable).expanduser())
    else:
        base_dir = None if base_dir is None else _from_home(base_dir)
        executable = _below(base_dir, component.executable)
    files, problems = _files(component, base_dir, folder)
    try:
        ready = read_readiness(component.ready, base_dir)
    except UsageError as error:
        problems.append(error.message)
        ready = None
    planned = PlannedComponent(
        name=component.name,
        host=component.host,
        argv=[executable, *map(str, component.args)],
        base_dir=base_dir,
        files=files,
        start_index=component.start_index,
        wait=bool(component.wait),
        env={str(name): str(value) for name, value in component.env.items()},
        ready=ready,
        on_failure=component.on_failure,
    )
    for file in files:
        if file.destination == executable and file.size is not None and not file.mode & 0o111:
            problems.append(f"{file.source} has no permission to be executed: chmod +x {shlex.quote(str(file.source))}")
    if not executable.startswith(("/", "~")) and not planned.sends_executable:
        problems.append(f"its executable {executable} is not among its files, which go to a temporary folder")
    if local and not os.access(executable, os.X_OK):
        there = Path(executable).exists()
        problems.append(
            f"its executable {executable} "
            + ("has no permission to be executed: chmod +x" if there else "is not there")
        )
    if problems:
        raise _Problems(problems)
    return planned


def _files(component: Component, base_dir: str | None, folder: Path) -> tuple[list[PlannedFile], list[str]]:
    files, problems = [], []
    for here, there in component.files.items():
        source = folder / os.path.expanduser(here)  # noqa: PTH111
        try:
            found = source.stat()
        except OSError as error:
            problems.append(f"its file {source}: {error.strerror}")
            continue
        is_folder = stat.S_ISDIR(found.st_mode)
        if not is_folder and not stat.S_ISREG(found.st_mode):
            problems.append(f"its file {source} is neither a file nor a folder")
        elif not os.access(source, os.R_OK):
            problems.append(f"its file {source} cannot be read")
        destination = _below(base_dir, os.fspath(there))
        size = None if is_folder else found.st_size
        files.append(PlannedFile(source, destination, size, stat.S_IMODE(found.st_mode)))
    return files, problems


def _from_home(path: str) -> str:
    """Return a path on a host: absolute, or ``~/…``."""
    path = posixpath.normpath(path)
    return path if path.startswith(("/", "~/")) or path == "~" else posixpath.normpath("~/" + path)


def _below(base_dir: str | None, path: str) -> str:
    """Return a path on a host that begins at base_dir where it is relative; relative where that is not known yet."""
    if path.startswith(("/", "~/")):
        return posixpath.normpath(path)
    return posixpath.normpath(posixpath.join(base_dir or "", path))


def _common_problems(planned: list[PlannedComponent], components: list[Component]) -> list[str]:
    """Return what is wrong between components: names, and places that several files would go to."""
    names = [vars(each).get("name") for each in components]
    problems = [
        f"several components are called {name!r}: give each its own name"
        for name in dict.fromkeys(names)
        if name is not None and names.count(name) > 1
    ]
    places: dict[tuple[str, str], tuple[PlannedFile, str]] = {}
    for component in planned:
        for file in component.files:
            if component.base_dir is None and not file.destination.startswith(("/", "~")):
                continue
            first, name = places.setdefault((component.host, file.destination), (file, component.name))
            if first.source.resolve() != file.source.resolve():
                problems.append(
                    f"{name} and {component.name}: {first.source} and {file.source} both go to {file.destination}"
                    f" on {component.host}"
                )
    return problems
