"""Fixtures that all tests share: an environment that is not the user's own, and running servers."""

import os
import re
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.kit.sshd import SshServer, ssh_server

REAL_SSH = shutil.which("ssh")
COVERING = (
    "interpreter/",
    "gateway/",
    "sremote/test_cli_",
    "sremote/test_call",
    "sremote/test_session",
    "sremote/test_jobs",
)
"""The tests whose child processes count as covered.  They take twice as long for it, so the others go without."""

REPEATING = re.compile(
    r"""
    connectors/test_conformance_facilities\.py::TestSfapi            # its verbs are those of newt
    | gateway/test_conformance_gateway\.py::TestGatewayWithoutStreams
    | sremote/channels/.*\[(openssh|via|python3\.13)                     # over another way, or on another Python
    | sremote/execnet/.*\[via
    | sremote/objects/.*\[(openssh|ssh|via|local\ python3\.13)
    | sremote/test_functions\.py::TestOnEveryPython.*\[python3\.(7|8|9|10|12)
    | sremote/install/test_wheels\.py.*\[python3\.(7|8|9|10|12)
    | sremote/test_client\.py.*\[files
    | sremote/test_jobs\.py.*\[files
    | connectors/test_newt\.py.*\[newt\ 2
    | interpreter/test_(output|refusals|outcomes|commands)\.py.*\[python3\.6
    | sremote/test_via\.py::TestConformance
    | sremote/launcher/.*\[tmux
    | sremote/test_cli_files\.py::test_(install_shows_progress|a_copy_shows_a_bar|delete_and_always|facts_are_shown)
    | sremote/install/test_installer\.py::test_(an_environment_without|progress_tells|the_hosts_pip|a_failure_leaves)
    | test_documentation\.py::test_an_example_goes_to_the_host
    """,
    re.VERBOSE,
)
"""Tests that say little more than others that are run: they are marked ``long``."""


@pytest.fixture(scope="session", autouse=True)
def session_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's own home, configuration and agent out of every test, session fixtures included."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="run-") as run:
        isolate(patch, tmp_path_factory.mktemp("home"))
        # Sockets live there, and a socket's path must be short.
        patch.setenv("XDG_RUNTIME_DIR", run)
        patch.setenv("PATH", f"{ssh_of_home(tmp_path_factory.mktemp('bin'))}:{os.environ['PATH']}")
        for name in ("SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY", "NO_COLOR"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True)
def client_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory for the client, fresh for each test."""
    home = tmp_path_factory.mktemp("home")
    isolate(monkeypatch, home)
    return home


@pytest.fixture(autouse=True)
def measured_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep coverage away from what a test starts, unless it is one of COVERING."""
    if not str(request.path.relative_to(Path(__file__).parent)).startswith(COVERING):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """A running ssh server, shared: leave it as you found it."""
    with ssh_server(tmp_path_factory.mktemp("sshd") / "server") as server:
        yield server


@pytest.fixture
def ssh_address(sshd: SshServer, client_home: Path) -> str:
    """The shared server's name, which ~/.ssh/config explains to both ssh connectors."""
    configure_ssh(client_home, sshd)
    return sshd.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in REPEATING."""
    for item in items:
        if REPEATING.search(item.nodeid):
            item.add_marker(pytest.mark.long)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI=true, make a skipped test a failed one."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, though CI=true: {report.longrepr}"
    return report


def configure_ssh(home: Path, *servers: SshServer) -> None:
    """Write ~/.ssh/config in ``home`` so that each server answers to its name."""
    folder = home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "config").write_text("".join(server.config_file.read_text() for server in servers))


def isolate(patch: pytest.MonkeyPatch, home: Path) -> None:
    patch.setenv("HOME", str(home))
    for name, folder in (
        ("CONFIG", ".config"),
        ("STATE", ".local/state"),
        ("CACHE", ".cache"),
        ("DATA", ".local/share"),
    ):
        patch.setenv(f"XDG_{name}_HOME", str(home / folder))


def ssh_of_home(folder: Path) -> Path:
    """Return a folder whose ``ssh`` reads $HOME/.ssh/config; the real one looks in the account's home only."""
    program = folder / "ssh"
    program.write_text(
        f"""#!/bin/sh
config=$HOME/.ssh/config
[ -f "$config" ] || config=/dev/null
exec {REAL_SSH} -F "$config" "$@"
"""
    )
    program.chmod(0o755)
    return folder
