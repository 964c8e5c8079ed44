"""Sessions over every way to a host and with every Python there, one of each for all tests: leave them as they were."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import sremote
from tests.conftest import configure_ssh
from tests.kit.pythons import installed_pythons
from tests.kit.socket_server import SocketServer
from tests.kit.sshd import SshServer

LONG = bool(os.environ.get("SREMOTE_LONG_TESTS"))
PYTHONS = [python.name for python in installed_pythons()]
NEWEST = [name for name in PYTHONS if not name.startswith("pypy")][-1]
WAYS = ("local", "ssh", "openssh", "socket", "via")


@pytest.fixture(scope="session")
def sessions(
    tmp_path_factory: pytest.TempPathFactory, local_client: sremote.Client, ssh_client: sremote.Client, sshd: SshServer
) -> Iterator["Sessions"]:
    """Gives the session of a way or of a Python, made when it is first asked for."""
    with ExitStack() as stack:
        yield Sessions(stack, tmp_path_factory.mktemp("channels"), local_client, ssh_client, sshd)


class Sessions:
    def __init__(
        self, stack: ExitStack, folder: Path, local: sremote.Client, ssh: sremote.Client, sshd: SshServer
    ) -> None:
        self._stack = stack
        self._folder = folder
        self._clients = {"local": local, "ssh": ssh}
        self._sshd = sshd
        self._sessions: dict[str, sremote.Session] = {}

    def client(self, way: str) -> sremote.Client:
        if way not in self._clients:
            self._clients[way] = self._stack.enter_context(self._connect(way))
        return self._clients[way]

    def session(self, way: str) -> sremote.Session:
        found = self._sessions.get(way)
        if found is None or not found.is_open:
            found = self._sessions[way] = self._stack.enter_context(self.client(way).session())
        return found

    def _connect(self, way: str) -> sremote.Client:
        if way == "openssh":
            home = self._folder / "home"
            home.mkdir()
            configure_ssh(home, self._sshd)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("HOME", str(home))
                client = sremote.connect(f"openssh://{self._sshd.name}")
                client.call("os", "getpid")
            return client
        if way == "socket":
            server = self._stack.enter_context(SocketServer(self._folder / way))
            return server.client()
        if way == "via":
            config = ["-F", str(self._sshd.config_file)]
            return sremote.connect(f"ssh://{self._sshd.name}", via=self.session("local"), options=config)
        python = next(python for python in installed_pythons() if python.name == way)
        return sremote.connect("local:", python=str(python.path), root=str(self._folder / way))


@pytest.fixture(params=[*WAYS, *(PYTHONS if LONG else (PYTHONS[0], NEWEST))])
def session(request: pytest.FixtureRequest, sessions: Sessions) -> sremote.Session:
    """A session over each way, and with the oldest and the newest Python there; with SREMOTE_LONG_TESTS each one."""
    return sessions.session(request.param)


@pytest.fixture(params=PYTHONS)
def python_session(request: pytest.FixtureRequest, sessions: Sessions) -> sremote.Session:
    """A session with each Python on this machine."""
    return sessions.session(request.param)


@pytest.fixture
def local_session(sessions: Sessions) -> sremote.Session:
    """A session on this machine."""
    return sessions.session("local")
