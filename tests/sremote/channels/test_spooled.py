"""Sessions and channels over a connector that only runs one command after the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import sremote
from sremote.connectors.address import parse_address
from sremote.connectors.base import Capability
from sremote.connectors.local import LocalConnector
from sremote.errors import ConnectionLost, RemoteError, RemoteExit
from sremote.host import Host


class WithoutStreams(LocalConnector):
    """This machine, as a gateway over HTTP reaches one: commands and files, and no streams."""

    capabilities = Capability.EXECUTE | Capability.EXIT_STATUS
    failing = 0

    def execute(self, *arguments: object, **options: object):  # type: ignore[no-untyped-def, override]
        if self.failing:
            self.failing -= 1
            raise ConnectionLost("the line dropped")
        return super().execute(*arguments, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def connector() -> WithoutStreams:
    return WithoutStreams(parse_address("local:"))


@pytest.fixture(scope="module")
def client(connector: WithoutStreams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sremote.Client]:
    with sremote.Client(Host(connector, root=str(tmp_path_factory.mktemp("spooled")))) as client:
        yield client


@pytest.fixture(scope="module")
def session(client: sremote.Client) -> Iterator[sremote.Session]:
    with client.session() as session:
        yield session


def test_calls_and_channels_work(session: sremote.Session) -> None:
    assert session.call("math", "sqrt", [16]) == 4.0
    channel = session.remote_exec("for item in channel: channel.send(item)")
    for item in (1, "text", b"x" * 1_000_000):
        channel.send(item)
        assert channel.receive(60) == item
    channel.close()


def test_errors_come_back(session: sremote.Session) -> None:
    with pytest.raises(RemoteError, match="here"):
        session.remote_exec("raise ValueError('here')").waitclose(60)


def test_failures_of_the_line_are_bridged(session: sremote.Session, connector: WithoutStreams) -> None:
    channel = session.remote_exec("for item in channel: channel.send(item)")
    connector.failing = 2
    channel.send("across")
    assert channel.receive(60) == "across"
    channel.close()


def test_a_process_that_ends_tells_its_status_and_leaves_nothing(client: sremote.Client) -> None:
    with client.session() as session:
        pid = session.call("os", "getpid")
        folder = Path(client.host.probe().root, "spool")
        assert len(list(folder.iterdir())) >= 1
        before = len(list(folder.iterdir()))
        with pytest.raises(RemoteExit, match="status 7"):
            session.call("os", "_exit", [7])
    assert not Path(f"/proc/{pid}").exists()
    assert len(list(folder.iterdir())) == before - 1
