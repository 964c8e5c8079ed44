"""What the openssh connector says when the host cannot be reached or lets nobody in."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.check import State
from sremote.connectors.errors import HostKeyError, HostUnreachable, LineError, SignInRefused, SremoteError, UsageError
from sremote.connectors.openssh import OpensshConnector
from sremote.connectors.openssh_errors import error_of
from tests.kit.keys import fingerprint, make_key
from tests.kit.sshd import SshServer


def failure(configuration: str = "", host: str = "testhost", **options: object) -> SremoteError:
    """Return the error that connecting ends in, with a master; without one it is of the same kind."""
    config_file = Path(os.environ["HOME"], "ssh_config")
    config_file.write_text(configuration)
    errors = []
    for control_master in (True, False):
        connector = OpensshConnector(
            parse_address(f"openssh://{host}"), config_file=config_file, control_master=control_master, **options
        )
        with pytest.raises(SremoteError) as caught:
            connector.connect()
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1])
    assert errors[0].remedy == errors[1].remedy
    return errors[0]


def test_a_name_that_does_not_resolve() -> None:
    error = failure(host="no-such-host.invalid")
    assert isinstance(error, HostUnreachable)
    assert "openssh://no-such-host.invalid: Could not resolve hostname no-such-host.invalid" in error.message
    assert "spelling" in (error.remedy or "")


def test_a_port_where_nobody_listens() -> None:
    error = failure(host="127.0.0.1:1")
    assert isinstance(error, HostUnreachable)
    assert "Connection refused" in error.message
    assert "port" in (error.remedy or "")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_host_that_does_not_answer(silent_port: int) -> None:
    error = failure(host=f"127.0.0.1:{silent_port}", connect_timeout=1)
    assert isinstance(error, HostUnreachable)
    assert "timed out" in error.message


def test_a_host_that_hangs_up() -> None:
    error = failure("Host testhost\n  ProxyCommand echo 220 mail server ready\n")
    assert isinstance(error, HostUnreachable)
    assert "ProxyCommand" in (error.remedy or "")


def test_a_way_through_a_host_that_does_not_exist(sshd: SshServer) -> None:
    error = failure(sshd.client_configuration(ProxyJump="no-such-host.invalid"))
    assert isinstance(error, HostUnreachable)
    assert "Could not resolve hostname no-such-host.invalid" in error.message


def test_a_way_through_a_host_whose_key_is_not_known(sshd: SshServer) -> None:
    jump = sshd.client_configuration(UserKnownHostsFile="/dev/null").replace(sshd.name, "jump")
    error = failure(sshd.client_configuration(ProxyJump="jump") + jump)
    assert isinstance(error, HostKeyError)


def test_a_host_whose_key_is_not_known(sshd: SshServer) -> None:
    error = failure(sshd.client_configuration(UserKnownHostsFile="/dev/null"))
    assert isinstance(error, HostKeyError)
    assert f"the ED25519 key of [127.0.0.1]:{sshd.port} is not known here" in error.message
    assert "sremote login openssh://testhost" in (error.remedy or "")


@pytest.mark.parametrize("laxness", ["no", "accept-new", "ask"])
def test_the_key_is_checked_whatever_the_configuration_says(sshd: SshServer, tmp_path: Path, laxness: str) -> None:
    known_hosts = tmp_path / "known_hosts"
    error = failure(sshd.client_configuration(UserKnownHostsFile=known_hosts, StrictHostKeyChecking=laxness))
    assert isinstance(error, HostKeyError)
    assert not known_hosts.exists()


def test_options_do_not_switch_the_check_off(sshd: SshServer) -> None:
    error = failure(sshd.client_configuration(UserKnownHostsFile="/dev/null"), ssh_options=["StrictHostKeyChecking=no"])
    assert isinstance(error, HostKeyError)


def test_a_host_whose_key_has_changed(sshd: SshServer, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text("# one line before\n" + sshd.known_hosts_line(make_key(tmp_path / "other_key")))
    error = failure(sshd.client_configuration(UserKnownHostsFile=known_hosts))
    assert isinstance(error, HostKeyError)
    assert "is not the one seen before" in error.message
    assert fingerprint(Path(f"{sshd.host_keys[0]}.pub")) in error.message
    assert f"{known_hosts} line 2" in (error.remedy or "")


def test_a_host_whose_key_was_revoked(sshd: SshServer, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"@revoked {sshd.known_hosts_line(sshd.host_keys[0])}")
    error = failure(sshd.client_configuration(UserKnownHostsFile=known_hosts))
    assert isinstance(error, HostKeyError)
    assert "revoked" in error.message


def test_a_key_that_the_host_refuses(sshd: SshServer, tmp_path: Path) -> None:
    error = failure(sshd.client_configuration(IdentityFile=make_key(tmp_path / "other_key")))
    assert isinstance(error, SignInRefused)
    assert "openssh://testhost does not let you in; it takes: publickey" in error.message
    assert "sremote login openssh://testhost" in (error.remedy or "")


def test_an_encrypted_key_is_no_question_but_an_error(sshd: SshServer, tmp_path: Path) -> None:
    key = make_key(tmp_path / "encrypted_key", passphrase="secret")
    sshd.authorize(key)
    error = failure(sshd.client_configuration(IdentityFile=key))
    assert isinstance(error, SignInRefused)
    assert "ssh-add" in (error.remedy or "")


def test_a_server_and_a_client_that_share_no_method(sshd: SshServer) -> None:
    error = failure(sshd.client_configuration(HostKeyAlgorithms="ssh-rsa"))
    assert isinstance(error, HostUnreachable)
    assert "no matching host key type found" in error.message


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ("NoSuchSetting yes\n", "nosuchsetting"),
        ("Port many\n", "line 1: Bad port"),
    ],
)
def test_a_configuration_that_ssh_does_not_take(configuration: str, words: str) -> None:
    error = failure(configuration)
    assert isinstance(error, UsageError)
    assert words in error.message
    assert "ssh_config" in error.message


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    connector = OpensshConnector(parse_address("openssh://host"), config_file=tmp_path / "missing")
    with pytest.raises(UsageError, match="missing"):
        connector.connect()


def test_an_ssh_program_that_is_not_there() -> None:
    error = failure(ssh="no-such-ssh")
    assert isinstance(error, UsageError)
    assert "'no-such-ssh'" in error.message
    assert "apt-get install openssh-client" in (error.remedy or "")


def test_the_doctor_names_the_step_that_fails(sshd: SshServer, tmp_path: Path) -> None:
    config_file = tmp_path / "ssh_config"
    config_file.write_text(sshd.client_configuration(UserKnownHostsFile="/dev/null"))
    *fine, last = OpensshConnector(parse_address("openssh://testhost"), config_file=config_file).diagnose()
    assert [check.state for check in fine] == [State.OK, State.OK]
    assert (last.name, last.state) == ("host key known", State.FAILED)


@pytest.mark.parametrize("words", ["", "debug1: nothing that helps\n", "something new\n"])
def test_words_of_ssh_that_say_nothing_known_are_an_error_all_the_same(words: str) -> None:
    error = error_of("host", words)
    assert isinstance(error, LineError)
    assert error.message.startswith("host: ")
