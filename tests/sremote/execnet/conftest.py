"""Gateways of every kind, one of each for all tests."""

from collections.abc import Iterator

import pytest

from sremote import execnet
from tests.kit.socket_server import SocketServer
from tests.kit.sshd import SshServer


@pytest.fixture(scope="session")
def specs(sshd: SshServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A specification of each kind."""
    with SocketServer(tmp_path_factory.mktemp("execnet") / "server") as server:
        ssh = f"-F {sshd.config_file} {sshd.name}"
        yield {
            "popen": "popen",
            "ssh": f"ssh={sshd.name}//ssh_config={sshd.config_file}",
            "socket": f"socket=127.0.0.1:{server.port}//key_file={server.key_file}",
            "via": f"via=popen//ssh={ssh}",
        }


@pytest.fixture(scope="session")
def group(specs: dict[str, str]) -> Iterator[execnet.Group]:
    """A group of one gateway of each kind, called by that."""
    group = execnet.Group()
    for kind, spec in specs.items():
        group.makegateway(f"{spec}//id={kind}")
    yield group
    group.terminate(10)


@pytest.fixture(params=["popen", "ssh", "socket", "via"])
def gateway(request: pytest.FixtureRequest, group: execnet.Group) -> execnet.Gateway:
    return group[request.param]
