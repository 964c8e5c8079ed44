"""The newt connector keeps the contract, whichever dialect the gateway speaks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.base import Connector
from sremote.connectors.newt import NewtConnector
from sremote.testing import ConnectorConformance
from tests.kit.newt_server import MACHINE, PASSWORD, USER, NewtServer
from tests.kit.web import running


@pytest.fixture(scope="module")
def newt_1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(NewtServer(1, tmp_path_factory.mktemp("newt")).application()) as url:
        yield url


@pytest.fixture(scope="module")
def newt_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(NewtServer(2, tmp_path_factory.mktemp("newt")).application()) as url:
        yield url


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text(PASSWORD)
    return str(file)


class TestNewt1(ConnectorConformance):
    connector_class = NewtConnector

    @pytest.fixture
    def connector(self, newt_1: str, password_file: str) -> Iterator[Connector]:
        with newt(newt_1, password_file) as connector:
            yield connector


class TestNewt2(ConnectorConformance):
    connector_class = NewtConnector

    @pytest.fixture
    def connector(self, newt_2: str, password_file: str) -> Iterator[Connector]:
        with newt(newt_2, password_file) as connector:
            yield connector


def newt(url: str, password_file: str) -> NewtConnector:
    address = parse_address(f"newt+{url.replace('://', f'://{USER}@')}/{MACHINE}")
    return NewtConnector(address, password_file=password_file)
