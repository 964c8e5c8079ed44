"""Hosts with old or new Pythons and neither pip, virtualenv, git nor an index: wheels are fetched here."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sremote.connection import open_host
from sremote.environment import Environment
from sremote.errors import HostUnreachable, NotInstalled
from sremote.host import Host
from sremote.hosts import HostSettings
from sremote.installer import install
from sremote.requirements import read_wanted
from sremote.target import target_of
from sremote.wheels import download
from tests.conftest import configure_ssh
from tests.kit.pythons import python_of
from tests.kit.sshd import SshServer, ssh_server
from tests.sremote.install.looking import environment, run_in, steps, tree

NOWHERE = "http://127.0.0.1:9/simple"


@pytest.fixture(scope="session")
def bare_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], SshServer]]:
    """Gives servers whose only Python is the chosen one, without git, and whose pip is told of a dead index."""
    with contextlib.ExitStack() as running:

        @functools.cache
        def start(minor: int) -> SshServer:
            folder = tmp_path_factory.mktemp("bare") / "server"
            settings = {"PIP_INDEX_URL": NOWHERE, "PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": ""}
            server = ssh_server(
                folder, name=f"bare{minor}", python=python_of(minor), missing=["git*"], environment=settings
            )
            return running.enter_context(server)

        yield start


@contextlib.contextmanager
def bare_host(start: Callable[[int], SshServer], minor: int, home: Path) -> Iterator[Host]:
    server = start(minor)
    configure_ssh(home, server)
    host = open_host(HostSettings(server.name, root=f"root-{home.name}"))
    with host.connector:
        yield host


@pytest.mark.slow
@pytest.mark.parametrize("minor", [6, *(pytest.param(minor, marks=pytest.mark.long) for minor in (8, 13))])
def test_a_bare_host_gets_packages_with_wheels_for_its_own_python(
    bare_server: Callable[[int], SshServer], minor: int, client_home: Path, cache: Path
) -> None:
    with bare_host(bare_server, minor, client_home) as host:
        report = install(host, packages=["six", "markupsafe"])
        assert report.offline
        assert set(report.installed) == {"six", "markupsafe"}
        source = "import sys, six, markupsafe._speedups; print(sys.version_info[1])"
        assert run_in(environment(host), source) == str(minor)
        assert not install(host, packages=["six", "markupsafe"]).changed


def test_the_report_says_why_wheels_came_from_here(
    bare_server: Callable[[int], SshServer], client_home: Path, only_our_index: str
) -> None:
    with bare_host(bare_server, 13, client_home) as host:
        report = install(host, packages=["hammer"], dry_run=True)
    assert [note for note in report.notes if "asks no package index" in note and "Connection refused" in note]


def test_dependencies_are_those_of_the_hosts_python(
    bare_server: Callable[[int], SshServer], client_home: Path, only_our_index: str
) -> None:
    with bare_host(bare_server, 8, client_home) as host:
        target = target_of(Environment(host, "default").inspect().python)
    folder = client_home / "wheels"
    download(read_wanted(["saw"]).lines, target, folder)
    assert sorted(path.name.split("-")[0] for path in folder.iterdir()) == ["oldblade", "saw"]


def test_a_package_without_a_wheel_is_built_here(installed_host: Host) -> None:
    report = install(installed_host, packages=["sandpaper"], offline=True)
    assert report.installed["sandpaper"] == "1.0"
    assert steps(report)["packages"]


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        ("anvil", r"for Python 3\.\d+ on linux_\w+: No matching distribution found for anvil"),
        ("furnace", r"furnace has no wheel for Python 3\.\d+ on linux_\w+"),
    ],
)
@pytest.mark.long
def test_a_package_that_cannot_be_had_for_the_host_is_named(installed_host: Host, package: str, reason: str) -> None:
    before = tree(environment(installed_host).parent)
    with pytest.raises(NotInstalled, match=reason):
        install(installed_host, packages=[package], offline=True)
    assert tree(environment(installed_host).parent) == before


def test_no_network_here_is_said_to_be_that(installed_host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", NOWHERE)
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(HostUnreachable, match="no package index can be reached from this machine"):
        install(installed_host, packages=["newblade"], offline=True)


@pytest.mark.long
def test_what_the_host_has_is_not_sent_again(installed_host: Host) -> None:
    said: list[str] = []
    install(
        installed_host, packages=["newblade", "hammer[x]"], offline=True, progress=lambda _, text: said.append(text)
    )
    assert any(text.startswith("Processing ./wheels/newblade") for text in said)
    assert not any("wheels/hammer" in text for text in said)
