"""Connectors to this machine keep the contract: local, programs that carry commands, and the documented example."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.base import Capability, Connector
from sremote.connectors.command import CommandConnector
from sremote.connectors.local import LocalConnector
from sremote.testing import ConnectorConformance
from tests.kit.requirements import need_program

DOCUMENTED = "\n".join(
    re.findall(r"^```python\n(.*?)^```", (Path(__file__).parents[2] / "docs/connectors.md").read_text(), re.M | re.S)
)
exec(compile(DOCUMENTED, "docs/connectors.md", "exec"))  # defines TestShellConnector


class TestLocal(ConnectorConformance):
    connector_class = LocalConnector

    @pytest.fixture
    def connector(self) -> Iterator[Connector]:
        with LocalConnector(parse_address("local:")) as connector:
            yield connector


@pytest.mark.long
class TestProgramInFront(ConnectorConformance):
    """A program that stays in between while the command runs."""

    connector_class = CommandConnector

    @pytest.fixture
    def connector(self) -> Iterator[Connector]:
        with CommandConnector(parse_address("""command:sh -c '"$@"; exit $?' carrier""")) as connector:
            yield connector


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be another user")
class TestAnotherUser(ConnectorConformance):
    connector_class = CommandConnector

    @pytest.fixture
    def connector(self) -> Iterator[Connector]:
        with tempfile.TemporaryDirectory() as home:
            shutil.chown(home, "nobody")
            setpriv = [need_program("setpriv", "util-linux"), "--reuid=nobody", "--clear-groups"]
            prefix = [*setpriv, "env", f"HOME={home}", "PATH=/usr/bin:/bin"]
            with CommandConnector(parse_address("command:"), prefix=prefix) as connector:
                yield connector


def test_only_what_applies_to_a_connector_is_collected() -> None:
    class Gateway(LocalConnector):
        capabilities = Capability.EXECUTE

    class TestGateway(ConnectorConformance):
        connector_class = Gateway

    assert TestGateway.test_the_exit_status_is_the_commands_own is None
    assert TestGateway.test_much_may_flow_both_ways_at_once is None
    assert TestGateway.test_a_file_may_have_any_name is not None
