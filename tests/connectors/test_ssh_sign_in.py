"""Signing in over ssh: keys, certificates, the agent, questions and passwords."""

import subprocess
import sys

import pexpect
import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.errors import SignInRefused
from sremote.connectors.ssh import SshConnector
from tests.kit.keys import make_key, sign_key
from tests.kit.prompting_server import PromptingServer, Question
from tests.kit.requirements import need_program
from tests.kit.sshd import ssh_server

SIGN_IN = """
import sys
from sremote.connectors.address import parse_address
from sremote.connectors.ssh import SshConnector
with SshConnector(parse_address(sys.argv[1]), known_hosts=sys.argv[2]) as connector:
    print(connector.execute(["echo", "signed", "in"]).stdout.decode())
"""
CODE = Question("Code: ", "123456", echo=True)
PASSWORD = Question("Password: ", "secret")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority that the module's server trusts."""
    return make_key(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority):
    settings = f"TrustedUserCAKeys {authority}.pub"
    with ssh_server(tmp_path_factory.mktemp("sign-in") / "server", settings=settings) as server:
        yield server


@pytest.fixture
def sign_in(server, tmp_path):
    """Sign in with the settings of an ssh_config, and no identity but those in it."""

    def sign_in(prompt=None, **settings) -> None:
        config = tmp_path / "ssh_config"
        config.write_text(server.client_configuration(**{"IdentityFile": "none", **settings}))
        with SshConnector(parse_address(server.name), config_file=config, prompt=prompt) as connector:
            assert connector.execute(["echo", "in"]).stdout == b"in\n"

    return sign_in


@pytest.fixture
def agent(tmp_path, monkeypatch):
    """Start a real ssh-agent; return what adds a key to it."""
    program = need_program("ssh-agent", "openssh-client")
    socket = tmp_path / "agent"
    with subprocess.Popen([program, "-D", "-a", socket], stdout=subprocess.DEVNULL) as process:
        while not socket.exists():
            assert process.poll() is None
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        yield lambda key: subprocess.run(["ssh-add", "-q", key], check=True, stdin=subprocess.DEVNULL)
        process.terminate()


def answers(*given):
    """Return a prompt that gives these answers in turn, and the list of what it was asked."""
    asked = []
    left = iter(given)

    def prompt(text: str, echo: bool) -> str:
        asked.append((text, echo))
        answer = next(left, None)
        if answer is None:
            raise EOFError
        return answer

    return prompt, asked


# Keys


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("new_format", [True, False], ids=["openssh", "pem"])
def test_a_key_of_any_kind_lets_in(server, sign_in, tmp_path, kind, new_format):
    key = make_key(tmp_path / "key", kind=kind, new_format=new_format)
    server.authorize(key)
    sign_in(IdentityFile=key)


def test_a_default_key_lets_in(server, client_home):
    (client_home / ".ssh").mkdir()
    server.authorize(make_key(client_home / ".ssh" / "id_ed25519"))
    with SshConnector(parse_address(server.address), known_hosts=server.known_hosts):
        pass


def test_a_key_may_be_named(server, tmp_path):
    key = make_key(tmp_path / "key")
    server.authorize(key)
    with SshConnector(parse_address(server.address), known_hosts=str(server.known_hosts), key_file=str(key)):
        pass


def test_a_refused_key_is_told_with_what_the_host_takes(server, sign_in, tmp_path):
    key = make_key(tmp_path / "stranger")
    with pytest.raises(SignInRefused) as caught:
        sign_in(IdentityFile=key)
    assert caught.value.message == (
        f"testhost: {server.user} was not let in; tried: key {key}; the host takes: publickey"
    )
    assert "authorized_keys" in caught.value.remedy


def test_without_any_key_the_host_says_what_it_takes(sign_in):
    with pytest.raises(SignInRefused, match="tried: nothing; the host takes: publickey"):
        sign_in()


@pytest.mark.parametrize("new_format", [True, False], ids=["openssh", "pem"])
def test_an_encrypted_key_needs_its_passphrase(server, sign_in, tmp_path, new_format):
    key = make_key(tmp_path / "key", kind="rsa", passphrase="open sesame", new_format=new_format)
    server.authorize(key)
    prompt, asked = answers("wrong", "open sesame")
    sign_in(prompt, IdentityFile=key)
    assert asked == [(f"Passphrase of {key}: ", False)] * 2


def test_an_encrypted_key_without_a_terminal_is_told(sign_in, tmp_path):
    key = make_key(tmp_path / "key", passphrase="open sesame")
    with pytest.raises(SignInRefused, match=f"key {key} is encrypted, and there is no terminal") as caught:
        sign_in(IdentityFile=key)
    assert "ssh-add" in caught.value.remedy


def test_three_wrong_passphrases_are_enough(sign_in, tmp_path):
    key = make_key(tmp_path / "key", passphrase="open sesame")
    prompt, asked = answers(*["wrong"] * 5)
    with pytest.raises(SignInRefused, match=f"key {key}: wrong passphrase"):
        sign_in(prompt, IdentityFile=key)
    assert len(asked) == 3


def test_a_key_that_cannot_be_read_is_told(sign_in, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(SignInRefused, match=f"key {damaged} is damaged"):
        sign_in(IdentityFile=damaged)
    damaged.write_text("hello")
    with pytest.raises(SignInRefused, match=f"key {damaged} has a format that paramiko cannot read"):
        sign_in(IdentityFile=damaged)


def test_a_server_that_wants_two_keys_gets_both(tmp_path, client_home):
    settings = "AuthenticationMethods publickey,publickey"
    with ssh_server(tmp_path / "server", settings=settings) as server:
        second = make_key(tmp_path / "second")
        server.authorize(second)
        with SshConnector(parse_address(server.name), config_file=server.config_file, key_file=second):
            pass


def test_a_server_that_hangs_up_says_why(tmp_path, agent):
    for number in range(4):
        agent(make_key(tmp_path / f"key{number}"))
    with ssh_server(tmp_path / "server", settings="MaxAuthTries 2") as server:
        connector = SshConnector(parse_address(server.address), known_hosts=server.known_hosts)
        with pytest.raises(SignInRefused, match=r"the host hung up .*Too many authentication failures"):
            connector.connect()


# Certificates


def test_a_certificate_beside_its_key_lets_in(server, authority, sign_in, tmp_path):
    key = make_key(tmp_path / "key")
    sign_key(authority, key, principals=server.user)
    sign_in(IdentityFile=key)


def test_a_certificate_may_stand_elsewhere(server, authority, sign_in, tmp_path):
    key = make_key(tmp_path / "key", kind="rsa")
    elsewhere = sign_key(authority, key, principals=server.user).rename(tmp_path / "certificate")
    sign_in(IdentityFile=key, CertificateFile=elsewhere)


@pytest.mark.parametrize(("valid", "what"), [("-2d:-1d", "expired at 20"), ("+1d:+2d", "is not valid before 20")])
def test_a_certificate_out_of_its_time_is_named(server, authority, sign_in, tmp_path, valid, what):
    key = make_key(tmp_path / "key")
    certificate = sign_key(authority, key, principals=server.user, valid=valid)
    with pytest.raises(SignInRefused, match=f"certificate {certificate} {what}"):
        sign_in(IdentityFile=key)


def test_a_certificate_for_somebody_else_is_refused(authority, sign_in, tmp_path):
    key = make_key(tmp_path / "key")
    certificate = sign_key(authority, key, principals="somebody-else")
    with pytest.raises(SignInRefused, match=f"tried: certificate {certificate}, key {key}"):
        sign_in(IdentityFile=key)


# The agent


def test_a_key_of_the_agent_lets_in(server, sign_in, agent, tmp_path):
    key = make_key(tmp_path / "key")
    server.authorize(key)
    agent(key)
    key.unlink()
    sign_in(IdentitiesOnly="no")


def test_a_certificate_of_the_agent_lets_in(server, authority, sign_in, agent, tmp_path):
    key = make_key(tmp_path / "key")
    certificate = sign_key(authority, key, principals=server.user)
    agent(key)
    key.unlink()
    certificate.unlink()
    sign_in(IdentitiesOnly="no")


def test_only_the_agents_keys_that_are_named_may_be_offered(server, sign_in, agent, tmp_path):
    key = make_key(tmp_path / "key")
    server.authorize(key)
    agent(key)
    with pytest.raises(SignInRefused, match="tried: nothing"):
        sign_in(IdentitiesOnly="yes")
    sign_in(IdentitiesOnly="yes", IdentityFile=f"{key}.pub")


def test_the_agent_spares_the_passphrase(server, sign_in, agent, tmp_path):
    key = make_key(tmp_path / "key")
    server.authorize(key)
    agent(key)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", key], check=True)
    sign_in(IdentityFile=key)


def test_an_agent_that_is_gone_is_passed_over(sign_in, tmp_path, monkeypatch, server):
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    sign_in(IdentityFile=server.key_file)


# Questions and passwords


@pytest.fixture
def known_hosts(tmp_path):
    return tmp_path / "known_hosts"


def answer(server: PromptingServer, known_hosts, prompt) -> None:
    known_hosts.write_text(server.known_hosts_line)
    with SshConnector(parse_address(server.address), known_hosts=known_hosts, prompt=prompt) as connector:
        assert connector.execute(["echo", "in"]).stdout == b"in\n"


def test_a_host_may_ask_several_questions_in_several_rounds(known_hosts):
    prompt, asked = answers("secret", "123456", "yes")
    rounds = [[PASSWORD, CODE], [Question("Sure? ", "yes", echo=True)]]
    with PromptingServer(rounds=rounds, instructions="Welcome to the cluster") as server:
        answer(server, known_hosts, prompt)
    who = "(alice@127.0.0.1) "
    assert asked == [
        (f"Welcome to the cluster\n{who}Password: ", False),
        (f"{who}Code: ", True),
        (f"Welcome to the cluster\n{who}Sure? ", True),
    ]


def test_a_wrong_answer_may_be_mended(known_hosts):
    prompt, asked = answers("wrong", "secret")
    with PromptingServer(rounds=[[PASSWORD]]) as server:
        answer(server, known_hosts, prompt)
    assert len(asked) == 2


def test_a_password_is_asked_for(known_hosts):
    prompt, asked = answers("wrong", "secret")
    with PromptingServer(password="secret") as server:
        answer(server, known_hosts, prompt)
    assert asked == [("alice@127.0.0.1's password: ", False)] * 2


def test_three_wrong_answers_are_enough(known_hosts):
    prompt, asked = answers(*["wrong"] * 5)
    with (
        PromptingServer(password="secret") as server,
        pytest.raises(SignInRefused, match="tried: password; the host takes: password"),
    ):
        answer(server, known_hosts, prompt)
    assert len(asked) == 3


def test_a_user_who_gives_up_ends_the_sign_in(known_hosts):
    prompt, _ = answers()
    with PromptingServer(rounds=[[PASSWORD]]) as server, pytest.raises(SignInRefused, match="given up"):
        answer(server, known_hosts, prompt)


def test_what_a_host_asks_cannot_move_the_cursor(known_hosts):
    prompt, asked = answers("secret")
    with PromptingServer(rounds=[[Question("\x1b[2J\rPassword\x07: ", "secret")]]) as server:
        answer(server, known_hosts, prompt)
    assert asked == [("(alice@127.0.0.1) [2JPassword: ", False)]


def test_without_a_terminal_questions_are_an_error_at_once(known_hosts):
    with PromptingServer(rounds=[[PASSWORD]]) as server:
        known_hosts.write_text(server.known_hosts_line)
        done = subprocess.run(
            [sys.executable, "-c", SIGN_IN, server.address, known_hosts],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
        )
    assert "there is no terminal to ask the host's questions on" in done.stderr
    assert "sremote login" in done.stderr
    assert server.attempts == []


def test_on_a_terminal_questions_are_asked_and_secrets_not_shown(known_hosts):
    with PromptingServer(rounds=[[PASSWORD, CODE]]) as server:
        known_hosts.write_text(server.known_hosts_line)
        terminal = pexpect.spawn(sys.executable, ["-c", SIGN_IN, server.address, str(known_hosts)], encoding="utf-8")
        terminal.expect_exact("(alice@127.0.0.1) Password: ")
        terminal.waitnoecho()
        terminal.sendline("secret")
        terminal.expect_exact("(alice@127.0.0.1) Code: ")
        assert "secret" not in terminal.before
        terminal.sendline("123456")
        terminal.expect_exact("123456")
        terminal.expect_exact("signed in")
        terminal.expect(pexpect.EOF)
        terminal.close()
    assert terminal.exitstatus == 0


def test_ctrl_c_at_a_question_ends_the_program(known_hosts):
    with PromptingServer(rounds=[[PASSWORD]]) as server:
        known_hosts.write_text(server.known_hosts_line)
        terminal = pexpect.spawn(sys.executable, ["-c", SIGN_IN, server.address, str(known_hosts)], encoding="utf-8")
        terminal.expect_exact("Password: ")
        terminal.waitnoecho()
        terminal.sendintr()
        terminal.expect_exact("KeyboardInterrupt")
        terminal.expect(pexpect.EOF)
        terminal.close()


def test_askpass_is_asked_where_it_is_forced(known_hosts, tmp_path, monkeypatch):
    program = tmp_path / "askpass"
    program.write_text('#!/bin/sh\necho "$1" >"$0.asked"; echo secret\n')
    program.chmod(0o755)
    monkeypatch.setenv("SSH_ASKPASS", str(program))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    with PromptingServer(password="secret") as server:
        answer(server, known_hosts, None)
    assert (tmp_path / "askpass.asked").read_text() == "alice@127.0.0.1's password: \n"


def test_secrets_are_in_no_log(known_hosts, caplog):
    caplog.set_level(0)
    prompt, _ = answers("secret")
    with PromptingServer(password="secret") as server:
        answer(server, known_hosts, prompt)
    assert "secret" not in caplog.text
