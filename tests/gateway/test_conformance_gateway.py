"""The newt connector keeps the contract through sremote's own gateway, with a WebSocket and without one."""

from collections.abc import Iterator

import pytest

from sremote.connectors.base import Capability, Connector
from sremote.connectors.newt import PLAIN, NewtConnector
from sremote.testing import ConnectorConformance
from tests.kit.gateway import Gateway, gateway


class StreamingNewt(NewtConnector):
    """The connector as it is once it is connected, so that the tests of streams are collected."""

    capabilities = PLAIN | Capability.STREAM


@pytest.fixture(scope="module")
def running_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("gateway")) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(running.settings.home))
        yield running


@pytest.fixture(autouse=True)
def home_of_the_gateway(running_gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands see the environment of the gateway's process, which is this one."""
    monkeypatch.setenv("HOME", str(running_gateway.settings.home))


@pytest.fixture(scope="module")
def with_streams(running_gateway: Gateway) -> Iterator[NewtConnector]:
    """A connector that all tests share, as signing in takes longer than most of them."""
    with StreamingNewt(running_gateway.address, **running_gateway.options) as connector:
        assert Capability.STREAM in connector.capabilities
        yield connector


@pytest.fixture(scope="module")
def without_streams(running_gateway: Gateway) -> Iterator[NewtConnector]:
    with running_gateway.connector(stream=False) as connector:
        assert Capability.STREAM not in connector.capabilities
        yield connector


class TestGatewayWithStreams(ConnectorConformance):
    connector_class = StreamingNewt

    @pytest.fixture
    def connector(self, with_streams: NewtConnector) -> Connector:
        with_streams.connect()
        return with_streams


class TestGatewayWithoutStreams(ConnectorConformance):
    connector_class = NewtConnector

    @pytest.fixture
    def connector(self, without_streams: NewtConnector) -> Connector:
        without_streams.connect()
        return without_streams
