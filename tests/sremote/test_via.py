"""Hosts that are reached through another one."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import sremote
from sremote.connectors.base import Connector
from sremote.errors import ConnectionLost, HostKeyError, HostUnreachable, UsageError
from sremote.testing import ConnectorConformance
from sremote.via import ViaConnector
from tests.kit.clients import connect_to
from tests.kit.socket_server import SocketServer
from tests.kit.sshd import SshServer


@pytest.fixture(scope="session")
def near(local_client: sremote.Client) -> Iterator[sremote.Session]:
    """A session on the host in between."""
    with local_client.session(echo=False) as session:
        yield session


class TestConformance(ConnectorConformance):
    """A process over there, which keeps the whole contract of a connector."""

    connector_class = ViaConnector

    @pytest.fixture
    def connector(self, near: sremote.Session) -> Iterator[Connector]:
        with sremote.connect("local:", via=near) as client:
            yield client.host.connector


class TestAnotherProcess:
    def test_does_all_that_a_client_does(self, near: sremote.Session, tmp_path: Path) -> None:
        with sremote.connect("local:", via=near) as client:
            assert client.call("math", "sqrt", [16]) == 4.0
            assert client.run(["cat"], stdin=b"input").stdout == b"input"
            (tmp_path / "file").write_bytes(b"content")
            client.push(tmp_path / "file", str(tmp_path / "there"))
            assert (tmp_path / "there").read_bytes() == b"content"
            with client.session() as session:
                assert session.remote_exec("channel.send(channel.receive())").isclosed() is False

    def test_is_started_by_the_one_in_between(self, near: sremote.Session) -> None:
        with sremote.connect("local:", via=near) as client, client.session() as session:
            parents = session.call_function(parents_of_this_process)
            assert near.call("os", "getpid") in parents

    def test_may_be_behind_several(self, near: sremote.Session) -> None:
        with (
            sremote.connect("local:", via=near) as middle,
            sremote.connect("local:", via=middle) as far,
            far.session() as session,
        ):
            channel = session.remote_exec("for item in channel: channel.send(item)")
            channel.send(b"x" * 1_000_000)
            assert channel.receive() == b"x" * 1_000_000

    def test_ends_with_its_client(self, near: sremote.Session) -> None:
        with sremote.connect("local:", via=near) as client, client.session() as session:
            pid = session.call("os", "getpid")
        wait_until_gone(pid)

    def test_is_lost_when_the_one_in_between_is(self, local_client: sremote.Client) -> None:
        with local_client.session() as middle, sremote.connect("local:", via=middle) as client:
            with client.session() as session:
                middle.kill()
                with pytest.raises(ConnectionLost):
                    session.call("os", "getpid")
            with pytest.raises(ConnectionLost, match="has ended"):
                client.host.connector.connect()

    def test_is_reached_again_through_a_client(self, local_client: sremote.Client) -> None:
        with sremote.connect("local:", via=local_client) as client:
            with client.session() as session:
                parents = session.call_function(parents_of_this_process)
                for pid in parents[: parents.index(os.getpid())]:
                    os.kill(pid, signal.SIGKILL)
                with pytest.raises(ConnectionLost):
                    session.call("time", "sleep", [60])
            assert client.call("math", "sqrt", [16]) == 4.0


def parents_of_this_process() -> list[int]:
    import os

    found, pid = [], os.getpid()
    while pid > 1:
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
        found.append(pid)
    return found


def wait_until_gone(pid: int) -> None:
    while Path(f"/proc/{pid}").exists():  # the suite's time limit ends it
        time.sleep(0.02)


class TestSsh:
    @pytest.fixture
    def options(self, sshd: SshServer) -> list[str]:
        return ["-F", str(sshd.config_file)]

    def test_signs_in_from_over_there(self, near: sremote.Session, sshd: SshServer, options: list[str]) -> None:
        with sremote.connect(f"openssh://{sshd.name}", via=near, options=options) as client:
            assert client.run(["printenv", "HOME"]).stdout.decode().strip() == str(sshd.home)

    def test_says_why_it_cannot(self, near: sremote.Session, sshd: SshServer, options: list[str]) -> None:
        with pytest.raises(HostKeyError):
            sremote.connect(sshd.address, via=near, options=["-o", "UserKnownHostsFile=/dev/null"])
        with pytest.raises(HostUnreachable, match="refused"):
            sremote.connect("ssh://127.0.0.1:1", via=near, options=options)

    def test_goes_on_from_a_server(self, sshd: SshServer, options: list[str]) -> None:
        with connect_to(sshd) as near, sremote.connect(f"ssh://{sshd.name}", via=near, options=options) as client:
            assert client.call("os", "getenv", ["HOME"]) == str(sshd.home)


class TestAProgram:
    def test_in_front_runs_over_there(self, near: sremote.Session) -> None:
        with sremote.connect("command:env BEHIND=yes", via=near) as client:
            assert client.run(["printenv", "BEHIND"]).stdout == b"yes\n"

    def test_that_fails_is_said(self, near: sremote.Session) -> None:
        with pytest.raises(HostUnreachable, match=r"status 1\n.*by hand"):
            sremote.connect("command:false", via=near)


class TestASocketServer:
    def test_is_connected_to_from_over_there(self, near: sremote.Session, tmp_path: Path) -> None:
        with (
            SocketServer(tmp_path / "server") as server,
            server.client(via=near) as client,
        ):
            assert client.run(["printenv", "HOME"]).stdout.decode().strip() == str(server.home)
            with client.session() as session:
                assert session.call("math", "sqrt", [16]) == 4.0

    def test_that_does_not_run_is_said(self, near: sremote.Session) -> None:
        with pytest.raises(HostUnreachable, match="as seen from local"):
            sremote.connect("socket://127.0.0.1:1", via=near, key="secret" * 8)

    def test_elsewhere_needs_tls(self, near: sremote.Session) -> None:
        with pytest.raises(UsageError, match="without TLS"):
            sremote.connect("socket://example.org", via=near, key="secret" * 8, tls=False)


class TestTheHostOnTheWay:
    def test_may_be_named_by_its_address(self) -> None:
        with sremote.connect("local:", via="local:") as client:
            assert client.call("math", "sqrt", [16]) == 4.0

    def test_may_stand_in_the_hosts_file(self) -> None:
        from sremote.hosts import HostSettings, add_host

        add_host("inner", HostSettings("local:", via="local:"))
        with sremote.connect("inner") as client:
            assert client.run(["echo", "hello"]).stdout == b"hello\n"

    def test_may_be_an_option_of_a_command(self, capfd: pytest.CaptureFixture[str]) -> None:
        from sremote.cli import program

        program.main(["call", "local:", "--via", "local:", "math", "sqrt", "16"], standalone_mode=False)
        assert capfd.readouterr().out == "4.0\n"

    def test_leads_to_some_schemes_only(self, near: sremote.Session) -> None:
        with pytest.raises(UsageError, match="no way through another host with 'newt'"):
            sremote.connect("newt://example.org", via=near)

    def test_takes_some_options_only(self, near: sremote.Session) -> None:
        with pytest.raises(UsageError, match="colour"):
            sremote.connect("local:", via=near, colour="blue")
