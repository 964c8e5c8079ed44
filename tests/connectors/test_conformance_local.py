"""Connectors to this machine keep the contract: local, and programs that carry commands."""

from collections.abc import Iterator

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.base import Connector
from sremote.connectors.command import CommandConnector
from sremote.connectors.local import LocalConnector
from sremote.testing import ConnectorConformance


class TestLocal(ConnectorConformance):
    connector_class = LocalConnector

    @pytest.fixture
    def connector(self) -> Iterator[Connector]:
        with LocalConnector(parse_address("local:")) as connector:
            yield connector


class TestCommand(ConnectorConformance):
    connector_class = CommandConnector

    @pytest.fixture
    def connector(self) -> Iterator[Connector]:
        with CommandConnector(parse_address("command:env LANG=C")) as connector:
            yield connector
