"""The hosts file: what it may say, how it is edited, and what is said of its faults."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sremote.errors import UsageError
from sremote.hosts import HostSettings, add_host, find_host, hosts_file, read_hosts, remove_host

EVERY_KEY = """\
[hosts.cluster]
address = "user@login.example.org"
python = "/opt/python3.11/bin/python3"
root = "/scratch/me/.sremote"
environment = "default"
preamble = "module load python"
trust = true
login_env = true
application = "simulator"

[hosts.cluster.connector]
key_file = "~/.ssh/id_hpc"
"""


@pytest.fixture
def file(client_home: Path) -> Iterator[Path]:
    """The hosts file's place; what is written there others cannot change."""
    path = hosts_file()
    path.parent.mkdir(parents=True)
    before = os.umask(0o022)
    yield path
    os.umask(before)


def test_the_file_is_in_the_users_configuration_folder(client_home: Path) -> None:
    assert hosts_file() == client_home / ".config/sremote/hosts.toml"


def test_every_key_of_a_host_is_read(file: Path) -> None:
    file.write_text(EVERY_KEY)
    assert find_host("cluster") == HostSettings(
        address="user@login.example.org",
        python="/opt/python3.11/bin/python3",
        root="/scratch/me/.sremote",
        environment="default",
        preamble="module load python",
        trust=True,
        login_env=True,
        application="simulator",
        connector={"key_file": "~/.ssh/id_hpc"},
        name="cluster",
    )


def test_a_name_that_the_file_lacks_is_an_address(file: Path) -> None:
    file.write_text(EVERY_KEY)
    assert find_host("user@other") == HostSettings("user@other", name="user@other")


def test_without_a_file_every_name_is_an_address(client_home: Path) -> None:
    assert find_host("cluster").address == "cluster"
    assert read_hosts() == {}


def test_what_is_given_overrides_the_file(file: Path) -> None:
    file.write_text(EVERY_KEY)
    settings = find_host("cluster", root="/elsewhere", trust=False, python=None, connector={"port": 2222})
    assert settings.root == "/elsewhere"
    assert settings.trust is False
    assert settings.python == "/opt/python3.11/bin/python3"
    assert settings.connector == {"key_file": "~/.ssh/id_hpc", "port": 2222}


def test_an_unknown_key_is_named_with_the_nearest_right_one(file: Path) -> None:
    file.write_text('[hosts.a]\naddress = "local:"\npreample = "x"\n')
    with pytest.raises(UsageError) as caught:
        find_host("a")
    assert caught.value.message == f"{file}: [hosts.a] there is no key 'preample'"
    assert caught.value.remedy == "Did you mean 'preamble'?"


def test_an_unknown_table_is_refused(file: Path) -> None:
    file.write_text('[host.a]\naddress = "local:"\n')
    with pytest.raises(UsageError, match="there is no key 'host'") as caught:
        read_hosts()
    assert caught.value.remedy == "Did you mean 'hosts'?"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("python = 3", "python = 3 is not a string"),
        ('trust = "yes"', "trust = 'yes' is not true or false"),
        ('connector = "x"', "connector = 'x' is not a table"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(file: Path, line: str, message: str) -> None:
    file.write_text(f'[hosts.a]\naddress = "local:"\n{line}\n')
    with pytest.raises(UsageError) as caught:
        read_hosts()
    assert caught.value.message == f"{file}: [hosts.a] {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[hosts.a]\npython = 'x'\n", "has no address"),
        ("hosts = 3\n", "'hosts' is not a table"),
        ("[hosts]\na = 3\n", "is not a table"),
    ],
)
def test_a_host_that_is_none_is_refused(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_hosts()


@pytest.mark.parametrize(
    ("text", "line"), [('[hosts.a]\naddress = "x\n', 2), ("[hosts.a]\n\naddress =", 3), ("[hosts.a", 1)]
)
def test_a_syntax_error_is_told_with_its_line(file: Path, text: str, line: int) -> None:
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_hosts()
    assert caught.value.message.startswith(f"{file}:{line}: ")
    assert "(at " not in caught.value.message


def test_a_broken_file_does_not_hinder_an_address(file: Path) -> None:
    file.write_text("[hosts.a")
    assert find_host("local:").address == "local:"


def test_a_file_that_others_may_change_is_refused(file: Path) -> None:
    file.write_text(EVERY_KEY)
    file.chmod(0o666)
    with pytest.raises(UsageError, match="may be changed by other users") as caught:
        find_host("cluster")
    assert caught.value.remedy == f"Type: chmod go-w {file}"


def test_a_file_that_is_not_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        read_hosts()


def test_an_added_host_is_found_with_all_that_was_said(client_home: Path) -> None:
    settings = HostSettings(
        "user@h",
        preamble='echo "a\\b"\tü\x7f',
        trust=True,
        connector={"key file": "~/.ssh/é", "ports": [1, 2], "deep": {"a.b": False}, "wait": 1.5},
        name="lab",
    )
    add_host("lab", settings)
    assert find_host("lab") == settings


def test_the_file_is_for_its_user_alone(client_home: Path) -> None:
    add_host("lab", HostSettings("local:"))
    assert stat.S_IMODE(hosts_file().stat().st_mode) == 0o600
    assert os.listdir(hosts_file().parent) == ["hosts.toml"]


def test_an_edit_leaves_other_hosts_and_comments_as_they_are(file: Path) -> None:
    before = "# my hosts\n\n[hosts.a]   # first\naddress   = 'local:'\n"
    after = "\n# about c\n[hosts.'c.d']\naddress = 'z'\n[hosts.'c.d'.connector]\nx = 1 # one\n"
    file.write_text(f"{before}\n# about b\n[hosts.b]\n# inside b\naddress = 'y'\n[hosts.b.connector]\nx = 1\n{after}")
    remove_host("b")
    assert file.read_text() == f"{before}{after}"
    add_host("e", HostSettings("w"))
    assert file.read_text() == f'{before}{after}\n[hosts.e]\naddress = "w"\n'
    assert list(read_hosts()) == ["a", "c.d", "e"]


def test_a_host_is_replaced_only_where_that_is_asked_for(client_home: Path) -> None:
    add_host("lab", HostSettings("one"))
    with pytest.raises(UsageError, match="has a host 'lab' already"):
        add_host("lab", HostSettings("two"))
    assert find_host("lab").address == "one"
    add_host("lab", HostSettings("two"), replace=True)
    assert find_host("lab").address == "two"


def test_removing_a_host_that_is_not_there_names_the_nearest(client_home: Path) -> None:
    add_host("cluster", HostSettings("local:"))
    with pytest.raises(UsageError, match="has no host 'clutser'") as caught:
        remove_host("clutser")
    assert caught.value.remedy == "Did you mean 'cluster'?"


@pytest.mark.parametrize("name", ["", "a b", "-x", "user@host", "local:"])
def test_a_name_that_could_be_an_address_is_refused(client_home: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a name for a host"):
        add_host(name, HostSettings("local:"))


def test_an_address_that_cannot_be_one_is_refused(client_home: Path) -> None:
    with pytest.raises(UsageError, match="is not a host"):
        add_host("lab", HostSettings("user@@host"))
    assert not hosts_file().exists()


def test_a_layout_that_cannot_be_edited_is_left_alone(file: Path) -> None:
    text = "hosts = {a = {address = 'x'}}\n"
    file.write_text(text)
    with pytest.raises(UsageError, match="cannot be edited"):
        remove_host("a")
    assert file.read_text() == text


def test_an_option_that_toml_cannot_say_is_refused(client_home: Path) -> None:
    with pytest.raises(UsageError, match="cannot stand in the hosts file"):
        add_host("lab", HostSettings("local:", connector={"x": None}))


def test_a_link_to_the_file_stays_a_link(file: Path, tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles.toml"
    kept.write_text("")
    file.symlink_to(kept)
    add_host("lab", HostSettings("local:"))
    assert file.is_symlink()
    assert "lab" in kept.read_text()


def test_a_folder_that_cannot_be_written_is_named(client_home: Path) -> None:
    (client_home / ".config").write_text("a file where the folder should be")
    with pytest.raises(UsageError, match="cannot be"):
        add_host("lab", HostSettings("local:"))
