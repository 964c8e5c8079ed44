"""``socket:`` and ``sremote serve``: who is let in, what the way is like, how it ends."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sremote
from sremote.connectors.address import parse_address
from sremote.connectors.errors import (
    ConnectionLost,
    HostKeyError,
    HostUnreachable,
    LineTimeout,
    SignInRefused,
    UsageError,
)
from sremote.connectors.socket import SocketConnector
from sremote.interpreter.socket_key import read_key, show_fingerprint
from sremote.socket_keys import generate_key
from tests.kit.proxy import DelayingProxy
from tests.kit.pythons import Python, installed_pythons, python_of
from tests.kit.recorder import Recorder
from tests.kit.socket_server import SocketServer

PATIENCE = 60.0
FAR_PYTHONS = list(installed_pythons())
if not os.environ.get("SREMOTE_LONG_TESTS"):
    FAR_PYTHONS = [FAR_PYTHONS[0], FAR_PYTHONS[-1]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketServer]:
    with SocketServer(tmp_path_factory.mktemp("socket") / "server") as server:
        yield server


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketServer]:
    with SocketServer(tmp_path_factory.mktemp("socket") / "plain", tls=False) as server:
        yield server


def secret_of(server: SocketServer) -> str:
    return read_key(str(server.key_file)).secret.decode()


# --- calls and commands ----------------------------------------------------------------------


def test_calls_sessions_and_copies_share_one_connection(server: SocketServer, tmp_path: Path) -> None:
    with DelayingProxy(server.port) as proxy:
        with sremote.connect(f"socket://127.0.0.1:{proxy.port}", **server.options) as client:
            with client.session() as session, ThreadPoolExecutor(4) as pool:
                calls = [pool.submit(client.call, "math", "hypot", [3, 4]) for _ in range(4)]
                assert session.call("math", "factorial", [5]) == 120
                assert [call.result() for call in calls] == [5.0] * 4
            (tmp_path / "file").write_bytes(b"x" * 3_000_000)
            client.push(tmp_path / "file", "copy")
            client.pull("copy", tmp_path / "back")
        assert (tmp_path / "back").stat().st_size == 3_000_000
        assert proxy.connections == 1


def test_each_connection_has_a_process_of_its_own(server: SocketServer) -> None:
    with server.connector() as one, server.connector() as other:
        parents = {each.execute(["sh", "-c", "echo $PPID"]).stdout for each in (one, one, other)}
    assert len(parents) == 2


@pytest.mark.parametrize("python", FAR_PYTHONS, ids=str)
def test_a_host_that_has_only_the_far_side_serves(python: Python, tmp_path: Path) -> None:
    with SocketServer(tmp_path / "server", python=python.path) as server, server.client() as client:
        assert client.call("math", "hypot", [3, 4]) == 5.0
        assert client.run(["sh", "-c", "cat; exit 3"], stdin=b"x" * 100_000).status == 3


def test_a_reader_that_does_not_read_makes_neither_end_grow(server: SocketServer) -> None:
    with server.connector() as connector:
        slow = connector.start(["sh", "-c", "echo $PPID; exec cat /dev/zero"])
        pid = int(slow.read(100).split(b"\n")[0])
        before = memory_of(pid), memory_of(os.getpid())
        assert len(connector.execute(["head", "-c", "60000000", "/dev/zero"]).stdout) == 60_000_000
        assert memory_of(pid) - before[0] < 20_000_000
        held = sum(len(piece) for stream in slow._streams.values() for piece in stream.pieces)  # type: ignore[attr-defined]
        assert held <= 1 << 20
        slow.kill()


def memory_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


# --- the key and the certificate -------------------------------------------------------------


def test_another_key_is_turned_down(server: SocketServer, tmp_path: Path) -> None:
    other = generate_key(tmp_path / "other.key").secret.decode()
    connector = SocketConnector(
        parse_address(server.address), key=other, fingerprint=show_fingerprint(server.fingerprint or b"")
    )
    with pytest.raises(SignInRefused, match="does not take this key"):
        connector.connect()


def test_another_certificate_is_turned_down_before_anything_is_proved(server: SocketServer, tmp_path: Path) -> None:
    generate_key(tmp_path / "other.key")
    with pytest.raises(HostKeyError, match=r"sha256:[0-9a-f]{64}, not the expected sha256:"):
        server.connector(key_file=tmp_path / "other.key").connect()


def test_a_key_without_a_certificate_needs_its_fingerprint(server: SocketServer) -> None:
    address = parse_address(server.address)
    with pytest.raises(HostKeyError, match="nothing says whether that is right") as caught:
        SocketConnector(address, key=secret_of(server)).connect()
    shown = str(caught.value).split("certificate ")[1].split(",")[0]
    with SocketConnector(address, key=secret_of(server), fingerprint=shown) as connector:
        assert connector.execute(["echo", "in"]).stdout == b"in\n"


def test_a_key_file_that_others_may_read_is_not_used(server: SocketServer, tmp_path: Path) -> None:
    open_file = tmp_path / "open.key"
    open_file.write_bytes(server.key_file.read_bytes())
    open_file.chmod(0o640)
    with pytest.raises(UsageError, match=r"others may read this key\n  Type: chmod 600"):
        server.connector(key_file=open_file).connect()


@pytest.mark.parametrize("content", ["", "hello", "sremote key 1\nno key here\n"])
def test_a_file_that_holds_no_key_is_said_to_be_none(server: SocketServer, tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    (tmp_path / "file").chmod(0o600)
    with pytest.raises(UsageError, match="is not a key file"):
        server.connector(key_file=tmp_path / "file").connect()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "it takes a key"),
        ({"key": "a", "key_file": "b"}, "it takes a key"),
        ({"key": "a", "fingerprint": "sha256:12"}, "is not a fingerprint"),
        ({"key_file": "/nowhere/key"}, "cannot be read: No such file"),
    ],
)
def test_options_that_cannot_be(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SocketConnector(parse_address("socket://127.0.0.1:1"), **options).connect()  # type: ignore[arg-type]


# --- with TLS and without --------------------------------------------------------------------


def test_without_tls_on_this_machine(plain_server: SocketServer) -> None:
    with plain_server.connector() as connector:
        assert connector.execute(["cat"], stdin=b"x" * 1_000_000).stdout == b"x" * 1_000_000


def test_a_client_with_tls_says_that_the_server_has_none(plain_server: SocketServer) -> None:
    with pytest.raises(HostUnreachable, match="does not speak TLS"):
        plain_server.connector(tls=True).connect()


def test_a_client_without_tls_says_that_the_server_hung_up(server: SocketServer) -> None:
    with pytest.raises((HostUnreachable, LineTimeout), match=f"port {server.port}"):
        server.connector(tls=False, connect_timeout=1).connect()


def test_nothing_readable_passes_with_tls(server: SocketServer, plain_server: SocketServer) -> None:
    def what_passes(server: SocketServer) -> bytes:
        with Recorder(server.port) as recorder:
            with server.connector(recorder.port) as connector:
                connector.execute(["echo", "easily read"])
            return bytes(recorder.sent + recorder.received)

    assert b"easily read" in what_passes(plain_server)
    assert b"easily read" not in what_passes(server)


def test_it_serves_on_ipv6(tmp_path: Path) -> None:
    with SocketServer(tmp_path / "server", listen="[::1]:0") as server, server.connector() as connector:
        assert server.address.startswith("socket://[::1]:")
        assert connector.execute(["echo", "six"]).stdout == b"six\n"


# --- the ends of lines -----------------------------------------------------------------------


def test_a_line_that_drops_is_an_error_and_connecting_again_helps(server: SocketServer) -> None:
    with DelayingProxy(server.port) as proxy, server.connector(proxy.port) as connector:
        process = connector.start(["cat"])
        proxy.cut()
        with pytest.raises(ConnectionLost, match="the line dropped"):
            process.read()
        with pytest.raises(ConnectionLost):
            process.wait(PATIENCE)
        with pytest.raises(ConnectionLost):
            connector.execute(["true"])
        connector.connect()
        assert connector.execute(["echo", "again"]).stdout == b"again\n"


def test_a_call_outlives_a_line_that_drops(server: SocketServer) -> None:
    with (
        DelayingProxy(server.port) as proxy,
        sremote.connect(f"socket://127.0.0.1:{proxy.port}", **server.options) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        place = server.home / "runs"
        script = f"import time\nwith open({str(place)!r}, 'a') as file: file.write('.')\ntime.sleep(1)"
        call = pool.submit(client.call, "builtins", "exec", [script])
        eventually(place.exists)
        proxy.cut()
        assert call.result(PATIENCE) is None
        assert place.read_text() == "."


def test_a_line_that_goes_silent_is_noticed_at_both_ends(tmp_path: Path) -> None:
    with (
        SocketServer(tmp_path / "server", options=["--keepalive", "0.3"]) as server,
        DelayingProxy(server.port) as proxy,
        server.connector(proxy.port, keepalive=0.3) as connector,
    ):
        process = connector.start(["sh", "-c", "echo started; cat"])
        assert process.read() == b"started\n"
        time.sleep(1.2)  # longer than both would wait for a silent one
        process.write(b"alive")
        assert process.read() == b"alive"
        proxy.stall()
        with pytest.raises(ConnectionLost, match="silent"):
            process.read()
        eventually(lambda: "the client has been silent" in server.log.read_text())
        proxy.resume()


def test_a_killed_connection_process_is_a_dropped_line(server: SocketServer) -> None:
    with server.connector() as connector, server.connector() as other:
        pid = int(connector.execute(["sh", "-c", "echo $PPID"]).stdout)
        process = connector.start(["sh", "-c", "echo ready; exec cat"])
        process.read()
        process.write(b"x" * 1000)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ConnectionLost):
            [None for _ in iter(process.read, b"")]
        assert other.execute(["echo", "well"]).stdout == b"well\n"


def test_a_client_that_dies_leaves_nothing_behind(server: SocketServer) -> None:
    connector = server.connector()
    connector.connect()
    pid = int(connector.execute(["sh", "-c", "echo $PPID"]).stdout)
    process = connector.start(["sh", "-c", "echo $$; exec cat"])
    command = int(process.read())
    connector._line._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
    eventually(lambda: not alive(pid) and not alive(command))
    connector.close()


def test_a_stopped_server_ends_its_connections(tmp_path: Path) -> None:
    with SocketServer(tmp_path / "server") as server, server.connector() as connector:
        process = connector.start(["cat"])
        pid = int(connector.execute(["sh", "-c", "echo $PPID"]).stdout)
        os.kill(server.pid, signal.SIGTERM)
        with pytest.raises(ConnectionLost):
            process.read()
        eventually(lambda: not alive(pid))
        with pytest.raises(HostUnreachable, match="Connection refused"):
            server.connector().connect()


def test_a_port_that_answers_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = parse_address(f"socket://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(LineTimeout, match=r"did not answer within 0\.3 s"):
            SocketConnector(address, key="x" * 20, connect_timeout=0.3).connect()


def test_an_oldest_python_serves_a_reader_that_is_slow(tmp_path: Path) -> None:
    python = python_of(min(each.minor for each in installed_pythons()))
    with SocketServer(tmp_path / "server", python=python) as server, server.connector() as connector:
        process = connector.start(["head", "-c", "5000000", "/dev/zero"])
        size = 0
        while data := process.read(100_000):
            size += len(data)
        assert size == 5_000_000


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def eventually(is_so: "object") -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
