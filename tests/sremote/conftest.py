"""Clients that these tests share, one connection each: leave them as they were."""

from collections.abc import Iterator

import pytest

import sremote
from tests.kit.clients import connect_to
from tests.kit.pythons import Python, installed_pythons
from tests.kit.sshd import SshServer, ssh_server


@pytest.fixture(scope="session")
def local_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sremote.Client]:
    """A client of ``local:``."""
    with sremote.connect("local:", root=str(tmp_path_factory.mktemp("root"))) as client:
        client.call("os", "getpid")  # now, while $HOME is that of the whole run
        yield client


@pytest.fixture(scope="session")
def ssh_client(sshd: SshServer) -> Iterator[sremote.Client]:
    """A client of the shared ssh server."""
    with connect_to(sshd) as client:
        yield client


@pytest.fixture(params=["local", "ssh"])
def client(request: pytest.FixtureRequest) -> sremote.Client:
    """A client of ``local:``, then one of an ssh server."""
    found: sremote.Client = request.getfixturevalue(f"{request.param}_client")
    return found


@pytest.fixture(scope="session", params=installed_pythons(), ids=str)
def far_client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sremote.Client]:
    """A client of an ssh server for each Python of this machine."""
    python: Python = request.param
    with (
        ssh_server(tmp_path_factory.mktemp(str(python)) / "server", python=python.path) as server,
        connect_to(server) as client,
    ):
        yield client
