"""The ssh connector keeps the contract."""

from collections.abc import Iterator

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.base import Connector
from sremote.connectors.ssh import SshConnector
from sremote.testing import ConnectorConformance
from tests.kit.sshd import SshServer


class TestSsh(ConnectorConformance):
    connector_class = SshConnector

    @pytest.fixture
    def connector(self, sshd: SshServer) -> Iterator[Connector]:
        with SshConnector(parse_address(sshd.name), config_file=sshd.config_file) as connector:
            yield connector
