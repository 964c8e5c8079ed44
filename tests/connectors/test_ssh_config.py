"""What ~/.ssh/config says holds, as for the ssh program."""

import getpass
import subprocess
from pathlib import Path

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.errors import UsageError
from sremote.connectors.ssh_config import SshConfig, SshHost
from tests.conftest import REAL_SSH


@pytest.fixture
def lookup(client_home):
    """Return what a text as ~/.ssh/config says of a host."""

    def look(text: str, address: str = "cluster", **options) -> SshHost:
        folder = client_home / ".ssh"
        folder.mkdir(exist_ok=True)
        (folder / "config").write_text(text)
        return SshConfig(**options).host(parse_address(address))

    return look


def test_a_host_without_a_word_in_the_file(lookup, client_home):
    host = lookup("")
    assert (host.host, host.port, host.user) == ("cluster", 22, getpass.getuser())
    assert host.identity_files[-1] == client_home / ".ssh/id_ed25519"
    assert host.known_hosts[0] == client_home / ".ssh/known_hosts"


def test_no_file_at_all(client_home):
    assert SshConfig().host(parse_address("user@cluster")).user == "user"


def test_name_port_and_user_come_from_the_file(lookup):
    host = lookup("Host clus*\n HostName %h.example.org\n Port 2222\n User alice")
    assert (host.host, host.port, host.user) == ("cluster.example.org", 2222, "alice")
    assert host.key_name == "[cluster.example.org]:2222"


def test_what_the_address_says_wins(lookup):
    host = lookup("Host cluster\n Port 2222\n User alice", "bob@cluster:2200")
    assert (host.port, host.user) == (2200, "bob")


def test_the_first_value_holds(lookup):
    assert lookup("Host cluster\n User alice\nHost *\n User bob").user == "alice"


@pytest.mark.parametrize("text", ["User=alice", "user = alice", "User\talice", 'User "alice"'])
def test_settings_are_written_in_several_ways(lookup, text):
    assert lookup(f"Host cluster\n  {text}\n").user == "alice"


def test_tokens_and_variables_are_expanded_in_paths(lookup, client_home, monkeypatch):
    monkeypatch.setenv("KEYS", "/keys")
    host = lookup(
        "Host cluster\n HostName login\n User alice\n Port 2222\n"
        " IdentityFile ~/%n-%h-%p-%r%%\n IdentityFile ${KEYS}/id\n IdentityFile '%d/my key'\n"
    )
    assert host.identity_files == (
        client_home / "cluster-login-2222-alice%",
        Path("/keys/id"),
        Path(f"'{client_home}/my key'"),
    )


def test_tokens_are_expanded_in_a_proxycommand(lookup):
    text = "Host cluster\n HostName login\n Port 2222\n User alice\n ProxyCommand gate %r %h %p %n 100%%"
    assert lookup(text).proxy_command == "gate alice login 2222 cluster 100%"


def test_an_unknown_token_is_an_error(lookup):
    with pytest.raises(UsageError, match="%z in 'gate %z'"):
        lookup("ProxyCommand gate %z")


def test_key_file_goes_before_those_of_the_file(lookup):
    host = lookup("IdentityFile /one", key_file=Path("/mine"))
    assert host.identity_files == (Path("/mine"), Path("/one"))


def test_files_are_included_where_they_stand(lookup, client_home):
    folder = client_home / ".ssh" / "more"
    folder.mkdir(parents=True)
    (folder / "1").write_text("Host other\n User carol\nHost cluster\n User alice")
    (folder / "2").write_text("Host cluster\n Port 2222")
    host = lookup("Include more/* ~/missing\nUser bob\nHost cluster\n Port 22\n")
    assert (host.user, host.port) == ("alice", 2222)


def test_behind_an_included_file_its_own_blocks_end(lookup, client_home):
    (client_home / ".ssh").mkdir()
    (client_home / ".ssh" / "more").write_text("Host other\n User carol")
    assert lookup("Include more\nUser bob").user == "bob"


def test_a_file_that_includes_itself_is_an_error(lookup):
    with pytest.raises(UsageError, match="includes itself"):
        lookup("Include config")


def test_match_blocks_hold_where_they_match(lookup):
    text = "Match originalhost cluster user alice\n Port 2222\nMatch all\n Port 4444"
    assert lookup(text).port == 4444
    assert lookup(f"User alice\n{text}").port == 2222


def test_match_exec_runs_the_command(lookup, tmp_path):
    text = f"Match host other exec 'touch {tmp_path}/no'\nMatch exec 'test %h = cluster'\n Port 2222\n"
    assert lookup(text + "Match !exec true\n User alice").port == 2222
    assert lookup(text).user == getpass.getuser()
    assert not (tmp_path / "no").exists()


def test_a_match_that_is_not_understood_is_left_out(lookup, caplog):
    assert lookup("Match localnetwork 10.0.0.0/8\n Port 2222\nMatch all\n User alice").port == 22
    assert "'Match localnetwork 10.0.0.0/8' is not understood" in caplog.text


def test_the_agent_may_be_another_or_none(lookup, monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", "/usual")
    monkeypatch.setenv("OTHER", "/other")
    assert lookup("").agent == "/usual"
    assert lookup("IdentityAgent none").agent is None
    assert lookup("IdentityAgent $OTHER").agent == "/other"
    assert lookup("IdentityAgent /socket/%r", "alice@cluster").agent == "/socket/alice"


def test_a_port_that_is_no_number_is_an_error(lookup):
    with pytest.raises(UsageError, match="port 'many'"):
        lookup("Port many")


def test_a_line_that_is_no_setting_is_an_error(lookup):
    with pytest.raises(UsageError, match="is not an ssh configuration"):
        lookup("Port")


def test_a_configuration_that_was_named_must_be_there(tmp_path):
    with pytest.raises(UsageError, match="there is no ssh configuration file"):
        SshConfig(tmp_path / "none")


@pytest.mark.skipif(REAL_SSH is None, reason="needs the program ssh: apt-get install openssh-client")
def test_the_ssh_program_reads_the_same(lookup, client_home):
    text = """
        Host clus* !clusters
            HostName %h.example.org
            IdentityFile ~/.ssh/%r_%h
            UserKnownHostsFile ~/.ssh/a ~/.ssh/b
        Match host *.example.org
            Port 2222
            User alice
        Host *
            IdentityFile ~/.ssh/second
            IdentitiesOnly yes
            ConnectTimeout 7
    """
    host = lookup(text)
    command = [REAL_SSH, "-G", "-F", client_home / ".ssh/config", "cluster"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    said = [line.split(" ", 1) for line in lines if " " in line]
    values = dict(said)
    assert (host.host, str(host.port), host.user) == (values["hostname"], values["port"], values["user"])
    assert host.connect_timeout == int(values["connecttimeout"])
    assert host.identities_only == (values["identitiesonly"] == "yes")
    assert [path.name for path in host.known_hosts] == [
        Path(word).name for word in values["userknownhostsfile"].split()
    ]
    theirs = [value.replace("%r", host.user).replace("%h", host.host) for key, value in said if key == "identityfile"]
    assert [path.name for path in host.identity_files] == [Path(value).name for value in theirs]
