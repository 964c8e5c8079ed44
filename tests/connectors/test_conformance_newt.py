"""The newt connector keeps the contract, whichever dialect the gateway speaks."""

from collections.abc import Iterator

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.base import Connector
from sremote.connectors.newt import NewtConnector
from sremote.testing import ConnectorConformance
from tests.kit.newt_server import MACHINE, PASSWORD, USER, NewtServer
from tests.kit.web import running


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.long)], ids=["newt 1", "newt 2"])
def signed_in(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewtConnector]:
    """A connector that all tests share, as signing in takes longer than most of them."""
    folder = tmp_path_factory.mktemp("newt")
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    with running(NewtServer(request.param, folder).application()) as url:
        address = parse_address(f"newt+{url.replace('://', f'://{USER}@')}/{MACHINE}")
        with NewtConnector(address, password_file=str(password)) as connector:
            yield connector


class TestNewt(ConnectorConformance):
    connector_class = NewtConnector

    @pytest.fixture
    def connector(self, signed_in: NewtConnector) -> Connector:
        signed_in.connect()
        return signed_in
