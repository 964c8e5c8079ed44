"""EasyCluster's connection specs and keys."""

import argparse
import optparse
import stat
from pathlib import Path
from typing import Any

import pytest

from sremote.easycluster import (
    add_key_options,
    decode_key,
    generate_key,
    key_from_options,
    parse_connection_spec,
    read_key_file,
    write_key_file,
)
from sremote.errors import UsageError


def parsed(spec: str, **options: Any) -> dict[str, Any]:
    return {name: value for name, value in parse_connection_spec(spec, **options).items() if value is not None}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("user@example.com", {"host": "example.com", "user": "user", "ssh": "ssh"}),
        ("example.com:ssh=yes", {"host": "example.com", "ssh": "ssh"}),
        ("example.com:ssh=/usr/local/bin/ssh", {"host": "example.com", "ssh": "/usr/local/bin/ssh"}),
        ("user@example.com:ssh=no", {"host": "example.com", "user": "user"}),
        ("user@192.0.2.1:9999", {"host": "192.0.2.1", "user": "user", "ssh": "ssh", "port": 9999}),
        ("user@[2001:db8::2]", {"host": "2001:db8::2", "user": "user", "ssh": "ssh"}),
        ("[::1]", {"host": "::1"}),
        ("[::1]:1234:tls=no", {"host": "::1", "port": 1234, "tls": False}),
        ("u@example.com:rpython=py3", {"host": "example.com", "user": "u", "ssh": "ssh", "rpython": "py3"}),
        ("h:compress=1:fingerprint=sha256", {"host": "h", "enable_compression": True, "fingerprint": "sha256"}),
        ("h:extra=-C -o 'Port=22'", {"host": "h", "extra_args": ["-C", "-o", "Port=22"]}),
    ],
)  # fmt: skip
def test_a_spec_says_where_and_how(spec: str, expected: dict[str, Any]) -> None:
    assert parsed(spec) == expected


def test_a_key_in_a_spec_goes_before_the_default(tmp_path: Path) -> None:
    key = generate_key()
    write_key_file(tmp_path / "secret.key", key)
    assert parsed("h:9999:key=s3cret", default_key=key)["key"].secret == b"s3cret"
    assert parsed(f"h:kf={tmp_path}/secret.key")["key"].secret == key.secret
    assert parsed("h", default_key=key)["key"] is key


def test_options_of_the_program_itself_are_left_to_it() -> None:
    assert parsed("h:role=left", custom_options=("role",))["role"] == "left"


@pytest.mark.parametrize("spec", ["", "@h", "a b@c@d", "h:unknown=1", "h:flag", "::1", "h:compress=maybe"])
def test_what_is_no_spec_is_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        parse_connection_spec(spec)


def test_a_generated_key_is_written_for_its_owner_only(tmp_path: Path) -> None:
    key = generate_key()
    write_key_file(tmp_path / "secret.key", key)
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600
    again = read_key_file(tmp_path / "secret.key")
    assert (again.secret, again.fingerprint) == (key.secret, key.fingerprint)
    with pytest.raises(UsageError, match="is there already"):
        write_key_file(tmp_path / "secret.key", key)
    with pytest.raises(UsageError, match="cannot be read"):
        read_key_file(tmp_path / "missing")


@pytest.mark.parametrize("parser", [argparse.ArgumentParser(), optparse.OptionParser()], ids=["argparse", "optparse"])
def test_keys_on_the_command_line(parser: Any, tmp_path: Path) -> None:
    write_key_file(tmp_path / "secret.key", generate_key())
    add_key_options(parser)

    def key_of(*words: str) -> Any:
        found = parser.parse_args(list(words))
        return key_from_options(found[0] if isinstance(found, tuple) else found)

    assert key_of() is None
    assert key_of("-K", "s3cret").secret == b"s3cret"
    assert key_of("-k", str(tmp_path / "secret.key")).fingerprint is not None


def test_a_key_may_be_text_or_bytes() -> None:
    assert decode_key("s3cret").secret == decode_key(b"s3cret").secret == b"s3cret"
