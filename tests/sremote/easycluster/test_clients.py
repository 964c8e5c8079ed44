"""Master scripts of EasyCluster, with the import changed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sremote.easycluster import Client, ThreadedClient, define_common, definitions_module, read_key_file
from sremote.easycluster.server import spawn_local
from sremote.errors import HostKeyError, UsageError
from sremote.interpreter.socket_key import show_fingerprint
from tests.conftest import REAL_SSH
from tests.kit.pythons import Python, installed_pythons
from tests.kit.socket_server import SocketServer
from tests.kit.sshd import SshServer

DEMO = Path(__file__).parents[3] / "examples" / "easycluster_demo.py"
LONG = bool(os.environ.get("SREMOTE_LONG_TESTS"))
FAR_PYTHONS = [python for python in installed_pythons() if not python.name.startswith("pypy")]
if not LONG:
    FAR_PYTHONS = [FAR_PYTHONS[0], FAR_PYTHONS[len(FAR_PYTHONS) // 2], FAR_PYTHONS[-1]]

define_common("def addvals(a, b):\n    return a + b\n")

from sremote.easycluster.remote_code import addvals  # type: ignore[import-not-found]  # noqa: E402 - made just now


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketServer]:
    with SocketServer(tmp_path_factory.mktemp("socket") / "server") as server:
        yield server


def test_common_code_is_imported_as_a_module_here() -> None:
    assert addvals(1, 2) == 3
    assert definitions_module().addvals is addvals


def test_a_server_is_reached_by_its_key(server: SocketServer) -> None:
    key = read_key_file(server.key_file)
    rmt = Client(key, "127.0.0.1", server.port)
    assert rmt.addvals(3, 4) == 7
    assert rmt.peername == f"socket://127.0.0.1:{server.port}"
    assert (rmt.remote_host, rmt.remote_port) == ("127.0.0.1", server.port)
    rmt.close()
    assert not rmt.connected


@pytest.mark.parametrize("kind", [Client, ThreadedClient])
def test_a_server_is_reached_by_a_spec(server: SocketServer, kind: type[Client]) -> None:
    spec = f"127.0.0.1:{server.port}:kf={server.key_file}:compress=1"
    with kind.from_spec(spec) as rmt:
        assert rmt.addvals("x" * 100_000, "y") == "x" * 100_000 + "y"


def test_a_key_as_text_needs_the_fingerprint(server: SocketServer) -> None:
    secret = read_key_file(server.key_file).secret.decode()
    with pytest.raises(HostKeyError):
        Client.from_spec(f"127.0.0.1:{server.port}:key={secret}")
    fingerprint = show_fingerprint(server.fingerprint or b"").partition(":")[2]
    with Client.from_spec(f"127.0.0.1:{server.port}:key={secret}:fingerprint={fingerprint}") as rmt:
        assert rmt.addvals(1, 1) == 2


def test_a_server_without_a_key_is_not_tried() -> None:
    with pytest.raises(UsageError, match="a server wants a key"):
        Client.from_spec("127.0.0.1")


def test_any_host_is_reached_over_ssh(sshd: SshServer, tmp_path: Path) -> None:
    spec = f"{sshd.user}@127.0.0.1:{sshd.port}:ssh={REAL_SSH}:rpython=python3"
    extra = ["-i", str(sshd.key_file), "-o", f"UserKnownHostsFile={sshd.known_hosts}", "-oIdentitiesOnly=yes", "-C"]
    with Client.from_spec(spec, extra_args=extra) as rmt:
        assert rmt.addvals(3, 4) == 7
        assert rmt.addvals(b"x" * 200_000, b"") == b"x" * 200_000


def test_arguments_of_ssh_that_are_unknown_are_refused() -> None:
    with pytest.raises(UsageError, match="'-W' is no argument of ssh that is known here"):
        Client.from_spec("user@192.0.2.1", extra_args=["-W", "there"])


def test_a_client_may_be_connected_later(server: SocketServer) -> None:
    rmt = Client(host=None)
    assert not rmt.ready()
    rmt.close()
    with spawn_local() as local:
        assert local.ready()
        local.wait_ready()
        assert local.raw_call("addvals", [1], {"b": 2}) == 3
        assert local.get_root("call") is not None
        assert local.server_version
        first = local.os.getpid()
        local.reconnect()
        assert local.os.getpid() != first


@pytest.mark.parametrize("python", FAR_PYTHONS, ids=str)
def test_the_whole_demonstration_runs_with_every_python_over_there(python: Python, client_home: Path) -> None:
    settings = client_home / ".config" / "sremote"
    settings.mkdir(parents=True)
    (settings / "hosts.toml").write_text(f'[hosts.far]\naddress = "local:"\npython = "{python.path}"\n')
    done = subprocess.run(
        [sys.executable, DEMO, "far"], capture_output=True, text=True, timeout=100, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "26 a disconnection is noticed"
