"""The doctor: what it finds on the way to a host, and what it says mends it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sremote import doctor
from sremote.connectors.check import Check, State
from sremote.doctor import STEPS_ON_HOST, examine
from sremote.hosts import HostSettings, add_host, find_host
from tests.conftest import configure_ssh
from tests.kit.keys import make_key
from tests.kit.program import sremote, sremote_json
from tests.kit.sshd import SshServer, ssh_server

SSH_STEPS = ["name resolves", "port answers", "host key known", "sign-in works"]
BOTH = pytest.mark.parametrize("scheme", ["ssh", "openssh"])


def look(address: str, **given: object) -> dict[str, Check]:
    """Return the doctor's checks of a host, by name, in order."""
    checks = list(examine(find_host(address, **given)))
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def look_anew(scheme: str, server: SshServer) -> dict[str, Check]:
    """Return the checks of an ssh host, signing in for them and not with what another test left."""
    return look(f"{scheme}://{server.name}", connector={"control_master": False} if scheme == "openssh" else {})


def states(checks: dict[str, Check]) -> dict[str, str]:
    return {name: str(check.state) for name, check in checks.items() if check.state is not State.OK}


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB in memory."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_local_host_is_well() -> None:
    checks = look("local:")
    assert list(checks) == ["connection", *STEPS_ON_HOST]
    assert states(checks) == {}
    assert "cpython 3." in checks["Python found"].detail


@BOTH
def test_an_ssh_host_is_well_step_by_step(ssh_address: str, scheme: str) -> None:
    checks = look(f"{scheme}://{ssh_address}")
    assert list(checks) == [*SSH_STEPS, *STEPS_ON_HOST]
    assert states(checks) == {}
    assert checks["name resolves"].detail == "127.0.0.1 is 127.0.0.1"
    assert "SSH-2.0" in checks["port answers"].detail


def test_the_doctor_leaves_the_host_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    look("local:", root=str(tmp_path / "root"))
    assert os.listdir(tmp_path / "root") == []


def test_a_root_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    checks = look("local:", root=str(tmp_path / "new/root"))
    assert checks["root writable"].detail == f"{tmp_path} takes files; {tmp_path}/new/root is made on first use"
    assert os.listdir(tmp_path) == []


def test_a_name_without_an_address_stops_there_and_the_rest_is_skipped() -> None:
    checks = look("host.invalid")
    assert next(iter(checks)) == "name resolves"
    assert checks["name resolves"].state is State.FAILED
    assert checks["name resolves"].exit_status == 3
    assert {checks[step].detail for step in STEPS_ON_HOST} == {"not tried, for 'name resolves' failed"}


def test_a_name_that_is_nearly_one_of_the_hosts_file_is_suggested() -> None:
    add_host("cluster.invalid", HostSettings("local:"))
    assert look("clutser.invalid")["name resolves"].mend.startswith("Did you mean 'cluster.invalid'?")


@BOTH
def test_a_dead_port_is_told_from_a_wrong_name(sshd: SshServer, client_home: Path, scheme: str) -> None:
    (client_home / ".ssh").mkdir()
    (client_home / ".ssh/config").write_text(sshd.client_configuration(Port=1))
    checks = look_anew(scheme, sshd)
    assert checks["name resolves"].state is State.OK
    assert checks["port answers"].state is State.FAILED
    assert checks["port answers"].detail == "port 1 of 127.0.0.1: Connection refused"
    assert "VPN" in checks["port answers"].mend


@BOTH
def test_an_unknown_host_key_is_told_from_a_refused_sign_in(sshd: SshServer, client_home: Path, scheme: str) -> None:
    (client_home / ".ssh").mkdir()
    (client_home / ".ssh/config").write_text(sshd.client_configuration(UserKnownHostsFile=client_home / "none"))
    checks = look_anew(scheme, sshd)
    assert list(checks)[:3] == SSH_STEPS[:3]
    assert checks["host key known"].state is State.FAILED
    assert checks["host key known"].mend
    assert "sign-in works" not in checks


@BOTH
def test_a_refused_key_is_a_failed_sign_in(sshd: SshServer, client_home: Path, tmp_path: Path, scheme: str) -> None:
    (client_home / ".ssh").mkdir()
    key = make_key(tmp_path / "stranger")
    (client_home / ".ssh/config").write_text(sshd.client_configuration(IdentityFile=key))
    checks = look_anew(scheme, sshd)
    assert checks["host key known"].state is State.OK
    assert checks["sign-in works"].state is State.FAILED
    assert checks["sign-in works"].mend


def test_login_scripts_that_print_are_a_warning(tmp_path: Path, client_home: Path) -> None:
    with ssh_server(tmp_path / "server", noise="Welcome to the cluster!\nBe nice.\n") as server:
        configure_ssh(client_home, server)
        checks = look(server.name)
    assert states(checks) == {"shell is quiet": "warning"}
    assert checks["shell is quiet"].detail == "login scripts print 33 bytes to stdout: 'Welcome to the cluster!'"
    assert "[ -t 1 ]" in checks["shell is quiet"].mend


def test_login_scripts_that_wait_are_told(tmp_path: Path, client_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SHELL_TIMEOUT", 0.5)
    shell = tmp_path / "waiting"
    shell.write_text("#!/bin/sh\nexec sleep 60\n")
    shell.chmod(0o755)
    with ssh_server(tmp_path / "server", shell=str(shell)) as server:
        configure_ssh(client_home, server)
        checks = look(server.name)
    assert checks["shell is quiet"].detail == "login scripts had not ended after 0.5 s"
    assert checks["Python found"].state is State.SKIPPED


def test_a_python_whose_library_is_broken_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "glob.py").write_text("raise RuntimeError('broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    check = look("local:")["Python found"]
    assert check.state is State.FAILED
    assert check.detail.endswith("does not work: RuntimeError: broken")


def test_a_host_without_python_is_told(tmp_path: Path, client_home: Path) -> None:
    with ssh_server(tmp_path / "server", python=None) as server:
        configure_ssh(client_home, server)
        checks = look(server.name)
    assert checks["Python found"].state is State.FAILED
    assert checks["Python found"].exit_status == 4
    assert "preamble" in checks["Python found"].mend
    assert checks["root writable"].state is State.SKIPPED


def test_a_python_that_is_none_is_told(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    assert look("local:", python=str(python))["Python found"].state is State.FAILED


def test_a_full_root_is_told(tmpfs: Path) -> None:
    (tmpfs / "filler").write_bytes(b"x" * (240 << 10))
    checks = look("local:", root=str(tmpfs))
    assert checks["root writable"].state is State.FAILED
    assert checks["root writable"].detail == f"{tmpfs}: No space left on device"
    assert "sremote clean" in checks["root writable"].mend
    assert checks["rename works"].state is State.SKIPPED
    assert checks["space"].state is State.WARNING


def test_a_read_only_root_is_told(tmpfs: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", tmpfs], check=True)
    checks = look("local:", root=str(tmpfs))
    assert checks["root writable"].state is State.FAILED
    assert checks["root writable"].detail == f"{tmpfs}: Read-only file system"
    assert "--root DIR" in checks["root writable"].mend


def test_a_root_in_memory_is_a_warning(tmpfs: Path) -> None:
    checks = look("local:", root=str(tmpfs))
    assert states(checks) == {"space": "warning", "file system": "warning"}
    assert "tmpfs" in checks["file system"].detail


def test_the_interpreter_of_another_version_is_told(tmp_path: Path) -> None:
    old = tmp_path / "interpreter/0123456789abcdef"
    old.mkdir(parents=True)
    (old / "interpreter.sh").touch()
    detail = look("local:", root=str(tmp_path))["interpreter"].detail
    assert detail == "this version's is not there yet; the first call pushes it; 1 of other versions"


def test_an_environment_that_is_not_there_is_told_with_the_command_that_makes_it(tmp_path: Path) -> None:
    (tmp_path / "env/other/bin").mkdir(parents=True)
    checks = look("local:", root=str(tmp_path), environment="simulate")
    assert checks["environment"].state is State.FAILED
    assert checks["environment"].exit_status == 4
    assert checks["environment"].detail == "there is no 'simulate'; there are other"
    assert checks["environment"].mend == "Make it: sremote install local: --environment simulate"


def test_an_environment_whose_python_is_broken_is_told(tmp_path: Path) -> None:
    python = tmp_path / "env/default/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 'libpython3.so: cannot open' >&2\nexit 127\n")
    python.chmod(0o755)
    checks = look("local:", root=str(tmp_path))
    assert checks["environment"].state is State.FAILED
    assert "libpython3.so: cannot open" in checks["environment"].detail


def test_an_address_without_a_connector_is_told() -> None:
    checks = look("gopher://host")
    assert checks["address"].state is State.FAILED
    assert checks["address"].exit_status == 2


def test_a_preamble_that_prints_does_no_harm() -> None:
    assert states(look("local:", preamble="echo loading modules")) == {}


def test_the_program_prints_a_line_a_step_and_ends_with_the_first_failures_status() -> None:
    done = sremote("doctor", "host.invalid", status=3)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("failed   name resolves          host.invalid has no address: ")
    assert lines[-1].startswith("skipped  scheduler")
    assert done.stderr == ""


def test_as_json_the_doctor_prints_every_step() -> None:
    found = sremote_json("doctor", "local:")
    assert found["host"] == "local:"
    assert found["ok"] is True
    assert found["exit_status"] == 0
    assert [check["name"] for check in found["checks"]] == ["connection", *STEPS_ON_HOST]
    assert found["checks"][0] == {"name": "connection", "state": "ok", "detail": "reached local", "mend": None}
