"""``sremote push``, ``pull``, ``facts``, ``clean``, ``install``, ``login``: what else is done on a host."""

import os
from pathlib import Path

import pexpect
import pytest

from tests.kit.program import PROGRAM, sremote, sremote_json
from tests.kit.sshd import SshServer


def test_a_file_goes_there_and_back(ssh_address: str, sshd: SshServer, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    (tmp_path / "a b").write_bytes(data)
    assert sremote("push", ssh_address, tmp_path / "a b", "there/ü").stdout == ""
    assert (sshd.home / "there/ü").read_bytes() == data
    found = sremote_json("pull", ssh_address, "there/ü", tmp_path / "back")
    assert found == {"remote": "there/ü", "local": str(tmp_path / "back"), "files": 1, "unchanged": 0}
    assert (tmp_path / "back").read_bytes() == data


def test_a_copy_shows_a_bar_on_a_terminal_only(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(5_000_000))
    line = f"{PROGRAM} push local: {tmp_path}/data {tmp_path}/copy"
    shown = pexpect.run(line, encoding="utf-8", env={**os.environ, "TERM": "xterm"}, timeout=60)
    assert isinstance(shown, str)
    assert "5.0/5.0 MB" in shown
    assert sremote("push", "local:", tmp_path / "data", tmp_path / "again").stderr == ""


def test_delete_and_always_copy_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/file").touch()
    (tmp_path / "there").mkdir()
    (tmp_path / "there/old").touch()
    for _ in range(2):
        arguments = ["pull", "local:", tmp_path / "here", tmp_path / "there", "--delete", "--always-copy"]
        assert sremote_json(*arguments)["files"] == 1
        assert os.listdir(tmp_path / "there") == ["file"]


def test_a_file_that_is_not_there_is_told_and_makes_none_here(tmp_path: Path) -> None:
    error = sremote_json("pull", "local:", "/no/such/file", tmp_path / "back", status=1)["error"]
    assert error["type"] == "FileMissing"
    assert os.listdir(tmp_path) == []


def test_facts_are_shown_for_people_and_as_json(client_home: Path) -> None:
    lines = sremote("facts", "local:").stdout.splitlines()
    assert f"home            {client_home}" in lines
    found = sremote_json("facts", "local:")
    assert found["home"] == str(client_home)
    assert found["version"][0] == 3
    assert found["free_bytes"] > 0


@pytest.fixture
def leftover(tmp_path: Path) -> Path:
    """An interpreter of an older client, in a root."""
    old = tmp_path / "interpreter/0123456789abcdef"
    old.mkdir(parents=True)
    (old / "interpreter.sh").write_text("#!/bin/sh\n")
    return old


def test_clean_shows_what_would_go_and_with_yes_removes_it(tmp_path: Path, leftover: Path) -> None:
    done = sremote("clean", "local:", "--root", tmp_path, "--dry-run")
    assert done.stdout.startswith("interpreter/0123456789abcdef  interpreter, old, ")
    assert leftover.exists()
    assert sremote("clean", "local:", "--root", tmp_path, "--yes").stdout.endswith("Removed 1 of 1.\n")
    assert not leftover.exists()
    assert sremote("clean", "local:", "--root", tmp_path).stdout == "Nothing is left there.\n"


def test_clean_removes_nothing_where_nobody_can_be_asked(tmp_path: Path, leftover: Path) -> None:
    done = sremote("clean", "local:", "--root", tmp_path, status=2)
    assert "--yes" in done.stderr
    assert leftover.exists()


def test_clean_asks_on_a_terminal(tmp_path: Path, leftover: Path) -> None:
    with pexpect.spawn(str(PROGRAM), ["clean", "local:", "--root", str(tmp_path)], timeout=60) as terminal:
        terminal.expect_exact("Remove 1? [y/N]:")
        terminal.sendline("n")
        terminal.expect(pexpect.EOF)
    assert leftover.exists()


def test_clean_as_json_lists_what_was_there_and_what_went(tmp_path: Path, leftover: Path) -> None:
    found = sremote_json("clean", "local:", "--root", tmp_path, "--yes")
    assert [each["path"] for each in found["leftovers"]] == ["interpreter/0123456789abcdef"]
    assert found["removed"] == ["interpreter/0123456789abcdef"]


def test_install_says_what_it_did_and_the_second_time_that_nothing_was_to_do(tmp_path: Path) -> None:
    def install(*more: str) -> list[str]:
        return sremote("install", "local:", "--root", tmp_path, *more).stdout.splitlines()

    assert "would change  environment  made with virtualenv" in install("--dry-run")
    assert not (tmp_path / "env").exists()
    assert "changed       environment  made with virtualenv" in install()
    found = sremote_json("install", "local:", "--root", tmp_path)
    assert found["changed"] is False
    assert found["environment"] == f"{tmp_path}/env/default"
    assert [step["name"] for step in found["steps"]] == ["python", "interpreter", "environment", "packages"]
    assert sremote_json("facts", "local:", "--root", tmp_path)["environment"] == "default"


def test_install_shows_progress_on_a_terminal_only(tmp_path: Path) -> None:
    line = f"{PROGRAM} install local: --root {tmp_path} --dry-run"
    shown = pexpect.run(line, encoding="utf-8", env={**os.environ, "TERM": "xterm"}, timeout=60)
    assert isinstance(shown, str)
    assert "looking for a Python" in shown
    assert sremote("install", "local:", "--root", tmp_path, "--dry-run").stderr == ""


def test_a_requirement_that_is_none_is_a_usage_error() -> None:
    assert sremote_json("install", "local:", "--package", "no good", status=2)["error"]["type"] == "UsageError"


def test_login_keeps_a_sign_in_until_logout(ssh_address: str) -> None:
    host = f"openssh://{ssh_address}"
    assert sremote_json("login", host) == {"host": host, "signed_in": True}
    assert sremote("run", host, "--", "echo", "hi").stdout == "hi\n"
    assert sremote_json("logout", host) == {"host": host, "was_signed_in": True}
    assert sremote("logout", host).stderr == f"There was no sign-in to {host}.\n"


def test_login_is_for_hosts_that_the_ssh_program_reaches() -> None:
    error = sremote_json("login", "user@host", status=2)["error"]
    assert error["message"] == "user@host is reached by ssh:, which keeps no sign-in"
    assert error["remedy"] == "Reach it as openssh://host."
