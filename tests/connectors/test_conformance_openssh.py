"""The openssh connector keeps the contract, with commands sharing a connection and without."""

from collections.abc import Iterator

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.base import Connector
from sremote.connectors.openssh import OpensshConnector
from sremote.testing import ConnectorConformance
from tests.kit.sshd import SshServer


class TestOpenssh(ConnectorConformance):
    connector_class = OpensshConnector

    @pytest.fixture
    def connector(self, sshd: SshServer) -> Iterator[Connector]:
        with OpensshConnector(parse_address(f"openssh://{sshd.name}"), config_file=sshd.config_file) as connector:
            yield connector
