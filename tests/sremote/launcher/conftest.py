"""Hosts to launch on: real ssh servers, each with sessions of screen and tmux of its own."""

import os
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sremote.launcher import ComponentResult, LaunchResult, Plan, Reporter, load
from tests.conftest import configure_ssh
from tests.kit.sessions import launch_host, session_folders
from tests.kit.sshd import SshServer

PATIENCE = 60.0
"""Seconds after which what a test waits for will not come."""


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[SshServer]]:
    """Three running hosts on loopback addresses of their own, shared: no launch may be left on them."""
    folder = tmp_path_factory.mktemp("hosts")
    with ExitStack() as stack:
        yield [
            stack.enter_context(launch_host(folder, f"host{number}", listen=f"127.0.0.{number + 1}"))
            for number in range(3)
        ]


@pytest.fixture(autouse=True)
def own_sessions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep this machine's sessions, and those of other tests, apart from the test's."""
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


def processes_with(text: str) -> list[str]:
    """Return the command lines of living processes that hold ``text``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if text in line and path.parent.name != str(os.getpid()):
            found.append(line)
    return found


def wait_until(condition: Callable[[], object], what: str = "it") -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} has not come"
        time.sleep(0.02)
