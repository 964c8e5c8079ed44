"""What is particular to this machine as a host; what it shares with others is in test_conformance_local."""

import io
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.errors import FileMissing, HostError, HostFull, PermissionRefused
from sremote.connectors.local import LocalConnector


@pytest.fixture
def connector() -> LocalConnector:
    return LocalConnector(parse_address("local:"))


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


def test_commands_start_in_the_home_directory(connector: LocalConnector, client_home: Path) -> None:
    assert connector.execute(["pwd"]).stdout == f"{client_home}\n".encode()


def test_messages_call_it_local(connector: LocalConnector) -> None:
    with pytest.raises(FileMissing, match=r"^local: cannot read missing: No such file or directory"):
        connector.get("missing", io.BytesIO())


def test_a_script_without_an_interpreter_line_runs(connector: LocalConnector, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("echo hello\n")
    (tmp_path / "script").chmod(0o755)
    assert connector.execute([str(tmp_path / "script")]).stdout == b"hello\n"


def test_a_file_that_is_no_program_is_status_126(connector: LocalConnector, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert connector.execute([str(tmp_path / "data")]).status == 126


def test_a_home_that_is_not_there_is_said(connector: LocalConnector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/no/such/home")
    with pytest.raises(HostError, match=r"cannot start true in /no/such/home"):
        connector.execute(["true"])


@pytest.mark.root
def test_a_full_disk_is_said_and_the_old_file_stays(connector: LocalConnector, tmpfs: Path) -> None:
    connector.put(b"old", f"{tmpfs}/file")
    with pytest.raises(HostFull, match="No space left"):
        connector.put(bytes(1 << 20), f"{tmpfs}/file")
    assert os.listdir(tmpfs) == ["file"]
    assert connector.read(f"{tmpfs}/file") == b"old"


@pytest.mark.root
def test_a_read_only_disk_is_said(connector: LocalConnector, tmpfs: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", tmpfs], check=True)
    with pytest.raises(PermissionRefused, match="Read-only file system"):
        connector.put(b"", f"{tmpfs}/file")


def test_a_command_is_not_reached_by_the_terminals_interrupt(connector: LocalConnector) -> None:
    process = connector.start(["sh", "-c", "ps -o sid= -p $$"])
    session = int(process.read())
    process.wait()
    process.kill()
    assert session != os.getsid(0)


def test_a_command_that_ignores_the_request_to_end_is_ended(connector: LocalConnector) -> None:
    process = connector.start(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"])
    assert process.read() == b"ready\n"
    process.kill()
    assert process.wait(0) == -9


def test_what_a_command_left_running_is_not_ended_with_it(connector: LocalConnector, tmp_path: Path) -> None:
    script = f"(sleep 0.3; echo done >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/file) >/dev/null 2>&1 </dev/null &"
    assert connector.execute(["sh", "-c", script]).status == 0
    while not (tmp_path / "file").exists():
        time.sleep(0.01)
    assert (tmp_path / "file").read_text() == "done\n"


def test_a_pipe_that_is_being_read_keeps_its_number_until_the_read_ends() -> None:
    """Else the next command could be given the number, and the read would take what that one says."""
    process = LocalConnector(parse_address("local:")).start(["sh", "-c", "setsid sleep 60 & echo $!"])
    sleeper = int(process.read())
    reader = threading.Thread(target=process.read_stderr)
    reader.start()
    pipe = next(entry for entry in Path("/proc/self/fd").iterdir() if same_file(entry, f"/proc/{sleeper}/fd/2"))
    process.kill()
    assert same_file(pipe, f"/proc/{sleeper}/fd/2")
    os.kill(sleeper, signal.SIGKILL)
    reader.join(30)
    assert not pipe.exists()


def same_file(one: Path, other: str) -> bool:
    try:
        return os.readlink(one) == os.readlink(other)
    except FileNotFoundError:
        return False
