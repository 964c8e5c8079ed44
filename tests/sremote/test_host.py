"""What a host is found to be, and what is kept there: root, Python, preamble, environment, interpreter."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sremote
from sremote.bundle import interpreter_bundle, interpreter_digest
from sremote.errors import HostError, HostFull, NotInstalled, PermissionRefused, PythonMissing
from tests.kit.clients import connect_to
from tests.kit.proxy import DelayingProxy
from tests.kit.pythons import installed_pythons
from tests.kit.sshd import ssh_server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1.5 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "none", folder], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"needs to mount a tmpfs, as root: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    """Leave no room in a file system."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


class TestInterpreter:
    def test_a_bare_host_gets_it_once_and_it_is_small(self, sshd, tmp_path):
        root = str(tmp_path / "root")
        with DelayingProxy(sshd.port) as proxy:
            known_hosts = tmp_path / "known_hosts"
            known_hosts.write_text(sshd.known_hosts_line(sshd.host_keys[0], f"[127.0.0.1]:{proxy.port}"))
            sent = []
            for _ in range(2):
                before = proxy.sent
                with sremote.connect(
                    f"{sshd.user}@127.0.0.1:{proxy.port}", key_file=sshd.key_file, known_hosts=known_hosts, root=root
                ) as client:
                    assert client.call("operator", "add", [1, 2]) == 3
                sent.append(proxy.sent - before)
        assert len(interpreter_bundle()) < 200_000
        assert sent[1] < 20_000
        assert len(interpreter_bundle()) < sent[0] < 200_000
        assert os.listdir(tmp_path / "root" / "interpreter") == [interpreter_digest()]

    def test_two_clients_that_push_it_at_once_both_work(self, tmp_path):
        from concurrent.futures import ThreadPoolExecutor

        def first_call(_: int) -> int:
            with sremote.connect("local:", root=str(tmp_path / "root")) as client:
                found: int = client.call("operator", "add", [1, 2])
                return found

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(first_call, range(4))) == [3] * 4
        assert os.listdir(tmp_path / "root" / "interpreter") == [interpreter_digest()]

    def test_others_cannot_look_into_the_jobs(self, local_client):
        local_client.call("operator", "add", [1, 2])
        assert Path(local_client.host.probe().root, "jobs").stat().st_mode & 0o077 == 0


class TestRoot:
    @pytest.mark.parametrize("name", ["a b", "ü€", "$HOME", "quote'\"", "-n", "back\\slash", "u\u2028v", "=="])
    def test_it_may_have_odd_characters(self, ssh_client, sshd, tmp_path, name):
        with connect_to(sshd, root=str(tmp_path / name)) as client:
            assert client.call("operator", "add", [1, 2]) == 3
            (tmp_path / "tree").mkdir()
            client.push(tmp_path / "tree", str(tmp_path / "there"))
            client.pull(str(tmp_path / "there"), tmp_path / "back")
        assert sorted(os.listdir(tmp_path / name)) == ["interpreter", "jobs"]

    @pytest.mark.parametrize("root", ["in-home/root", "~/in-home/root"])
    def test_a_relative_one_starts_at_home(self, sshd, root):
        with connect_to(sshd, root=root) as client:
            client.call("operator", "add", [1, 2])
            assert client.host.probe().root == f"{sshd.home}/in-home/root"

    def test_one_that_cannot_be_written_is_a_clear_error(self, sshd):
        with connect_to(sshd, root="/sys/sremote") as client:
            with pytest.raises(PermissionRefused, match="/sys/sremote") as caught:
                client.call("operator", "add", [1, 2])
            assert "sremote doctor" in caught.value.remedy

    def test_one_that_is_a_file_is_a_clear_error(self, client, tmp_path, sshd):
        (tmp_path / "file").touch()
        with (
            connect_to(sshd, root=str(tmp_path / "file")) as client,
            pytest.raises(HostError, match=r"file.*(Not a directory|File exists)"),
        ):
            client.call("operator", "add", [1, 2])

    @pytest.mark.root
    def test_a_full_one_is_a_clear_error_at_first_contact(self, sshd, small_disk):
        fill(small_disk)
        with connect_to(sshd, root=f"{small_disk}/root") as client, pytest.raises(HostFull):
            client.call("operator", "add", [1, 2])

    @pytest.mark.root
    def test_a_full_one_is_a_clear_error_later_too(self, sshd, small_disk):
        with connect_to(sshd, root=f"{small_disk}/root") as client:
            client.call("operator", "add", [1, 2])
            fill(small_disk)
            with pytest.raises(HostFull):
                client.call("builtins", "len", [bytes(100_000)])
            (small_disk / "filler").unlink()
            assert client.call("operator", "add", [1, 2]) == 3
        assert os.listdir(small_disk / "root" / "jobs") == []


class TestPython:
    def test_a_host_without_one_says_so(self, tmp_path):
        with (
            ssh_server(tmp_path / "server", python=None) as server,
            connect_to(server) as client,
        ):
            with pytest.raises(PythonMissing, match=r"no Python 3\.6 or newer") as caught:
                client.call("operator", "add", [1, 2])
            assert "python=" in caught.value.remedy
            with pytest.raises(PythonMissing):
                client.facts()
            with pytest.raises(PythonMissing):
                client.run(["true"])

    def test_the_one_given_is_used(self, ssh_client, sshd):
        for python in installed_pythons()[:1]:
            with connect_to(sshd, python=str(python.path), root=ssh_client.host.probe().root) as client:
                assert client.call("platform", "python_version_tuple")[1] == str(python.minor)

    def test_one_that_is_not_there_is_named(self, sshd):
        with (
            connect_to(sshd, python="/no/such/python") as client,
            pytest.raises(PythonMissing, match="/no/such/python"),
        ):
            client.call("operator", "add", [1, 2])

    def test_one_found_by_the_preamble_is_used(self, tmp_path):
        folder = tmp_path / "modules"
        folder.mkdir()
        (folder / "python3").symlink_to(Path(sys.base_prefix, "bin", "python3"))
        with (
            ssh_server(tmp_path / "server", python=None) as server,
            connect_to(server, preamble=f"export PATH={folder}:$PATH") as client,
        ):
            assert client.call("operator", "add", [1, 2]) == 3


class TestPreamble:
    def test_what_it_sets_is_there(self, sshd):
        with connect_to(sshd, preamble="A='b  c'; export A") as client:
            assert client.call("os", "getenv", ["A"]) == "b  c"
            assert client.run(["sh", "-c", 'printf %s "$A"']).stdout == b"b  c"

    def test_what_it_and_the_profile_print_does_no_harm(self, sshd, tmp_path, capsys):
        profile = sshd.home / ".profile"
        profile.write_text("echo noise from the profile\n")
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree" / "file").write_text("x")
        try:
            with connect_to(sshd, preamble="echo noise; echo trouble >&2; cat") as client:
                assert client.call("operator", "add", [1, 2]) == 3
                client.pull(str(tmp_path / "tree"), tmp_path / "back")
        finally:
            profile.unlink()
        assert (tmp_path / "back" / "file").read_text() == "x"
        assert capsys.readouterr() == ("", "")

    def test_it_may_end_in_a_comment(self, sshd):
        with connect_to(sshd, preamble="A=1 # why") as client:
            assert client.call("operator", "add", [1, 2]) == 3

    @pytest.mark.parametrize("preamble", ["echo no such module >&2; false", "no-such-command", "exit 3", "if"])
    def test_one_that_fails_is_named(self, sshd, preamble):
        with connect_to(sshd, preamble=preamble) as client, pytest.raises(HostError) as caught:
            client.call("operator", "add", [1, 2])
        said = {"echo": "no such module", "no-such-command": "not found", "exit": "exit status 3", "if": "yntax error"}
        assert said[preamble.split()[0]] in str(caught.value)


class TestEnvironment:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """A root with an environment called mine, as ``install`` would make it."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "root" / "env" / "mine"], check=True)
        return tmp_path / "root"

    def test_the_one_named_is_used(self, sshd, root):
        with connect_to(sshd, root=str(root), environment="mine") as client:
            assert client.call("sys", "exec_prefix.upper").endswith("/ENV/MINE")
            assert client.facts().environment == "mine"

    def test_the_default_one_is_used_where_it_is_there(self, sshd, root):
        (root / "env" / "mine").rename(root / "env" / "default")
        with connect_to(sshd, root=str(root)) as client:
            assert client.facts().environment == "default"

    def test_none_is_used_where_that_is_asked_for(self, sshd, root):
        (root / "env" / "mine").rename(root / "env" / "default")
        with connect_to(sshd, root=str(root), environment="") as client:
            assert client.facts().environment is None

    def test_a_missing_one_says_how_to_make_it(self, sshd, root):
        with (
            connect_to(sshd, root=str(root), environment="other") as client,
            pytest.raises(NotInstalled, match="no environment 'other'") as caught,
        ):
            client.call("operator", "add", [1, 2])
        assert "sremote install" in caught.value.remedy
        assert "--environment other" in caught.value.remedy


def test_facts_are_those_of_the_host(client):
    found = client.facts()
    assert found.home == client.call("os.path", "expanduser", ["~"])
    assert found.root == client.host.probe().root
    assert found.cores >= 1
    assert found.free_bytes > 0
    assert found.version == client.host.probe().version
    assert found.python == client.call("sys", "executable.strip")


class TestOtherHosts:
    def test_a_login_shell_that_prints_does_no_harm(self, tmp_path, capsys):
        with (
            ssh_server(tmp_path / "server", noise="Welcome\nto the machine\n") as server,
            connect_to(server) as client,
        ):
            assert client.call("operator", "add", [1, 2]) == 3
            assert client.run(["echo", "x"]).stdout == b"x\n"
        assert capsys.readouterr() == ("", "")
