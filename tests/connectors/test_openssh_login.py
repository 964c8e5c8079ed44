"""Signing in on a terminal, once, to a host that asks: with a password and a one-time code."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.errors import SignInRefused
from sremote.connectors.openssh import OpensshConnector
from tests.kit.prompting_server import PromptingServer, Question

LOGIN = """
import sys
from sremote.connectors.address import parse_address
from sremote.connectors.openssh import OpensshConnector
from sremote.errors import SremoteError
try:
    OpensshConnector(parse_address(sys.argv[1])).login()
except SremoteError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print("signed in")
"""
SECONDS = 30


@pytest.fixture
def server() -> Iterator[PromptingServer]:
    questions = [Question("Password: ", "correct horse"), Question("One-time code: ", "123456", echo=True)]
    with PromptingServer(rounds=[questions]) as server:
        yield server


@pytest.fixture
def known(server: PromptingServer, client_home: Path) -> None:
    """The server's key stands in the user's known_hosts, and ssh reads that file."""
    configure(client_home, server.known_hosts_line)


def configure(home: Path, known_hosts: str) -> Path:
    (home / ".ssh").mkdir(mode=0o700)
    path = home / ".ssh" / "known_hosts"
    path.write_text(known_hosts)
    (home / ".ssh" / "config").write_text(f"Host *\n  UserKnownHostsFile {path}\n")
    return path


def log_in(server: PromptingServer) -> pexpect.spawn:
    arguments = ["-c", LOGIN, f"openssh://{server.address}"]
    return pexpect.spawn(sys.executable, arguments, timeout=SECONDS, encoding="utf-8")


def answer(terminal: pexpect.spawn, *answers: str) -> None:
    for prompt, text in zip(("Password: ", "One-time code: "), answers, strict=True):
        terminal.expect(prompt)
        terminal.sendline(text)


def finish(terminal: pexpect.spawn) -> str:
    """Wait for the program's end and return what else it printed."""
    terminal.expect(pexpect.EOF)
    terminal.close()
    return terminal.before


@pytest.mark.usefixtures("known")
def test_one_sign_in_serves_every_command_until_logout(server: PromptingServer) -> None:
    connector = OpensshConnector(parse_address(f"openssh://{server.address}"))
    with pytest.raises(SignInRefused, match="keyboard-interactive") as caught:
        connector.connect()
    assert f"sremote login openssh://{server.address}" in str(caught.value)

    terminal = log_in(server)
    answer(terminal, "correct horse", "123456")
    assert "signed in" in finish(terminal)
    attempts = len(server.attempts)

    assert connector.execute(["echo", "hello"]).stdout == b"hello\n"
    assert connector.execute(["echo", "again"]).stdout == b"again\n"
    assert len(server.attempts) == attempts

    assert connector.logout() is True
    with pytest.raises(SignInRefused):
        connector.execute(["echo", "hello"])


@pytest.mark.usefixtures("known")
def test_a_second_login_asks_nothing(server: PromptingServer) -> None:
    first = log_in(server)
    answer(first, "correct horse", "123456")
    finish(first)
    assert finish(log_in(server)).strip() == "signed in"
    OpensshConnector(parse_address(f"openssh://{server.address}")).logout()


@pytest.mark.usefixtures("known")
def test_wrong_answers_are_refused(server: PromptingServer) -> None:
    terminal = log_in(server)
    for _ in range(3):
        answer(terminal, "wrong", "000000")
    assert "SignInRefused" in finish(terminal)
    assert terminal.exitstatus == 1


def test_the_first_contact_shows_the_fingerprint_and_asks(server: PromptingServer, client_home: Path) -> None:
    known_hosts = configure(client_home, "")
    terminal = log_in(server)
    terminal.expect_exact(f"ECDSA key fingerprint is {server.host_key.fingerprint}")
    terminal.expect("continue connecting")
    terminal.sendline("yes")
    answer(terminal, "correct horse", "123456")
    assert "signed in" in finish(terminal)
    assert server.host_key.get_base64() in known_hosts.read_text()
    OpensshConnector(parse_address(f"openssh://{server.address}")).logout()


def test_a_fingerprint_that_is_not_accepted_ends_it(server: PromptingServer, client_home: Path) -> None:
    known_hosts = configure(client_home, "")
    terminal = log_in(server)
    terminal.expect("continue connecting")
    terminal.sendline("no")
    assert "SignInRefused" in finish(terminal)
    assert server.attempts == []
    assert known_hosts.read_text() == ""


def test_a_user_who_wants_only_known_hosts_is_not_asked(server: PromptingServer, client_home: Path) -> None:
    configure(client_home, "")
    with (client_home / ".ssh" / "config").open("a") as config:
        config.write("  StrictHostKeyChecking yes\n")
    assert "SignInRefused" in finish(log_in(server))
    assert server.attempts == []
