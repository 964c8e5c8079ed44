"""location.json: what it says, what is understood where it says nothing, and how it may be damaged."""

import json

import pytest

from sremote.discovery import Location, absolute, find_location, read_location, with_entry
from sremote.errors import FormatError, NotInstalled
from sremote.host import Host


def test_a_host_without_the_file_has_the_defaults(host: Host) -> None:
    assert find_location(host.connector) == Location(".sremote", None, "default", None, None)


def test_an_applications_keys_go_before_the_default_ones() -> None:
    text = json.dumps(
        {
            "format": 1,
            "default": {"installation": "/shared", "working": "runs"},
            "applications": {"qdo": {"working": "/scratch/qdo", "temporary": "tmp"}},
        }
    )
    assert read_location(text) == Location(installation="/shared", working="runs")
    assert read_location(text, "qdo") == Location(installation="/shared", working="/scratch/qdo", temporary="tmp")


def test_an_unknown_application_is_refused_naming_those_there() -> None:
    text = json.dumps({"format": 1, "applications": {"qdo": {}}})
    with pytest.raises(NotInstalled, match="knows no application 'qod'; those there: qdo"):
        read_location(text, "qod")


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/scratch/x", "/scratch/x"), ("runs", "/home/ann/runs"), ("~/runs", "/home/ann/runs"), ("~", "/home/ann")],
)
def test_paths_are_absolute_or_start_at_home(path: str, expected: str) -> None:
    assert absolute(path, "/home/ann") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": 1, "default": []}',
        '{"format": 1, "applications": {"x": "/a"}}',
        '{"format": 1, "default": {"root": 5}}',
        '{"format": 1, "default": {"working": ""}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_a_clear_error(text: str) -> None:
    with pytest.raises(FormatError, match=r"location\.json"):
        read_location(text)


def test_an_entry_is_added_and_all_else_is_kept() -> None:
    text = json.dumps({"format": 1, "site": "ours", "default": {"working": "runs"}, "applications": {"a": {"x": "y"}}})
    changed = json.loads(with_entry(text, "b", {"installation": "/b"}))
    assert changed == {
        "format": 1,
        "site": "ours",
        "default": {"working": "runs"},
        "applications": {"a": {"x": "y"}, "b": {"installation": "/b"}},
    }
    assert json.loads(with_entry(None, None, {"root": "r"})) == {"format": 1, "default": {"root": "r"}}
