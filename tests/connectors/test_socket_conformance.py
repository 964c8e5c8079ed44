"""The socket connector keeps the contract, against ``sremote serve``."""

from collections.abc import Iterator

import pytest

from sremote.connectors.base import Connector
from sremote.connectors.socket import SocketConnector
from sremote.testing import ConnectorConformance
from tests.kit.socket_server import SocketServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketServer]:
    with SocketServer(tmp_path_factory.mktemp("socket") / "server") as server:
        yield server


class TestSocket(ConnectorConformance):
    connector_class = SocketConnector

    @pytest.fixture
    def connector(self, server: SocketServer) -> Iterator[Connector]:
        with server.connector() as connector:
            yield connector
