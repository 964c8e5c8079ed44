"""Copies of files over lines that drop, on hosts that are full, and of files that cannot be read."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import sremote
from sremote import Client, tree_progress
from sremote.connectors.address import parse_address
from sremote.connectors.base import Capability
from sremote.connectors.registry import make_connector
from sremote.errors import ConnectionLost, FileMissing, HostError, HostFull, PermissionRefused, UsageError
from sremote.faulty import Fault, FaultyConnector
from sremote.host import Host
from sremote.interpreter import tree_frames
from tests.kit.clients import connect_through
from tests.kit.proxy import DelayingProxy
from tests.kit.sshd import SshServer
from tests.sremote.test_trees import listing

FILE = 100_000
FILES = 40


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder of 4 MB on this machine."""
    folder = tmp_path / "here"
    (folder / "inner").mkdir(parents=True)
    for number in range(FILES):
        (folder / "inner" / f"file{number}").write_bytes(os.urandom(FILE))
    return folder


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Where copies go: on the host, which is this machine."""
    return tmp_path / "there"


@pytest.fixture
def proxy(sshd: SshServer) -> Iterator[DelayingProxy]:
    with DelayingProxy(sshd.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: DelayingProxy, sshd: SshServer, tmp_path: Path) -> Iterator[Client]:
    """A client whose line goes through the proxy."""
    with connect_through(proxy, sshd, tmp_path) as client:
        client.push(Path(__file__), str(tmp_path / "first"))
        yield client


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".part")]


def wait_until_none_is_left(folder: Path) -> None:
    """Wait for a far side that lost its line to clean up."""
    deadline = time.monotonic() + 30
    while leftovers(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert leftovers(folder) == []


class TestDrops:
    @pytest.mark.parametrize("way", ["push", "pull"])
    @pytest.mark.parametrize("at", [1, FILE, FILE * FILES // 2, FILE * FILES - 1])
    def test_it_goes_on_where_the_line_dropped(self, client, proxy, here, there, monkeypatch, way, at):
        monkeypatch.setattr(tree_progress, "INTERVAL", 0.0)
        cut = threading.Event()

        def progress(progress):
            if progress.bytes_done >= at and not cut.is_set():
                cut.set()
                proxy.cut()

        if way == "push":
            copied = client.push(here, str(there), progress=progress)
        else:
            copied = client.pull(str(here), there, progress=progress)
        assert cut.is_set()
        assert listing(there) == listing(here)
        assert copied.files < 2 * FILES or at < FILE
        wait_until_none_is_left(there)

    def test_what_arrived_whole_is_not_sent_again(self, sshd, here, there, tmp_path):
        with faulty_client(sshd, tmp_path) as (client, connector):
            connector.fault = Fault(drop_received=FILE * FILES // 3)
            assert client.pull(str(here), there, compress=False, always_copy=True).files == FILES
        assert listing(there) == listing(here)

    def test_a_line_that_drops_each_time_is_given_up(self, sshd, here, there, tmp_path):
        with faulty_client(sshd, tmp_path) as (client, connector):
            connector.fault = Fault(drop_sent=50_000)
            with pytest.raises(ConnectionLost):
                client.push(here, str(there))
            wait_until_none_is_left(there)
            assert not list(there.rglob("file*"))

    def test_no_part_of_a_file_has_its_name(self, sshd, here, there, tmp_path):
        with faulty_client(sshd, tmp_path) as (client, connector):
            connector.fault = Fault(drop_received=150_000)
            with pytest.raises(ConnectionLost):
                client.pull(str(here / "inner"), there, always_copy=True, progress=stop_at(0, connector))
            assert all(path.stat().st_size == FILE for path in there.iterdir())


def stop_at(size, connector):
    """Let the line drop at once each time, from when ``size`` bytes have arrived."""

    def progress(progress):
        if progress.bytes_done >= size:
            connector.fault = Fault(drop_received=0)

    return progress


@contextmanager
def faulty_client(server: SshServer, folder: Path) -> Iterator[tuple[Client, FaultyConnector]]:
    """A client over a line that fails as its connector's ``fault`` says, none at first."""
    address = parse_address(server.address)
    connector = FaultyConnector(make_connector(address, key_file=server.key_file, known_hosts=server.known_hosts))
    connector.connect()
    with sremote.Client(Host(connector, root=str(folder / "root"))) as client:
        client.host.ensure_interpreter()
        yield client, connector
        connector.fault = Fault()


class TestRefusals:
    @pytest.fixture
    def small(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of 1 MiB in memory."""
        if os.geteuid() != 0:
            pytest.skip("needs root, to mount a file system")
        place = tmp_path / "small"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
        yield place
        subprocess.run(["umount", place], check=True)

    def test_a_full_host_is_told_and_keeps_no_half_of_a_file(self, ssh_client, here, small):
        with pytest.raises(HostFull, match=r"cannot write .*: No space left on device"):
            ssh_client.push(here, f"{small}/there")
        found = [path for path in small.rglob("*") if path.is_file()]
        assert all(path.stat().st_size == FILE for path in found)
        with pytest.raises(HostFull):
            ssh_client.push(here / "inner" / "file0", f"{small}/one")
        assert not (small / "one").exists()

    def test_a_full_disk_here_is_told_and_keeps_no_half_of_a_file(self, ssh_client, here, small):
        with pytest.raises(UsageError, match=r"cannot write .*: No space left on device"):
            ssh_client.pull(str(here), small / "there")
        assert all(path.stat().st_size == FILE for path in small.rglob("*") if path.is_file())

    def test_what_cannot_be_read_is_named_and_the_rest_is_copied(self, ssh_client, here, there, monkeypatch):
        monkeypatch.setattr(tree_progress, "INTERVAL", 0.0)
        with pytest.raises(UsageError, match=r"cannot read .*/inner/file9: No such file or directory"):
            ssh_client.push(here, str(there), progress=lambda _: (here / "inner" / "file9").unlink(missing_ok=True))
        assert listing(there) == listing(here)

    @pytest.mark.parametrize("way", ["push", "pull"])
    def test_a_file_that_changes_while_it_is_read_is_noticed(self, ssh_client, tmp_path, there, way):
        (tmp_path / "log").write_bytes(bytes(64 << 20))
        ending = threading.Event()

        def grow():
            with (tmp_path / "log").open("ab") as file:
                while not ending.is_set():
                    file.write(b"more")
                    file.flush()
                    time.sleep(0.001)

        writer = threading.Thread(target=grow)
        writer.start()
        try:
            copy = ssh_client.push if way == "push" else ssh_client.pull
            with pytest.raises((UsageError, HostError), match=r"cannot read .*/log: it changed while it was read"):
                copy(str(tmp_path / "log"), str(there))
        finally:
            ending.set()
            writer.join()
        assert not there.exists()
        assert leftovers(tmp_path) == []

    def test_a_pipe_is_refused_by_name(self, ssh_client, tmp_path, there):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(UsageError, match=r"/pipe is neither a file nor a folder"):
            ssh_client.push(tmp_path / "pipe", str(there))
        with pytest.raises(HostError, match=r"cannot read .*/pipe: it is neither a file nor a folder"):
            ssh_client.pull(str(tmp_path / "pipe"), there)

    def test_pipes_in_a_folder_are_named(self, ssh_client, here, there, caplog):
        os.mkfifo(here / "inner" / "pipe")
        assert ssh_client.push(here, str(there)).left_out == ("inner/pipe",)
        assert "inner/pipe" in caplog.text


class TestConnectorsWithoutStreams:
    @pytest.fixture
    def requests_client(self, sshd: SshServer, tmp_path: Path) -> Iterator[Client]:
        connector = make_connector(parse_address(sshd.address), key_file=sshd.key_file, known_hosts=sshd.known_hosts)
        connector.capabilities &= ~Capability.STREAM
        connector.connect()
        with sremote.Client(Host(connector, root=str(tmp_path / "root"))) as client:
            yield client

    def test_what_differs_is_copied(self, requests_client, here, there, tmp_path):
        (here / "link").symlink_to("inner/file1")
        (here / "empty").mkdir()
        for place, copy in (
            (there, lambda: requests_client.push(here, str(there))),
            (tmp_path / "back", lambda: requests_client.pull(str(here), tmp_path / "back")),
        ):
            assert copy().files == FILES
            assert listing(place) == listing(here)
            assert copy().files == 0
            (here / "inner" / "file1").write_bytes(os.urandom(FILE))
            (here / "inner" / "file2").chmod(0o600)
            assert copy().files == 1
            assert listing(place) == listing(here)

    def test_a_missing_file_is_named(self, requests_client, there):
        with pytest.raises(FileMissing, match="no such file or folder: /no/such"):
            requests_client.pull("/no/such", there)

    def test_a_place_that_cannot_be_written_is_named(self, requests_client, here):
        with pytest.raises(PermissionRefused, match="cannot write /sys/x"):
            requests_client.push(here, "/sys/x")


class TestCompression:
    def test_what_compresses_is_compressed_when_asked_for(self, client, proxy, tmp_path, there):
        (tmp_path / "text").write_text("the same again and again\n" * 100_000)
        before = proxy.sent
        client.push(tmp_path / "text", str(there), compress=True)
        assert proxy.sent - before < 250_000
        assert there.read_bytes() == (tmp_path / "text").read_bytes()

    @pytest.mark.parametrize(("seconds", "packed"), [(0.0, False), (0.03, True)])
    def test_without_being_asked_it_is_compressed_where_the_line_is_slow(self, seconds, packed):
        kinds = []

        def write(data):
            kinds.append(data[0])
            time.sleep(seconds)

        outgoing = tree_frames.Outgoing(write)
        for _ in range(20):
            outgoing.add(tree_frames.PIECE, 0, bytes(tree_frames.PIECE_SIZE))
        assert (kinds[-1] == tree_frames.PACKED) is packed

    def test_what_does_not_compress_is_sent_as_it_is(self, client, tmp_path, there):
        (tmp_path / "noise").write_bytes(os.urandom(1 << 20))
        client.push(tmp_path / "noise", str(there), compress=True)
        assert there.read_bytes() == (tmp_path / "noise").read_bytes()
