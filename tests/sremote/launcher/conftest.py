"""Hosts to launch on: real ssh servers, each with sessions of screen and tmux of its own."""

import io
import json
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sremote.cli import main
from sremote.launcher import ComponentResult, LaunchResult, Plan, Reporter, load
from tests.conftest import configure_ssh
from tests.kit.pythons import installed_pythons
from tests.kit.sessions import launch_host, session_folders
from tests.kit.sshd import SshServer

PATIENCE = 60.0
"""Seconds after which what a test waits for will not come."""


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[SshServer]]:
    """Three running hosts on loopback addresses of their own, shared: no launch may be left on them.

    host1 has the oldest Python of this machine.
    """
    folder = tmp_path_factory.mktemp("hosts")
    newest, oldest = Path(sys.base_prefix, "bin", "python3"), installed_pythons()[0].path
    with ExitStack() as stack:
        yield [
            stack.enter_context(launch_host(folder, f"host{number}", listen=f"127.0.0.{number + 1}", python=python))
            for number, python in enumerate((newest, oldest, newest))
        ]


@pytest.fixture(scope="session")
def interpreters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the interpreter of ``localhost`` is, for all tests: sent and compiled once."""
    folder = tmp_path_factory.mktemp("shared") / "interpreter"  # as it is called on a host
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def own_sessions(monkeypatch: pytest.MonkeyPatch, client_home: Path, interpreters: Path) -> Iterator[None]:
    """Keep this machine's sessions, and those of other tests, apart from the test's."""
    (client_home / ".sremote").mkdir(mode=0o700)
    (client_home / ".sremote/interpreter").symlink_to(interpreters)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    with session_folders() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield


@pytest.fixture
def known_hosts(hosts: list[SshServer], client_home: Path) -> list[SshServer]:
    """The hosts, which answer to their names."""
    configure_ssh(client_home, *hosts)
    return hosts


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file into the configuration's folder, executable where it begins with ``#!``; returns its path."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        if text.startswith("#!"):
            path.chmod(0o755)
        return path

    return write


class Seen(Reporter):
    """Keeps what a launch tells."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.warnings: list[str] = []
        self.lines: list[tuple[str, str]] = []
        self.started_names: list[str] = []
        self.last_lines: dict[str, list[str]] = {}
        self.on_output: Callable[[str, str], None] = lambda _name, _line: None

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def started(self, component: ComponentResult) -> None:
        self.started_names.append(component.name)

    def output(self, component: ComponentResult, line: str) -> None:
        self.lines.append((component.name, line))
        self.on_output(component.name, line)

    def ended(self, component: ComponentResult, last_lines: Any) -> None:
        if component.state == "failed":
            self.last_lines[component.name] = list(last_lines)

    def output_of(self, name: str) -> list[str]:
        return [line for each, line in self.lines if each == name]


@pytest.fixture
def seen() -> Seen:
    return Seen()


def plan_of(path: Path, **options: Any) -> Plan:
    """Load a configuration for tests: components are stopped at once."""
    return load(path, **{"grace": 1.0, **options})


def run(path: Path, seen: Reporter | None = None, *, follow: bool = False, **options: Any) -> LaunchResult:
    """Run a configuration to its end."""
    return plan_of(path, **options).run(seen, follow=follow)


def sremote(*arguments: object, status: int = 0) -> SimpleNamespace:
    """Run the program ``sremote`` in this process, which takes a tenth of the time; check its exit status."""
    outputs = SimpleNamespace(stdout=io.StringIO(), stderr=io.StringIO())
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with redirect_stdout(outputs.stdout), redirect_stderr(outputs.stderr):
            ended = main([str(word) for word in arguments])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    found = SimpleNamespace(stdout=outputs.stdout.getvalue(), stderr=outputs.stderr.getvalue())
    assert ended == status, f"status {ended}\n{found.stdout}\n{found.stderr}"
    return found


def sremote_json(*arguments: object, status: int = 0) -> Any:
    """The same with ``--json``: return the one object that it prints."""
    text = sremote("--json", *arguments, status=status).stdout
    assert text.count("\n") == 1
    return json.loads(text)


def processes_with(text: str) -> list[str]:
    """Return the command lines of living processes that hold ``text`` and belong to the tests of this process."""
    ours = os.fsencode(Path(os.environ["HOME"]).parent)  # where all homes are, those of hosts as well
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if text in line and path.parent.name != str(os.getpid()) and ours in (path.parent / "environ").read_bytes():
                found.append(line)
        except OSError:
            continue
    return found


def wait_until(condition: Callable[[], object], what: str = "it") -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} has not come"
        time.sleep(0.02)
