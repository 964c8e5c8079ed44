"""``client.require``: versions are checked before the function runs, never after."""

import sys
from collections.abc import Iterator

import pytest

import sremote
from sremote.errors import UsageError, VersionMismatch


@pytest.fixture
def client(local_client) -> Iterator[sremote.Client]:
    """A client with requirements of its own, on this very environment."""
    with sremote.connect("local:", root=local_client.host.root, python=sys.executable) as client:
        yield client


def test_nothing_runs_where_it_is_not_met(client, tmp_path):
    client.require("python", "<3")
    with pytest.raises(VersionMismatch, match=r"python is 3\.\d+\.\d+, not <3"):
        client.call("pathlib", "Path.touch", [tmp_path / "ran"])
    assert not (tmp_path / "ran").exists()


def test_commands_and_local_functions_are_checked_too(client, tmp_path):
    client.require("python", "<3")
    with pytest.raises(VersionMismatch):
        client.run(["touch", str(tmp_path / "ran")])
    with pytest.raises(VersionMismatch):
        client.call_function(lambda: 1)
    assert not (tmp_path / "ran").exists()


def test_every_one_that_is_not_met_is_named(client):
    client.require("python", ">=4")
    client.require("no-such-package")
    client.require("numpy", "<1")
    with pytest.raises(VersionMismatch) as caught:
        client.call("operator", "neg", [1])
    for part in ("python is", "no-such-package is not installed", "numpy is 2"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "specifier"),
    [
        ("python", ">=3.6"),
        ("python", ">=3.6,<4"),
        ("python", f"=={sys.version_info[0]}.{sys.version_info[1]}.*"),
        ("python", f"~={sys.version_info[0]}.{sys.version_info[1]}"),
        ("python", "!=3.5"),
        ("numpy", ""),
        ("numpy", ">=1.26"),
        ("json", ""),
        ("json", ">=1"),
    ],
)
def test_what_is_met_lets_calls_through(client, name, specifier):
    client.require(name, specifier)
    assert client.call("operator", "neg", [1]) == -1


def test_a_later_one_takes_the_place_of_an_earlier(client):
    client.require("python", "<3")
    client.require("python", ">=3")
    assert client.call("operator", "neg", [1]) == -1


@pytest.mark.parametrize("specifier", ["1.26", "=>1", ">=", "latest"])
def test_what_is_no_specifier_is_refused_at_once(client, specifier):
    with pytest.raises(UsageError, match="not a version specifier") as caught:
        client.require("numpy", specifier)
    assert ">=1.26" in caught.value.remedy
