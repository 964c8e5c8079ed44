"""Clients of remote objects, one for each way and for the whole run: leave them as they were."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

import sremote
from sremote.objects import ObjectClient
from tests.kit.clients import connect_to
from tests.kit.pythons import installed_pythons
from tests.kit.socket_server import SocketServer
from tests.kit.sshd import SshServer
from tests.sremote.objects import common  # noqa: F401 - what the clients have in common

ENDS = {python.minor: python for python in installed_pythons() if not python.name.startswith("pypy")}
OLDEST, NEWEST = ENDS[min(ENDS)], ENDS[max(ENDS)]
WAYS = ["local", "ssh", "openssh", "socket", "via", f"local {OLDEST}", f"local {NEWEST}"]


@pytest.fixture(scope="session")
def connect(sshd: SshServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], sremote.Client]]:
    """Connects by the name of a way; the clients are closed at the end."""
    with contextlib.ExitStack() as stack:

        def connect(way: str) -> sremote.Client:
            root = str(tmp_path_factory.mktemp("root"))
            kind, _, python = way.partition(" ")
            if kind == "ssh":
                return stack.enter_context(connect_to(sshd, root=root))
            if kind == "openssh":
                config = {"config_file": str(sshd.config_file)}
                return stack.enter_context(sremote.connect(f"openssh://{sshd.name}", root=root, **config))
            if kind == "socket":
                server = stack.enter_context(SocketServer(tmp_path_factory.mktemp("socket") / "server"))
                return stack.enter_context(server.client(root=root))
            if kind == "via":
                near = stack.enter_context(connect_to(sshd, root=root))
                return stack.enter_context(sremote.connect("local:", via=near, root=root))
            path = next((str(each.path) for each in ENDS.values() if str(each) == python), None)
            return stack.enter_context(sremote.connect("local:", root=root, python=path))

        yield connect


@pytest.fixture(scope="session", params=WAYS)
def remote(request: pytest.FixtureRequest, connect: Callable[[str], sremote.Client]) -> Iterator[ObjectClient]:
    """A client over every kind of way, and to the oldest and the newest Python."""
    with connect(request.param).objects(echo=False) as remote:
        yield remote


@pytest.fixture(scope="session")
def local_connection(connect: Callable[[str], sremote.Client]) -> sremote.Client:
    return connect("local")


@pytest.fixture
def local_remote(local_connection: sremote.Client) -> Iterator[ObjectClient]:
    """A client of this machine, for one test."""
    with local_connection.objects(echo=False) as remote:
        yield remote
