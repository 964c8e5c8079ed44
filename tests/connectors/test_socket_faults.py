"""``sremote serve`` and what an enemy at the port or on the way may try: nothing runs, breaks or stays."""

import contextlib
import os
import random
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sremote.connectors.errors import ConnectionLost, LineError, SignInRefused
from sremote.interpreter.socket_handshake import MAGIC, Proof
from sremote.interpreter.socket_key import read_key
from sremote.interpreter.socket_records import LARGEST, OPEN, Reader, Writer
from sremote.interpreter.socket_server import MOST_UNPROVED
from tests.kit.recorder import Change, Recorder
from tests.kit.socket_server import SocketServer

GREETING = len(MAGIC) + 32
LONG = bool(os.environ.get("SREMOTE_LONG_TESTS"))
ATTACKS = 10_000 if LONG else 500
"""On each of two servers."""
PATIENCE = 60.0


@pytest.fixture(scope="module", params=["tls", "plain"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketServer]:
    folder = tmp_path_factory.mktemp("socket") / request.param
    with SocketServer(folder, tls=request.param == "tls", measured=False) as server:
        yield server


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketServer]:
    """A server without TLS, whose protocol a test can speak itself."""
    with SocketServer(tmp_path_factory.mktemp("socket") / "plain", tls=False, measured=False) as server:
        yield server


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def eventually_without_children(server: SocketServer) -> None:
    end = time.monotonic() + PATIENCE
    while children(server.pid):
        assert time.monotonic() < end, "processes stay"
        time.sleep(0.02)


def eventually_logged(server: SocketServer, text: str) -> None:
    end = time.monotonic() + PATIENCE
    while text not in server.log.read_text():
        assert time.monotonic() < end, f"the log does not say {text!r}"
        time.sleep(0.02)


def until_closed(connection: socket.socket) -> bytes:
    """Return all that comes before the other end hangs up."""
    connection.settimeout(PATIENCE)
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(1 << 16):
            data += piece
    return data


def exactly(connection: socket.socket, size: int) -> bytes:
    connection.settimeout(PATIENCE)
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        assert piece, "the server hung up"
        data += piece
    return data


def signed_in(server: SocketServer) -> tuple[socket.socket, Writer, Reader]:
    """Sign in by hand, with docs/formats.md alone, but for the records."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    greeting = exactly(connection, GREETING)
    nonce = os.urandom(32)
    proof = Proof(read_key(str(server.key_file)).secret, b"", greeting[len(MAGIC) :], nonce)
    connection.sendall(MAGIC + nonce + proof.of(b"client"))
    assert exactly(connection, 33) == b"\1" + proof.of(b"server")
    return connection, Writer(proof.of(b"to server")), Reader(proof.of(b"to client"))


# --- thrown at the port ----------------------------------------------------------------------


@pytest.mark.timeout(1200 if LONG else 120)
def test_random_bytes_do_nothing(server: SocketServer) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    with server.connector():
        pass
    eventually_without_children(server)
    before = descriptors(server.pid)

    def attack(number: int) -> None:
        chance = random.Random(seed + number)
        start = [b"", MAGIC, b"\x16\x03\x01", b"\x16\x03\x03\x02\x00\x01"][number % 4]
        data = start + chance.randbytes(chance.choice([0, 1, 7, 72, 500, 20_000]))
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            until_closed(connection)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attack, range(ATTACKS)))
    eventually_without_children(server)
    assert descriptors(server.pid) == before
    log = server.log.read_text()
    assert "Traceback" not in log
    assert log.count("signed in") == 1
    assert "Error: " not in log
    with server.connector() as connector:
        assert connector.execute(["echo", "well"]).stdout == b"well\n"


def test_connections_that_say_nothing_make_room_for_those_that_have_the_key(server: SocketServer) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(2 * MOST_UNPROVED):
            held.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        with server.connector() as connector:
            assert connector.execute(["echo", "in"]).stdout == b"in\n"
    eventually_without_children(server)


def test_a_connection_that_says_little_has_little_time(tmp_path: Path) -> None:
    with SocketServer(tmp_path / "server", tls=False, handshake_timeout=0.5) as hurried:
        with socket.create_connection(("127.0.0.1", hurried.port)) as connection:
            exactly(connection, GREETING)
            connection.sendall(MAGIC)
            assert until_closed(connection) == b""
        eventually_without_children(hurried)


# --- on the way ------------------------------------------------------------------------------


def test_a_recorded_sign_in_opens_nothing(plain: SocketServer) -> None:
    place = plain.home / "replayed"
    with Recorder(plain.port) as recorder, plain.connector(recorder.port) as connector:
        connector.execute(["sh", "-c", f"echo once >> {place}"])
        recorded = bytes(recorder.sent)
    with socket.create_connection(("127.0.0.1", plain.port)) as connection:
        exactly(connection, GREETING)
        connection.sendall(recorded)
        assert until_closed(connection) in (b"\0", b"")
    eventually_without_children(plain)
    assert place.read_text() == "once\n"


def test_a_proof_sent_back_opens_nothing(plain: SocketServer) -> None:
    """A server's proof does not serve as a client's: their names are in them."""
    with socket.create_connection(("127.0.0.1", plain.port)) as connection:
        greeting = exactly(connection, GREETING)
        connection.sendall(greeting + bytes(32))
        assert until_closed(connection) == b"\0"


def test_a_server_that_only_pretends_to_have_the_key_is_turned_down(plain: SocketServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as pretender, ThreadPoolExecutor(1) as pool:

        def pretend() -> None:
            connection, _ = pretender.accept()
            with connection:
                connection.sendall(MAGIC + bytes(32))
                exactly(connection, GREETING + 32)
                connection.sendall(b"\1" + bytes(32))

        pretending = pool.submit(pretend)
        with pytest.raises(SignInRefused, match="does not have the key itself"):
            plain.connector(pretender.getsockname()[1]).connect()
        pretending.result()


@pytest.mark.parametrize("position", [0, 20, GREETING + 3, GREETING + 25])
def test_a_bit_that_flips_in_the_handshake_ends_it(server: SocketServer, position: int) -> None:
    with Recorder(server.port, change_sent=flip(position)) as recorder, pytest.raises(LineError):
        server.connector(recorder.port, connect_timeout=5).connect()


@pytest.mark.parametrize("position", [0, 4, 9, 30, 75, 100])
def test_a_bit_that_flips_on_the_way_there_runs_nothing(server: SocketServer, position: int) -> None:
    place = server.home / f"tampered-{position}"
    with Recorder(server.port) as recorder, server.connector(recorder.port) as connector:
        recorder.change_sent = flip(len(recorder.sent) + position)
        with pytest.raises(ConnectionLost):
            connector.execute(["sh", "-c", f"echo ran > {place}"] + ["word"] * 20, timeout=PATIENCE)
    assert not place.exists()


@pytest.mark.parametrize("position", [0, 4, 9, 30, 60])
def test_a_bit_that_flips_on_the_way_back_is_noticed(server: SocketServer, position: int) -> None:
    with Recorder(server.port) as recorder, server.connector(recorder.port) as connector:
        recorder.change_received = flip(len(recorder.received) + position)
        with pytest.raises(ConnectionLost):
            connector.execute(["head", "-c", "1000", "/dev/zero"], timeout=PATIENCE)


def flip(at: int) -> Change:
    """Return what changes one bit of the byte ``at`` that position."""

    def change(position: int, data: bytes) -> bytes:
        if not position <= at < position + len(data):
            return data
        changed = bytearray(data)
        changed[at - position] ^= 4
        return bytes(changed)

    return change


# --- from one that has the key ---------------------------------------------------------------


def test_a_record_that_comes_twice_ends_the_line(plain: SocketServer) -> None:
    place = plain.home / "twice"
    connection, writer, _ = signed_in(plain)
    with connection:
        words = f"sh\0-c\0echo ran >> {place}\0".encode()
        record = b"".join(writer.record(OPEN, 1, words))
        connection.sendall(record + record)
        until_closed(connection)
    eventually_without_children(plain)
    assert not place.exists() or place.read_text() == "ran\n"


@pytest.mark.parametrize(
    "record",
    [
        struct.pack(">I", LARGEST + 1),
        struct.pack(">I", 0) + bytes(32),
        struct.pack(">I", 0xFFFFFFFF),
    ],
    ids=["too long", "too short", "longest"],
)
def test_a_record_of_a_size_that_cannot_be_ends_the_line(plain: SocketServer, record: bytes) -> None:
    connection, _, _ = signed_in(plain)
    with connection:
        connection.sendall(record)
        until_closed(connection)
    eventually_without_children(plain)


@pytest.mark.parametrize(
    ("kind", "rest"), [(OPEN, b""), (OPEN, b"no end"), (7, b"12"), (200, b"x")], ids=["none", "open", "room", "unknown"]
)
def test_a_record_that_says_nonsense_breaks_nothing(plain: SocketServer, kind: int, rest: bytes) -> None:
    connection, writer, _ = signed_in(plain)
    with connection:
        connection.sendall(b"".join(writer.record(OPEN, 1, b"cat\0")))
        connection.sendall(b"".join(writer.record(kind, 1, rest)))
        connection.shutdown(socket.SHUT_WR)
        until_closed(connection)
    eventually_without_children(plain)
    assert "Traceback" not in plain.log.read_text()


def test_a_client_that_sends_more_than_there_is_room_for_is_cut_off(plain: SocketServer) -> None:
    connection, writer, _ = signed_in(plain)
    with connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"".join(writer.record(OPEN, 1, b"sleep\0005\0")))
        for _ in range(40):
            connection.sendall(b"".join(writer.record(2, 1, bytes(1 << 16))))
        until_closed(connection)
    eventually_logged(plain, "more input than there was room for")


def test_a_client_that_asks_and_never_reads_is_cut_off(plain: SocketServer) -> None:
    connection, writer, _ = signed_in(plain)
    with connection, contextlib.suppress(ConnectionError):
        while True:
            connection.sendall(b"".join(b"".join(writer.record(9, 0)) for _ in range(1000)))
    eventually_without_children(plain)
