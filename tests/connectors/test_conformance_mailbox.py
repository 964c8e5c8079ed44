"""A mailbox keeps the contract of a connector with streams, on a host that only takes and gives files."""

from collections.abc import Iterator

import pytest

from sremote.client import Client
from sremote.connectors.address import parse_address
from sremote.connectors.base import Connector
from sremote.connectors.local import LocalConnector
from sremote.connectors.mailbox import MailboxConnector
from sremote.exchanges import with_execute
from sremote.host import Host
from sremote.testing import ConnectorConformance
from tests.kit.bare import BareConnector


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connector]:
    root = str(tmp_path_factory.mktemp("root"))
    bare = BareConnector(LocalConnector(parse_address("local:")))
    client = Client(Host(with_execute(bare, root), root=root))
    with client, client.mailbox(walltime=600, longest_pause=0.05, renew=True):
        yield client.host.connector


class TestMailbox(ConnectorConformance):
    connector_class = MailboxConnector
    test_an_argument_arrives_as_it_is = None  # all of them at once is a test, too

    @pytest.fixture
    def connector(self, mailbox: Connector) -> Connector:
        mailbox.connect()
        return mailbox
