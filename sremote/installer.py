"""Makes an environment on a host and installs into it what was asked for; the second time only what differs."""

from __future__ import annotations

import dataclasses
import json
import posixpath
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO, Literal

from packaging.utils import canonicalize_name, parse_wheel_filename

from sremote.discovery import FILE, with_entry
from sremote.errors import FileMissing, HostError, HostFull, NotInstalled, PermissionRefused, UsageError
from sremote.host import DEFAULT_ENVIRONMENT, DEFAULT_ROOT, Host
from sremote.requirements import Line, Source, Wanted, git_source, read_wanted
from sremote.target import Target, target_of
from sremote.virtualenv_bundle import pip_zip, virtualenv_zip
from sremote.wheels import build, commit_of, content_digest, download, failure

RECORD_FORMAT = 1
INSPECTION_TIMEOUT = 180.0
"""Seconds that a look at a host's environment may take; a loaded login node is slow."""

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
    offline: bool
    """Whether wheels were fetched here because the host reaches no index, or as asked."""
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
    there = Host(
        host.connector,
        name=host.name,
        root=shared or host.root,
        python=python or host.python,
        environment="",
        preamble=host.preamble,
    )
    with tempfile.TemporaryDirectory(prefix="sremote-") as work:
        run = _Installation(there, environment, wanted, python or host.python, offline, Path(work), progress)
        return run.carry_out(shared=shared is not None, application=application, dry_run=dry_run)


@dataclass
class _Built:
    """A source, what identifies its content, and its wheel where one had to be built."""

    source: Source
    identity: str
    wheel: Path | None


class _Installation:
    """One run of ``install``."""

    def __init__(
        self,
        host: Host,
        environment: str,
        wanted: Wanted,
        python: str | None,
        offline: bool | None,
        work: Path,
        progress: Progress,
    ) -> None:
        self.host = host
        self.environment = environment
        self.wanted = wanted
        self.work = work
        self.progress = progress
        progress("python", "looking for a Python")
        self.root = host.probe().root
        found = self._inspect(index=offline is None and bool(wanted.lines or wanted.sources))
        state = found["environment"]
        if state is not None and state["generation"] is None:
            raise UsageError(
                f"{host.name}: {self.place} is there already, and sremote did not make it",
                "Choose another name with --environment, or remove it there.",
            )
        self.state: Mapping[str, Any] | None = state
        self.record: dict[str, Any] = (state or {}).get("record") or {}
        self.rebuild = self._why_rebuild(found["python"], python)
        self.python: dict[str, Any] = found["python"] if self.rebuild else self.record["python"]
        self.installed: dict[str, str] = {} if self.rebuild or state is None else state["installed"]
        self.before: dict[str, str] = state["installed"] if state else {}
        self.target: Target = target_of(self.python)
        self.index = found["index"]
        self.offline = bool(self.index and self.index["failure"]) if offline is None else offline
        self.closed: list[str] = found["closed"]

    @property
    def place(self) -> str:
        return posixpath.join(self.root, "env", self.environment)

    def carry_out(self, *, shared: bool, application: str | None, dry_run: bool) -> InstallReport:
        """Do what is needed, or only say so."""
        report = InstallReport(self.host.name, self.place, self.target.full_version, dry_run, self.offline)
        step = report.steps.append
        step(Step("python", False, f"{self.target.full_version} at {self.python['executable']}"))
        if self.index and self.index["failure"]:
            report.notes.append(f"the host reaches no package index ({self.index['failure']}): wheels come from here")
        if shared and self.closed:
            report.notes.append(
                f"other users cannot pass through {' and '.join(self.closed)}: chmod o+x would let them"
            )

        self.progress("interpreter", "pushing the interpreter")
        pushed = not self.host.probe().has_interpreter if dry_run else self.host.ensure_interpreter()
        step(Step("interpreter", pushed, posixpath.dirname(self.host.interpreter)))

        requested, sources, lines, built = self._differences()
        step(Step("environment", bool(self.rebuild), self.rebuild or self.place))
        if (self.rebuild or lines or built) and not dry_run:
            self._apply(requested, sources, lines, built, shared=shared)
            self.installed = self._inspect(index=False)["environment"]["installed"]
            names = sorted({*self.before, *self.installed})
            report.differences = {
                name: (self.before.get(name), self.installed.get(name))
                for name in names
                if self.before.get(name) != self.installed.get(name)
            }
        step(Step("packages", bool(lines or built), self._said(report, lines, built)))
        report.installed = dict(self.installed)
        report.commits = {name: entry["identity"] for name, entry in sources.items() if git_like(entry["source"])}
        if shared:
            step(self._share(dry_run))
        if shared or application is not None:
            for folder in self._location_folders(shared, application):
                step(self._note_location(folder, shared, application, dry_run))
        return report

    def _inspect(self, *, index: bool) -> dict[str, Any]:
        done = self.host.run_python(
            _source("inspection.py"),
            self.root,
            self.environment,
            "yes" if index else "no",
            timeout=INSPECTION_TIMEOUT,
        )
        return self._answer(done.stdout, done.stderr, "look at the environment")

    def _answer(self, stdout: bytes, stderr: bytes, purpose: str) -> dict[str, Any]:
        try:
            answer = json.loads(stdout.decode("utf-8", "replace").rstrip().rpartition("\n")[2])
        except ValueError:
            lines = stderr.decode("utf-8", "replace").strip().splitlines() or ["it ended without an answer"]
            raise HostError(
                f"{self.host.name}: cannot {purpose}: {lines[-1]}", f"Try: sremote doctor {self.host.name}"
            ) from None
        if not isinstance(answer, dict):
            raise HostError(f"{self.host.name}: cannot {purpose}: what came back is not an answer")
        return answer

    def _why_rebuild(self, found: Mapping[str, Any], python: str | None) -> str:
        """Say why the environment must be made anew; nothing where it need not be."""
        if self.state is None:
            return "made with virtualenv"
        if not self.record:
            return "made anew: its record is missing or damaged"
        if not self.state["works"]:
            return "made anew: its Python does not start any more"
        old = self.record["python"]
        if python and old["executable"] != found["executable"]:
            return f"made anew: its Python was {old['executable']}"
        return ""

    def _differences(self) -> tuple[dict[str, str], dict[str, dict[str, str]], list[Line], list[_Built]]:
        """Compare what is wanted with what is there.

        Returns what the new record says was requested and which sources it came
        from, the lines to install now and the sources to install now.
        """
        before: dict[str, str] = self.record.get("requested", {})
        sources: dict[str, dict[str, str]] = dict(self.record.get("sources", {}))
        applying = [line for line in self.wanted.lines if self._applies(line)]
        requested = {**before, **{line.name: line.text for line in applying}}
        if self.rebuild:
            again = read_wanted(list(before.values())).lines
            replaced = {line.name for line in applying}
            applying += [line for line in again if line.name not in replaced and line.name not in sources]
        lines = [line for line in applying if not line.is_met(self.installed, set(before.values()))]
        built = [self._build(source) for source in self.wanted.sources]
        if self.rebuild:
            texts = {source.text for source in self.wanted.sources}
            for entry in sources.values():
                if entry["source"] not in texts:
                    built.append(self._build_again(entry))
        needed = []
        for item in built:
            name = self._name_of(item, sources)
            if item.wheel is None or self._has(name, item.identity):
                continue
            _, version, *_ = parse_wheel_filename(item.wheel.name)
            sources[name] = {"source": item.source.text, "identity": item.identity, "version": str(version)}
            requested.pop(name, None)
            needed.append(item)
        for line in lines:
            sources.pop(line.name, None)
        return requested, sources, lines, needed

    def _applies(self, line: Line) -> bool:
        marker = line.requirement.marker
        return marker is None or marker.evaluate({"extra": "", **self.target.markers})

    def _has(self, name: str, identity: str) -> bool:
        entry = self.record.get("sources", {}).get(name)
        return bool(entry) and name in self.installed and entry["identity"] == identity

    def _name_of(self, item: _Built, sources: Mapping[str, Mapping[str, str]]) -> str:
        if item.wheel is not None:
            return canonicalize_name(parse_wheel_filename(item.wheel.name)[0])
        return next(name for name, entry in sources.items() if entry["identity"] == item.identity)

    def _build(self, source: Source) -> _Built:
        """Build a source's wheel, unless its commit is installed already."""
        self.progress("packages", f"building {source.text}")
        if source.path is not None:
            wheel = build(source, self._folder("built"), say=self._say)
            return _Built(source, content_digest(wheel), self._fitting(wheel, source))
        commit = commit_of(source)
        bare = _without_ref(source.text)
        for name, entry in self.record.get("sources", {}).items():
            if _without_ref(entry["source"]) == bare and self._has(name, commit):
                return _Built(source, commit, None)
        return _Built(source, commit, self._fitting(build(source, self._folder("built"), commit=commit), source))

    def _build_again(self, entry: Mapping[str, str]) -> _Built:
        """Build what was installed before, for an environment that is made anew."""
        text = entry["source"]
        if git_like(text):
            return self._build(dataclasses.replace(git_source(text), ref=entry["identity"]))
        if not Path(text).exists():
            raise NotInstalled(
                f"{self.host.name}: the environment is made anew, and {text}, which was installed in it, is not here",
                "Choose another name with --environment, or bring it back.",
            )
        return self._build(Source(text, path=Path(text)))

    def _fitting(self, wheel: Path, source: Source) -> Path:
        if self.target.fits(wheel.name):
            return wheel
        raise NotInstalled(
            f"{source.text} builds {wheel.name} here, which does not fit Python {self.target.minor} of {self.host.name}",
            "Install a wheel that was built for that host, or a package that has one.",
        )

    def _apply(
        self,
        requested: dict[str, str],
        sources: dict[str, dict[str, str]],
        lines: Sequence[Line],
        built: Sequence[_Built],
        *,
        shared: bool,
    ) -> None:
        """Send the host one bundle, and let it make the change."""
        wheels = self._folder("wheels")
        own = [item.wheel.rename(wheels / item.wheel.name) for item in built if item.wheel is not None]
        names = {line.name for line in lines} | {parse_wheel_filename(wheel.name)[0] for wheel in own}
        earlier = read_wanted([text for name, text in requested.items() if name not in names]).lines
        constraints = [
            *self.wanted.constraints,
            *(f"{line.name}{line.requirement.specifier}" for line in earlier if line.requirement.specifier),
        ]
        options = self.wanted.options
        texts = [line.text for line in lines]
        if self.offline:
            self.progress("packages", "fetching wheels")
            if lines or own:
                download(
                    lines, self.target, wheels, options=options, constraints=constraints, wheels=own, say=self._say
                )
            for wheel in wheels.iterdir():
                name, version, *_ = parse_wheel_filename(wheel.name)
                if wheel not in own and self.installed.get(name) == str(version):
                    wheel.unlink()
            options, texts = ["--pre"], [str(line.requirement) for line in lines]
        texts += [f"./wheels/{wheel.name}" for wheel in own]
        runs = []
        if texts:
            arguments = ["--find-links", "wheels", "-r", "requirements.txt", "-c", "constraints.txt"]
            runs.append([*arguments, "--no-index"] if self.offline else arguments)
        for wheel in own:
            name, version, *_ = parse_wheel_filename(wheel.name)
            if self.installed.get(name) == str(version):
                runs.append(["--no-index", "--no-deps", "--force-reinstall", f"wheels/{wheel.name}"])
        plan = {
            "python": self.python["executable"] if self.rebuild else None,
            "active": self.state["generation"] if self.state else None,
            "pip": runs,
            "index": not self.offline,
            "shared": shared,
            "record": {
                "format": RECORD_FORMAT,
                "python": self.python,
                "requested": requested,
                "sources": sources,
            },
        }
        with tempfile.TemporaryFile(dir=self.work) as bundle:
            with zipfile.ZipFile(bundle, "w") as archive:
                archive.writestr("plan.json", json.dumps(plan))
                archive.writestr("requirements.txt", "\n".join([*options, *texts]) + "\n")
                archive.writestr("constraints.txt", "\n".join(constraints) + "\n")
                if self.rebuild:
                    archive.writestr("virtualenv.zip", virtualenv_zip(self.target, say=self._say))
                if runs:
                    archive.writestr("pip.zip", pip_zip(self.target, say=self._say))
                for wheel in sorted(wheels.iterdir()):
                    archive.write(wheel, f"wheels/{wheel.name}")
                archive.writestr("wheels/", "")
            self._send(bundle)

    def _send(self, bundle: BinaryIO) -> None:
        size = bundle.tell()
        bundle.seek(0)
        self.progress("environment", f"sending {size / 1e6:.1f} MB")
        stdout, stderr = bytearray(), bytearray()
        shown = 0

        def take(stream: str, data: bytes) -> None:
            nonlocal shown
            (stdout if stream == "stdout" else stderr).extend(data)
            while (end := stdout.find(b"\n", shown)) >= 0:
                line, shown = stdout[shown:end].decode("utf-8", "replace"), end + 1
                if line.startswith("progress: "):
                    self.progress("packages", line.removeprefix("progress: "))

        command = [self.host.probe().python, "-c", _source("installation.py"), self.root, self.environment]
        self.host.execute(command, stdin=bundle, output=take)
        answer = self._answer(bytes(stdout), bytes(stderr), "change the environment")
        if answer["error"] is not None:
            raise self._refusal(str(answer["error"]), str(answer["message"]), str(answer["output"]))

    def _refusal(self, kind: str, message: str, output: str) -> Exception:
        if kind == "pip":
            error = failure(output, f"on {self.host.name}", self.host.name)
            return error
        if kind == "full":
            return HostFull(
                f"{self.host.name}: no space is left for {self.place}; it is as it was",
                f"Make room there, or choose another folder with --root: sremote facts {self.host.name}",
            )
        if kind == "permission":
            return PermissionRefused(f"{self.host.name}: {message}", "Choose another folder with --root.")
        remedy = "Run it again." if kind == "changed" else f"Try: sremote doctor {self.host.name}"
        return HostError(f"{self.host.name}: {message}", remedy)

    def _said(self, report: InstallReport, lines: Sequence[Line], built: Sequence[_Built]) -> str:
        if not lines and not built:
            return f"{len(self.installed)} installed, all as asked" if self.installed else "none asked for"
        if report.dry_run:
            return ", ".join([*(line.text for line in lines), *(item.source.text for item in built)])
        said = (
            f"{name} {after or 'removed'}" + (f" (was {before})" if before and after else "")
            for name, (before, after) in report.differences.items()
        )
        return ", ".join(said) or ", ".join(item.source.text for item in built)

    def _share(self, dry_run: bool) -> Step:
        """Let other users read what is installed."""
        folders = [posixpath.join(self.root, name) for name in ("interpreter", "env")]
        look = ["find", self.root, *folders, "!", "-type", "l", "!", "-perm", "-0444", "-print"]
        closed = self.host.execute(look, timeout=INSPECTION_TIMEOUT).stdout
        if closed and not dry_run:
            self._must(["chmod", "-R", "a+rX", *folders])
            self._must(["chmod", "a+rx", self.root])
        return Step("sharing", bool(closed), f"{self.root} can be read by all")

    def _must(self, argv: Sequence[str]) -> None:
        done = self.host.execute(argv, timeout=INSPECTION_TIMEOUT)
        if done.status != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {done.status}"]
            raise PermissionRefused(f"{self.host.name}: {said[-1]}", "Only a folder's owner can share it.")

    def _location_folders(self, shared: bool, application: str | None) -> list[str]:
        home = posixpath.join(self.host.probe().home, DEFAULT_ROOT)
        folders = [self.root] if shared else []
        if application is not None and home not in folders:
            folders.append(home)
        return folders

    def _note_location(self, folder: str, shared: bool, application: str | None, dry_run: bool) -> Step:
        """Write into ``folder`` where the installation is."""
        path = posixpath.join(folder, FILE)
        entry = {"installation": self.root, "environment": self.environment}
        try:
            text = self.host.connector.read(path).decode("utf-8", "replace")
        except FileMissing:
            text = None
        changed = with_entry(text, application, entry, where=f"{self.host.name}: {path}")
        if changed != text and not dry_run:
            mode = 0o644 if shared and folder == self.root else 0o600
            self.host.connector.put(changed.encode(), path, mode=mode)
        return Step("location", changed != text, path)

    def _folder(self, name: str) -> Path:
        folder = self.work / name
        folder.mkdir(exist_ok=True)
        return folder

    def _say(self, text: str) -> None:
        self.progress("packages", text)


def git_like(text: str) -> bool:
    """Say whether a recorded source is a repository; else it is a path."""
    return "://" in text


def _without_ref(text: str) -> str:
    source = git_source(text)
    return f"{source.url}#{source.subdirectory}"


def _source(name: str) -> str:
    return (resources.files("sremote.interpreter") / name).read_text(encoding="utf-8")
