"""``sremote.connect``: names, addresses and options."""

import subprocess
import sys

import pytest

import sremote
from sremote.errors import HostUnreachable, SignInRefused, UsageError
from sremote.hosts import HostSettings, add_host
from tests.kit.clients import connect_to
from tests.kit.keys import make_key


@pytest.mark.matrix
@pytest.mark.parametrize("scheme", ["ssh", "openssh"])
def test_each_connector_carries_calls(ssh_address, tmp_path, scheme, capsys):
    with sremote.connect(f"{scheme}://{ssh_address}", root=str(tmp_path / "root")) as client:
        assert client.call("operator", "add", [1, 2]) == 3
        client.call("builtins", "print", ["hello"])
        with pytest.raises(ZeroDivisionError):
            client.call("operator", "truediv", [1, 0])
        assert client.run(["cat"], stdin=b"\0\xff").stdout == b"\0\xff"
        assert client.call_function(lambda x: x + 1, 1) == 2
    assert capsys.readouterr().out == "hello\n"


def test_a_command_that_gives_a_shell_carries_calls(tmp_path):
    with sremote.connect("command:env A=b", root=str(tmp_path / "root")) as client:
        assert client.call("os", "getenv", ["A"]) == "b"


def test_connecting_many_times_works(local_client):
    for _ in range(3):
        with sremote.connect("local:", root=local_client.host.root) as client:
            assert client.host.name == "local:"


def test_a_name_of_the_hosts_file_stands_for_all_its_settings(sshd, client_home, tmp_path):
    add_host(
        "lab",
        HostSettings(
            sshd.address,
            root=str(tmp_path / "root"),
            preamble="export A=b",
            login_env=False,
            connector={"key_file": str(sshd.key_file), "known_hosts": str(sshd.known_hosts)},
        ),
    )
    with sremote.connect("lab") as client:
        assert client.host.name == "lab"
        assert client.call("os", "getenv", ["A"]) == "b"
        assert client.facts().root == str(tmp_path / "root")


def test_what_is_given_goes_before_the_hosts_file(client_home, tmp_path):
    add_host("here", HostSettings("local:", root="/no/such/place"))
    with sremote.connect("here", root=str(tmp_path / "root")) as client:
        assert client.facts().root == str(tmp_path / "root")


def test_an_option_that_the_connector_lacks_is_named():
    with pytest.raises(UsageError, match="colour"):
        sremote.connect("local:", colour="red")


@pytest.mark.parametrize("host", ["", "nosuchscheme://host", " host", "-oProxyCommand=x"])
def test_what_is_no_address_is_refused(host):
    with pytest.raises(UsageError):
        sremote.connect(host)


def test_a_host_that_is_not_there_is_unreachable():
    with pytest.raises(HostUnreachable, match=r"127\.0\.0\.1"):
        sremote.connect("someone@127.0.0.1:1")


def test_a_key_that_is_not_accepted_is_refused(sshd, tmp_path):
    with pytest.raises(SignInRefused):
        connect_to(sshd, key_file=make_key(tmp_path / "other"))


def test_importing_sremote_imports_nothing_heavy():
    heavy = ("paramiko", "click", "rich", "numpy", "dill", "tenacity")
    code = f"import sremote, sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_first_call_needs_no_sign_in_twice(sshd, tmp_path):
    before = sshd.log.read_text().count("Accepted publickey")
    with connect_to(sshd, root=str(tmp_path / "root")) as client:
        client.call("operator", "add", [1, 2])
        client.push(__file__, str(tmp_path / "file"))
        client.facts()
    assert sshd.log.read_text().count("Accepted publickey") == before + 1
