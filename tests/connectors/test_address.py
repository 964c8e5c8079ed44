"""How hosts are written."""

import pytest

from sremote.connectors.address import Address, parse_address
from sremote.connectors.errors import UsageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host", Address("host", "ssh", "host")),
        ("alice@host", Address("alice@host", "ssh", "host", "alice")),
        (
            "alice@host.example.org:2222",
            Address("alice@host.example.org:2222", "ssh", "host.example.org", "alice", 2222),
        ),
        ("host:22", Address("host:22", "ssh", "host", None, 22)),
        ("[::1]:22", Address("[::1]:22", "ssh", "::1", None, 22)),
        ("alice@[fe80::1%eth0]", Address("alice@[fe80::1%eth0]", "ssh", "fe80::1%eth0", "alice")),
        ("ssh://alice@host:22", Address("ssh://alice@host:22", "ssh", "host", "alice", 22)),
        ("openssh://host", Address("openssh://host", "openssh", "host")),
        ("newt+https://host/path/to", Address("newt+https://host/path/to", "newt+https", "host", rest="/path/to")),
        ("local:", Address("local:", "local")),
        ("command:sudo -n -u alice", Address("command:sudo -n -u alice", "command", rest="sudo -n -u alice")),
        ("command:ssh alice@host:22", Address("command:ssh alice@host:22", "command", rest="ssh alice@host:22")),
    ],
)
def test_an_address_has_parts(text: str, address: Address) -> None:
    assert parse_address(text) == address


def test_an_address_shows_as_the_user_wrote_it() -> None:
    assert str(parse_address("openssh://alice@host")) == "openssh://alice@host"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " host",
        "host\n",
        "a\0b",
        "-oProxyCommand=x",
        "alice@-host",
        "-x@host",
        "ssh://",
        "a@b@c",
        "::1",
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a host"):
        parse_address(text)


@pytest.mark.parametrize("port", [0, 65536])
def test_a_port_beyond_the_range_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match=f"port {port}"):
        parse_address(f"host:{port}")
