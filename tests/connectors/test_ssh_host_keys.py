"""Host keys are always checked; a key is accepted only by an explicit act."""

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.errors import HostKeyError
from sremote.connectors.ssh import SshConnector
from tests.kit.keys import fingerprint, hash_known_hosts, make_key, public_key, sign_key
from tests.kit.sshd import SshServer, ssh_server


@pytest.fixture
def known_hosts(sshd, tmp_path):
    """A copy of the shared server's known_hosts, to be changed at will."""
    copy = tmp_path / "known_hosts"
    copy.write_text(sshd.known_hosts.read_text())
    return copy


def connect(server: SshServer, **options) -> None:
    with SshConnector(parse_address(server.name), config_file=server.config_file, **options) as connector:
        assert connector.execute(["echo", "in"]).stdout == b"in\n"


def shown_by(server: SshServer) -> str:
    return fingerprint(f"{server.host_keys[0]}.pub")


def test_an_unknown_key_is_refused_and_shown(sshd, tmp_path):
    with pytest.raises(HostKeyError) as caught:
        connect(sshd, known_hosts=tmp_path / "none")
    assert "testhost: its host key is not known yet: ED25519" in str(caught.value)
    assert f"sremote doctor testhost --option accept_host_key={shown_by(sshd)}" in caught.value.remedy
    assert not (tmp_path / "none").exists()


def test_strict_checking_cannot_be_switched_off(sshd, tmp_path):
    config = tmp_path / "config"
    settings = {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null"}
    config.write_text(sshd.client_configuration(**settings))
    with pytest.raises(HostKeyError, match="not known yet"):
        SshConnector(parse_address(sshd.name), config_file=config).connect()


def test_a_key_whose_fingerprint_is_given_is_accepted_and_remembered(sshd, tmp_path):
    file = tmp_path / "new" / "known_hosts"
    connect(sshd, known_hosts=file, accept_host_key=shown_by(sshd))
    assert file.read_text() == sshd.known_hosts.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    connect(sshd, known_hosts=file)


def test_a_remembered_key_goes_on_a_line_of_its_own(sshd, tmp_path):
    file = tmp_path / "known_hosts"
    file.write_text("# no newline at the end")
    connect(sshd, known_hosts=file, accept_host_key=shown_by(sshd))
    assert file.read_text().splitlines()[1:] == sshd.known_hosts.read_text().splitlines()


def test_the_name_is_hashed_where_the_configuration_asks_for_it(sshd, tmp_path):
    config, file = tmp_path / "config", tmp_path / "known_hosts"
    config.write_text(sshd.client_configuration(HashKnownHosts="yes", UserKnownHostsFile=file))
    for options in ({"accept_host_key": shown_by(sshd)}, {}):
        with SshConnector(parse_address(sshd.name), config_file=config, **options):
            pass
    assert file.read_text().startswith("|1|")


def test_a_key_other_than_the_accepted_one_is_refused(sshd, tmp_path):
    with pytest.raises(HostKeyError, match="not the accepted SHA256:other"):
        connect(sshd, known_hosts=tmp_path / "none", accept_host_key="SHA256:other")
    assert not (tmp_path / "none").exists()


def test_a_changed_key_is_refused_with_both_fingerprints_and_the_line(sshd, known_hosts, tmp_path):
    other = make_key(tmp_path / "other")
    known_hosts.write_text(f"# a comment\n\n{sshd.known_hosts_line(other)}")
    with pytest.raises(HostKeyError) as caught:
        connect(sshd, known_hosts=known_hosts)
    message = str(caught.value)
    assert shown_by(sshd) in message
    assert fingerprint(f"{other}.pub") in message
    assert f"{known_hosts}:3 has" in message
    assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}'" in caught.value.remedy


def test_an_accepted_fingerprint_does_not_replace_a_known_key(sshd, known_hosts, tmp_path):
    known_hosts.write_text(sshd.known_hosts_line(make_key(tmp_path / "other")))
    with pytest.raises(HostKeyError, match="not the one seen before"):
        connect(sshd, known_hosts=known_hosts, accept_host_key=shown_by(sshd))


def test_nothing_is_sent_to_a_host_with_a_changed_key(tmp_path):
    with ssh_server(tmp_path / "server") as server:
        server.known_hosts.write_text(server.known_hosts_line(make_key(tmp_path / "other")))
        with pytest.raises(HostKeyError):
            connect(server)
        assert "Accepted" not in server.log.read_text()
        assert "Failed" not in server.log.read_text()


def test_hashed_names_are_found(sshd, known_hosts):
    hash_known_hosts(known_hosts)
    assert "127.0.0.1" not in known_hosts.read_text()
    connect(sshd, known_hosts=known_hosts)


@pytest.mark.parametrize("names", ["other,[127.0.0.?]:*", "[127.*", "127.0.0.1"])
def test_a_line_may_name_the_host_by_a_pattern_or_without_its_port(sshd, known_hosts, names):
    known_hosts.write_text(sshd.known_hosts_line(sshd.host_keys[0], names))
    connect(sshd, known_hosts=known_hosts)


def test_a_pattern_may_leave_the_host_out(sshd, known_hosts):
    names = f"[127.0.0.1]:*,![127.0.0.1]:{sshd.port}"
    known_hosts.write_text(sshd.known_hosts_line(sshd.host_keys[0], names))
    with pytest.raises(HostKeyError, match="not known yet"):
        connect(sshd, known_hosts=known_hosts)


def test_the_key_is_asked_for_that_is_known(tmp_path):
    with ssh_server(tmp_path / "server", host_keys=("ed25519", "ecdsa", "rsa")) as server:
        for key in server.host_keys:
            server.known_hosts.write_text(server.known_hosts_line(key))
            connect(server)


def test_a_host_without_the_known_type_of_key_is_refused(sshd, known_hosts, tmp_path):
    known_hosts.write_text(sshd.known_hosts_line(make_key(tmp_path / "rsa", kind="rsa")))
    with pytest.raises(HostKeyError, match=f"it shows ED25519 .*{known_hosts}:1 has RSA"):
        connect(sshd, known_hosts=known_hosts)


def test_a_revoked_key_is_refused(sshd, known_hosts):
    line = sshd.known_hosts_line(sshd.host_keys[0])
    known_hosts.write_text(f"{line}@revoked {line}")
    with pytest.raises(HostKeyError, match=f"was revoked by {known_hosts}:2"):
        connect(sshd, known_hosts=known_hosts)


def test_a_certificate_authority_is_named_as_what_cannot_be_checked(sshd, known_hosts, tmp_path):
    known_hosts.write_text(f"@cert-authority {sshd.known_hosts_line(make_key(tmp_path / 'ca'), '*')}")
    with pytest.raises(HostKeyError, match=r"certificate authority .*which the ssh connector cannot check") as caught:
        connect(sshd, known_hosts=known_hosts)
    assert "openssh://testhost" in caught.value.remedy


def test_a_host_with_a_certificate_is_known_by_its_key(tmp_path):
    authority = make_key(tmp_path / "ca")
    with ssh_server(tmp_path / "server") as server:
        sign_key(authority, server.host_keys[0], principals="127.0.0.1", host=True)
        server.settings = f"HostCertificate {server.host_keys[0]}-cert.pub"
        server.stop()
        server.start()
        connect(server)


def test_an_alias_stands_for_the_name_and_the_port(sshd, tmp_path):
    config, file = tmp_path / "config", tmp_path / "known_hosts"
    file.write_text(sshd.known_hosts_line(sshd.host_keys[0], "cluster"))
    config.write_text(sshd.client_configuration(UserKnownHostsFile=file, HostKeyAlias="cluster"))
    with SshConnector(parse_address(sshd.name), config_file=config):
        pass


def test_lines_that_make_no_sense_are_passed_over(sshd, known_hosts):
    blob = public_key(sshd.host_keys[0]).split()[1]
    name = f"[127.0.0.1]:{sshd.port}"
    rubbish = f"{name}\n{name} ssh-ed25519 ???\n|1|x|y ssh-ed25519 {blob}\n@new {name} ssh-ed25519 {blob}\n"
    known_hosts.write_text(rubbish + known_hosts.read_text())
    connect(sshd, known_hosts=known_hosts)
