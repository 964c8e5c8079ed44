"""``sremote serve`` from the command line: keys, what it refuses, and the service of systemd."""

import os
import shlex
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from sremote.socket_service import quote
from tests.kit.program import sremote, sremote_json
from tests.kit.requirements import need_program

SYSTEMCTL = """#!/bin/sh
echo "$*" >>"$SYSTEMCTL_CALLS"
case "$*" in
*show*) printf 'ActiveState=active\\nUnitFileState=enabled\\n' ;;
*stop*) [ -z "$SYSTEMCTL_FAILS" ] || { echo "$SYSTEMCTL_FAILS" >&2; exit 1; } ;;
esac
"""
"""Writes down what it is asked; a test must not change the services of the machine."""


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    sremote("serve", "--generate-key", tmp_path / "secret.key")
    return tmp_path / "secret.key"


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a recorded systemctl writes its arguments to."""
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    calls = tmp_path / "calls"
    calls.touch()
    monkeypatch.setenv("SYSTEMCTL_CALLS", str(calls))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return calls


def unit_file(home: Path) -> Path:
    return home / ".config/systemd/user/sremote.service"


# --- keys ------------------------------------------------------------------------------------


def test_a_generated_key_is_private_and_like_no_other(tmp_path: Path) -> None:
    first = sremote_json("serve", "--generate-key", tmp_path / "one")
    sremote("serve", "--generate-key", tmp_path / "two")
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600
    assert first["fingerprint"].startswith("sha256:")
    assert (tmp_path / "one").read_text().splitlines()[1] != (tmp_path / "two").read_text().splitlines()[1]


def test_a_key_file_is_never_overwritten(key_file: Path) -> None:
    before = key_file.read_bytes()
    assert "is there already" in sremote("serve", "--generate-key", key_file, status=2).stderr
    assert key_file.read_bytes() == before


# --- what it refuses -------------------------------------------------------------------------


def test_it_needs_a_key() -> None:
    assert "--generate-key FILE" in sremote("serve", status=2).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--listen", "192.0.2.1:0"], "cannot listen on 192.0.2.1 port 0"),
        (["--listen", "127.0.0.1:70000"], "'70000' is not a port"),
        (["--listen", "::1"], "An IPv6 address goes in brackets"),
        (["--no-tls", "--listen", "0.0.0.0:0"], "whoever is on the way can read what passes"),
    ],
)
def test_it_says_why_it_cannot_listen(key_file: Path, options: list[str], message: str) -> None:
    assert message in sremote("serve", "--key", key_file, *options, status=2).stderr


def test_a_port_that_is_taken_is_said_to_be(key_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        assert "Address already in use" in sremote("serve", "--key", key_file, "--listen", taken, status=2).stderr


def test_it_does_not_serve_with_a_key_that_others_may_read(key_file: Path) -> None:
    key_file.chmod(0o644)
    done = sremote("serve", "--key", key_file, "--listen", "127.0.0.1:0", status=2)
    assert f"chmod 600 {key_file}" in done.stderr


def test_it_does_not_serve_with_a_key_that_can_be_guessed(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("sremote key 1\nkey: s3cret\n")
    short.chmod(0o600)
    done = sremote("serve", "--no-tls", "--key", short, "--listen", "127.0.0.1:0", status=2)
    assert "fewer than 16 characters" in done.stderr


def test_tls_without_a_certificate_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_text("sremote key 1\nkey: long enough to be a key\n")
    bare.chmod(0o600)
    done = sremote("serve", "--key", bare, "--listen", "127.0.0.1:0", status=2)
    assert "needs a certificate and its private key" in done.stderr


# --- the service -----------------------------------------------------------------------------


def test_the_service_of_a_user_is_installed_started_stopped_and_removed(
    key_file: Path, systemctl: Path, client_home: Path
) -> None:
    installed = sremote("serve", "--install", "--key", key_file, "--listen", "127.0.0.1:0", "--quiet")
    assert "Start it now: sremote serve --start" in installed.stderr
    command = next(line for line in unit_file(client_home).read_text().splitlines() if line.startswith("ExecStart="))
    words = shlex.split(command.removeprefix("ExecStart="))
    assert words[1:4] == ["serve", "--key", str(key_file)]
    assert words[-3:] == ["--listen", "127.0.0.1:0", "--quiet"]

    assert sremote_json("serve", "--start") == {
        "file": str(unit_file(client_home)), "installed": True, "active": "active", "enabled": "enabled"
    }  # fmt: skip
    assert "active   active" in sremote("serve", "--status").stdout
    sremote("serve", "--stop")
    sremote("serve", "--uninstall")

    assert not unit_file(client_home).exists()
    asked = [line for line in systemctl.read_text().splitlines() if " show " not in line]
    assert asked == [
        "--user daemon-reload",
        "--user enable sremote.service",
        "--user restart sremote.service",
        "--user stop sremote.service",
        "--user disable --now sremote.service",
        "--user daemon-reload",
    ]


def test_systemd_finds_no_fault_in_the_unit_file(key_file: Path, systemctl: Path, client_home: Path) -> None:
    analyze = need_program("systemd-analyze", "systemd")
    odd = key_file.rename(key_file.with_name('100% "odd" $key'))
    sremote("serve", "--install", "--key", odd)
    done = subprocess.run(
        [analyze, "verify", "--user", unit_file(client_home)], capture_output=True, text=True, timeout=60
    )
    faults = [line for line in done.stderr.splitlines() if "sremote.service" in line]
    assert faults == []


def test_a_service_that_is_not_there_is_said_to_be_missing(systemctl: Path) -> None:
    assert sremote_json("serve", "--status")["installed"] is False
    for action in ("--start", "--stop", "--uninstall"):
        done = sremote("serve", action, status=1)
        assert "the service is not installed" in done.stderr
        assert "sremote serve --install --key FILE" in done.stderr
    assert systemctl.read_text() == ""


def test_what_systemctl_says_is_passed_on(key_file: Path, systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sremote("serve", "--install", "--key", key_file)
    monkeypatch.setenv("SYSTEMCTL_FAILS", "Failed to connect to bus: No medium found")
    done = sremote("serve", "--stop", status=1)
    assert "No medium found" in done.stderr
    assert "Sign in anew" in done.stderr


def test_a_machine_without_systemctl_is_said_to_have_none(
    key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = sremote("serve", "--install", "--key", key_file, status=2)
    assert "there is no systemctl on this machine" in done.stderr


def test_a_service_is_not_installed_with_a_key_that_is_not_there(systemctl: Path, client_home: Path) -> None:
    sremote("serve", "--install", "--key", "missing.key", status=2)
    assert not unit_file(client_home).exists()


@pytest.mark.parametrize(
    ("word", "quoted"), [("--key", "--key"), ("a b", '"a b"'), ('"$x%\\', '"\\"$$x%%\\\\"'), ("", '""')]
)
def test_words_are_quoted_as_unit_files_have_them(word: str, quoted: str) -> None:
    assert quote(word) == quoted
