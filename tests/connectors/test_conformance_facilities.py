"""The connectors to facilities' gateways keep the contract, against loopback gateways that behave as the real ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.base import Connector
from sremote.connectors.batch_work import Patience
from sremote.connectors.firecrest import FirecrestConnector
from sremote.connectors.iri import IriConnector
from sremote.connectors.local import LocalConnector
from sremote.connectors.sfapi import SfapiConnector
from sremote.testing import AWKWARD, ConnectorConformance
from sremote.testing_needs import PATIENCE
from tests.kit.firecrest_server import FirecrestServer
from tests.kit.iri_server import IriServer
from tests.kit.sfapi_server import SfapiServer
from tests.kit.web import running

PLAIN_NAMES = [
    "two  words",
    "$HOME",
    "naïve Ω 漢字 🙂",
    "* ? [a-z] {a,b} ~ ^",
    "a;b & c | d > e < f #g",
    "%s %% %d",
    "-n",
]
"""Names of files that JSON and FirecREST's own quoting let through."""


@pytest.fixture(autouse=True)
def client_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_SECRET", "s3cret")


QUICK = Patience(not_found_for=2, first_pause=0.02, longest_pause=0.2)


def options(url: str) -> dict[str, Any]:
    return {
        "client_id": "robot",
        "client_secret_env": "CLIENT_SECRET",
        "token_url": f"{url}/token",
        "connect_timeout": PATIENCE,
    }


@pytest.fixture(scope="module")
def sfapi() -> Iterator[str]:
    server = SfapiServer()
    with running(server.application) as url:
        yield url
        server.host.stop()


@pytest.fixture(scope="module")
def firecrest() -> Iterator[str]:
    server = FirecrestServer()
    with running(server.application) as server.url:
        yield server.url
        server.host.stop()


@pytest.fixture(scope="module")
def iri() -> Iterator[str]:
    server = IriServer()
    with running(server.application) as url:
        yield url
        server.host.stop()


class TestSfapi(ConnectorConformance):
    connector_class = SfapiConnector
    file_names = tuple(AWKWARD[index] for index in (2, 4, 13, 14))
    # Each command is a task of the gateway, and takes its time: all arguments go in one of them, in the next test.
    test_an_argument_arrives_as_it_is = None
    # As newt: has it, whose code this is.
    test_output_that_goes_to_a_sink_is_not_kept = None
    test_a_file_is_replaced_at_once = None

    @pytest.fixture
    def connector(self, sfapi: str) -> Iterator[Connector]:
        address = parse_address("sfapi:perlmutter")
        with SfapiConnector(
            address, url=f"{sfapi}/api/v1.2", max_file_size=2 << 20, **options(sfapi)
        ) as connector:  # fmt: skip
            connector.patience = QUICK
            yield connector


class Looking(ConnectorConformance):
    """For gateways that run no commands: the host is looked at as what it is, this machine."""

    @pytest.fixture
    def host(self) -> Connector:
        return LocalConnector(parse_address("local:"))


class TestFirecrest(Looking):
    connector_class = FirecrestConnector
    file_names = PLAIN_NAMES
    replaces_at_once = False

    @pytest.fixture
    def connector(self, firecrest: str) -> Iterator[Connector]:
        with FirecrestConnector(
            parse_address("firecrest:daint"), url=f"{firecrest}/f7t", **options(firecrest)
        ) as connector:
            connector.patience = QUICK
            yield connector


class TestIri(Looking):
    connector_class = IriConnector
    file_names = PLAIN_NAMES

    @pytest.fixture
    def connector(self, iri: str, client_home: Path) -> Iterator[Connector]:
        with IriConnector(
            parse_address("iri:perlmutter"),
            url=f"{iri}/api/v2",
            home=str(client_home),
            filesystem="scratch",
            max_file_size=6 << 20,
            **options(iri),
        ) as connector:
            connector.patience = QUICK
            yield connector
