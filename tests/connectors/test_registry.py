"""Connectors are found by the scheme of the address, a third party's as well."""

import sys
from pathlib import Path

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.errors import UsageError
from sremote.connectors.local import LocalConnector
from sremote.connectors.registry import connector_class, make_connector, schemes


def test_the_connectors_that_come_with_sremote_are_there() -> None:
    assert {"local", "ssh", "openssh", "command"} <= set(schemes())


def test_a_scheme_leads_to_its_connector() -> None:
    assert connector_class("local") is LocalConnector


def test_an_unknown_scheme_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match="'telnet'") as caught:
        make_connector(parse_address("telnet://host"))
    assert "local" in str(caught.value)


def test_options_reach_the_connector() -> None:
    assert make_connector(parse_address("local:"), connect_timeout=3.0).connect_timeout == 3.0


def test_an_option_that_the_connector_does_not_take_is_refused() -> None:
    with pytest.raises(UsageError, match="colour"):
        make_connector(parse_address("local:"), colour="red")


def test_a_connector_of_an_installed_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "from sremote.connectors.local import LocalConnector\nclass MyConnector(LocalConnector):\n    scheme = 'mine'\n"
    )
    metadata = tmp_path / "mine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[sremote.connectors]\nmine = mine:MyConnector\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert make_connector(parse_address("mine://host")).scheme == "mine"
    finally:
        sys.modules.pop("mine", None)
