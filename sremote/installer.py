"""Makes an environment on a host and installs into it what was asked for; the second time only what differs."""

from __future__ import annotations

import dataclasses
import functools
import posixpath
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from packaging.utils import canonicalize_name, parse_wheel_filename

from sremote.environment import Environment, State
from sremote.errors import NotInstalled, UsageError
from sremote.host import DEFAULT_ENVIRONMENT, DEFAULT_ROOT, Host
from sremote.requirements import Line, Source, Wanted, git_source, read_wanted
from sremote.sharing import note_location, share
from sremote.sources import build, commit_of, content_digest
from sremote.target import target_of
from sremote.virtualenv_bundle import pip_zip, virtualenv_zip
from sremote.wheels import download

RECORD_FORMAT = 1

Progress = Callable[[str, str], None]
"""Is told which step is under way, and in one line what it does."""


@dataclass(frozen=True)
class Step:
    """One step of an installation, and whether it changed (in a dry run: would change) anything."""

    name: Literal["python", "interpreter", "environment", "packages", "sharing", "location"]
    changed: bool
    detail: str


@dataclass
class InstallReport:
    """What an installation did, or in a dry run would do."""

    host: str
    environment: str
    """The environment's folder on the host, absolute."""
    python: str
    """Its Python's version."""
    dry_run: bool
    offline: bool = False
    """Whether packages came from here, because the host reaches no index or as asked."""
    steps: list[Step] = field(default_factory=list)
    installed: dict[str, str] = field(default_factory=dict)
    """Every distribution in the environment, and its version."""
    differences: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    """The distributions that changed: version before and after, None where there is none."""
    commits: dict[str, str] = field(default_factory=dict)
    """The commits of what came from git repositories, by distribution."""
    notes: list[str] = field(default_factory=list)
    """What the user should know, such as a folder that other users cannot pass."""

    @property
    def changed(self) -> bool:
        """Whether any step changed something, or would."""
        return any(step.changed for step in self.steps)


def install(
    host: Host,
    *,
    environment: str = DEFAULT_ENVIRONMENT,
    packages: Sequence[str] = (),
    requirements: Sequence[str | Path] = (),
    git: Sequence[str] = (),
    python: str | None = None,
    offline: bool | None = None,
    shared: str | None = None,
    application: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda _step, _text: None,
) -> InstallReport:
    """Make or update an environment of a host.

    ``packages`` are requirements or paths on this machine, ``requirements`` files in
    pip's format, ``git`` ``URL[@REF][#subdirectory=DIR]``; git repositories and paths
    are built into wheels here.  What was installed before stays.  ``python`` is the
    Python there to make the environment with; an environment keeps the one it has
    until another is named.  ``offline`` fetches wheels here and lets the host ask no
    index; by default that is done where it reaches none.  ``shared`` is a folder
    there for an installation that other users may read.  ``application`` notes the
    installation under a name in ``location.json``.  ``dry_run`` changes nothing there.

    Raises UsageError, PythonMissing, NotInstalled (something cannot be had or
    built), HostUnreachable (no index reached from here), HostFull and
    PermissionRefused; the environment is then as it was.
    """
    if not environment or environment.startswith(".") or "/" in environment:
        raise UsageError(f"{environment!r} is not a name for an environment", "Use letters, digits, '-' and '_'.")
    wanted = read_wanted(packages, requirements, git)
    python = python or host.python
    progress("python", "looking for a Python")
    there = Host(
        host.connector,
        name=host.name,
        root=shared or host.root,
        python=python,
        environment="",
        preamble=host.preamble,
    )
    with tempfile.TemporaryDirectory(prefix="sremote-") as work:
        run = _Installation(there, environment, wanted, python, offline, Path(work), progress)
        report = run.report(dry_run)
        report.steps.append(run.push_interpreter(dry_run))
        report.steps += run.install(report)
    if shared:
        progress("sharing", "letting others read it")
        report.steps.append(Step("sharing", share(there, dry_run=dry_run), f"all may read {there.probe().root}"))
        report.notes += [f"other users cannot pass through {folder} there: chmod o+x it" for folder in run.state.closed]
    entry = {"installation": there.probe().root, "environment": environment}
    for folder, mode in _location_folders(there, shared is not None, application):
        changed = note_location(there, folder, application, entry, mode=mode, dry_run=dry_run)
        report.steps.append(Step("location", changed, posixpath.join(folder, "location.json")))
    return report


def _location_folders(host: Host, shared: bool, application: str | None) -> list[tuple[str, int]]:
    """Return the folders whose location.json tells of an installation, and the file's mode."""
    probe = host.probe()
    folders = {}
    if application is not None:
        folders[posixpath.join(probe.home, DEFAULT_ROOT)] = 0o600
    if shared:
        folders[probe.root] = 0o644
    return list(folders.items())


@dataclass
class _Built:
    """A source, what identifies its content, and its wheel."""

    source: Source
    identity: str
    wheel: Path

    @property
    def name(self) -> str:
        return canonicalize_name(parse_wheel_filename(self.wheel.name)[0])

    @property
    def version(self) -> str:
        return str(parse_wheel_filename(self.wheel.name)[1])


class _Installation:
    """One run of ``install``: what is wanted, what is there, and the difference."""

    def __init__(
        self,
        host: Host,
        name: str,
        wanted: Wanted,
        python: str | None,
        offline: bool | None,
        work: Path,
        progress: Progress,
    ) -> None:
        self.host = host
        self.environment = Environment(host, name)
        self.wanted = wanted
        self.work = work
        self.progress = progress
        self.state = self.environment.inspect()
        if self.state.exists and self.state.generation is None:
            raise UsageError(
                f"{host.where}: {self.environment.place} is there already, and sremote did not make it",
                "Choose another name with --environment, or remove it there.",
            )
        self.rebuild = _why_rebuild(self.state, python)
        self.python = self.state.python if self.rebuild else self.state.record["python"]
        self.target = target_of(self.python)
        self.installed = {} if self.rebuild else self.state.installed
        self.requested: dict[str, str] = dict(self.state.record.get("requested", {}))
        self.sources: dict[str, dict[str, str]] = dict(self.state.record.get("sources", {}))
        self._offline = offline

    @functools.cached_property
    def no_index(self) -> str | None:
        """Why the host cannot ask a package index; None where it can."""
        if self._offline is None:
            self.progress("packages", f"asking whether {self.host.name} reaches a package index")
            return self.environment.inspect(index=True).no_index
        return "--offline was given" if self._offline else None

    def report(self, dry_run: bool) -> InstallReport:
        """Return a report whose first step is the Python."""
        report = InstallReport(self.host.name, self.environment.place, self.target.full_version, dry_run)
        report.steps.append(Step("python", False, f"{self.target.full_version} at {self.python['executable']}"))
        return report

    def push_interpreter(self, dry_run: bool) -> Step:
        """Push the interpreter where it is missing."""
        missing = not self.host.probe().has_interpreter
        if missing and not dry_run:
            self.progress("interpreter", "pushing the interpreter")
            self.host.ensure_interpreter()
        return Step("interpreter", missing, self.host.probe().interpreter)

    def install(self, report: InstallReport) -> list[Step]:
        """Make the environment and install what differs; fill in the report."""
        built = self._build_sources()
        lines = self._missing_lines()
        report.installed = dict(self.installed)
        asked = [*(line.text for line in lines), *(item.source.text for item in built)]
        detail = ", ".join(asked)
        if asked and self.no_index:
            report.offline = True
            report.notes.append(f"{self.host.name} asks no package index ({self.no_index}): wheels come from here")
        if (self.rebuild or asked) and not report.dry_run:
            self._apply(lines, built)
            report.installed = dict(self.environment.inspect().installed)
            report.differences = _differences(self.state.installed, report.installed)
            detail = ", ".join(_said(*change) for change in report.differences.items()) or detail
        if not asked:
            detail = f"{len(report.installed)} installed, nothing to add"
        repositories = ((name, entry) for name, entry in self.sources.items() if _is_repository(entry["source"]))
        report.commits = {name: entry["identity"] for name, entry in repositories}
        return [
            Step("environment", bool(self.rebuild), self.rebuild or self.environment.place),
            Step("packages", bool(asked), detail),
        ]

    def _missing_lines(self) -> list[Line]:
        """Return the requirements to install now, and note all of them as requested."""
        lines = [line for line in self.wanted.lines if self._applies(line)]
        if self.rebuild:
            named = {line.name for line in lines} | self.sources.keys()
            lines += [line for line in read_wanted(list(self.requested.values())).lines if line.name not in named]
        earlier = set(self.requested.values())
        missing = [line for line in lines if not line.is_met(self.installed, earlier)]
        self.requested |= {line.name: line.shown for line in lines}
        for line in missing:
            self.sources.pop(line.name, None)
        return missing

    def _applies(self, line: Line) -> bool:
        marker = line.requirement.marker
        return marker is None or marker.evaluate({"extra": "", **self.target.markers})

    def _build_sources(self) -> list[_Built]:
        """Build the sources that are not installed as they are now, and note them."""
        wanted = list(self.wanted.sources)
        if self.rebuild:
            places = {_place(source) for source in wanted}
            again = [_recorded_source(entry) for entry in self.sources.values()]
            wanted += [source for source in again if _place(source) not in places]
        built = []
        for source in wanted:
            commit = commit_of(source) if source.url else ""
            if commit and self._has(source, commit):
                continue
            self.progress("packages", f"building {source.text}")
            wheel = build(source, self._folder("built"), commit=commit, say=self._say)
            identity = commit or content_digest(wheel)
            if self._has(source, identity):
                continue
            if not self.target.fits(wheel.name):
                raise NotInstalled(
                    f"{source.text} builds {wheel.name} here, which does not fit "
                    f"Python {self.target.minor} on {self.target.platforms[-1]}",
                    "Install a wheel that was built for that host, or a package that has one.",
                )
            built.append(_Built(source, identity, wheel))
        for item in built:
            self.requested.pop(item.name, None)
            self.sources[item.name] = {"source": item.source.text, "identity": item.identity}
        return built

    def _has(self, source: Source, identity: str) -> bool:
        """Say whether this content of a source is installed."""
        return any(
            name in self.installed
            and entry["identity"] == identity
            and _place(_recorded_source(entry)) == _place(source)
            for name, entry in self.sources.items()
        )

    def _apply(self, lines: Sequence[Line], built: Sequence[_Built]) -> None:
        """Send the host one bundle, and let it make the change."""
        wheels = self._folder("wheels")
        for item in built:
            item.wheel = item.wheel.rename(wheels / item.wheel.name)
        constraints = [*self.wanted.constraints, *self._earlier_limits(lines, built)]
        options, texts = self.wanted.options, [line.text for line in lines]
        if self.no_index:
            self._fetch(lines, built, wheels, constraints)
            # Options and hashes have done their work, and index addresses are not the host's business.
            options, texts = ["--pre"], [str(line.requirement) for line in lines]
        texts += [f"./wheels/{item.wheel.name}" for item in built]
        runs = []
        if texts:
            arguments = ["--find-links", "wheels", "-r", "requirements.txt", "-c", "constraints.txt"]
            runs.append([*arguments, "--no-index"] if self.no_index else arguments)
        for item in built:
            if self.installed.get(item.name) == item.version:
                runs.append(["--no-index", "--no-deps", "--force-reinstall", f"wheels/{item.wheel.name}"])
        files: dict[str, bytes | Path] = {
            "wheels/": b"",
            "requirements.txt": "\n".join([*options, *texts, ""]).encode(),
            "constraints.txt": "\n".join([*constraints, ""]).encode(),
            **{f"wheels/{wheel.name}": wheel for wheel in wheels.iterdir()},
        }
        if self.rebuild:
            files["virtualenv.zip"] = virtualenv_zip(self.target, say=self._say)
        if runs:
            files["pip.zip"] = pip_zip(self.target, say=self._say)
        record = {"python": self.python, "requested": self.requested, "sources": self.sources}
        plan = {
            "python": self.python["executable"] if self.rebuild else None,
            "active": self.state.generation,
            "pip": runs,
            "index": not self.no_index,
            "record": {"format": RECORD_FORMAT, **record},
        }
        self.environment.change(plan, files, self._say)

    def _earlier_limits(self, lines: Sequence[Line], built: Sequence[_Built]) -> list[str]:
        """Return as constraints what was requested before and is not replaced now."""
        replaced = {line.name for line in lines} | {item.name for item in built}
        earlier = [line for line in read_wanted(list(self.requested.values())).lines if line.name not in replaced]
        return [f"{line.name}{line.requirement.specifier}" for line in earlier if line.requirement.specifier]

    def _fetch(self, lines: Sequence[Line], built: Sequence[_Built], folder: Path, constraints: list[str]) -> None:
        """Download the wheels that the host lacks into ``folder``, where the built ones are."""
        if not lines and not built:
            return
        own = [item.wheel for item in built]
        self.progress("packages", "fetching wheels")
        download(
            lines,
            self.target,
            folder,
            options=self.wanted.options,
            constraints=constraints,
            wheels=own,
            say=self._say,
        )
        for wheel in folder.iterdir():
            name, version, *_ = parse_wheel_filename(wheel.name)
            if wheel not in own and self.installed.get(name) == str(version):
                wheel.unlink()

    def _folder(self, name: str) -> Path:
        folder = self.work / name
        folder.mkdir(exist_ok=True)
        return folder

    def _say(self, text: str) -> None:
        self.progress("packages", text)


def _why_rebuild(state: State, python: str | None) -> str:
    """Say why the environment must be made anew; nothing where it need not be."""
    if not state.exists:
        return "made with virtualenv"
    if not state.record:
        return "made anew: its record is missing or damaged"
    if not state.works:
        return "made anew: its Python does not start any more"
    old = state.record["python"]["executable"]
    if python and old != state.python["executable"]:
        return f"made anew: its Python was {old}"
    return ""


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    changes = ((name, (before.get(name), after.get(name))) for name in sorted({*before, *after}))
    return {name: change for name, change in changes if change[0] != change[1]}


def _said(name: str, change: tuple[str | None, str | None]) -> str:
    before, after = change
    return f"{name} {after or 'removed'}" + (f" (was {before})" if before and after else "")


def _is_repository(text: str) -> bool:
    """Say whether a recorded source is a repository; else it is a path."""
    return "://" in text


def _recorded_source(entry: Mapping[str, str]) -> Source:
    text = entry["source"]
    if _is_repository(text):
        return dataclasses.replace(git_source(text), ref=entry["identity"])
    return Source(text, path=Path(text))


def _place(source: Source) -> str:
    """Return what stays the same of a source while its content changes."""
    return f"{source.url}#{source.subdirectory}" if source.url else str(source.path)
