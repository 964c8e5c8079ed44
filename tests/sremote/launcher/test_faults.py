"""Hosts that are down, die or are full, and Ctrl-C at each stage: a clear report, and nothing left behind."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sremote.errors import ConnectionLost, HostFull, HostUnreachable, LineError, SremoteError, UsageError
from sremote.launcher.launch import Launch, LaunchFailed
from tests.conftest import configure_ssh
from tests.kit.sessions import launch_host
from tests.kit.sshd import SshServer
from tests.sremote.launcher.conftest import Seen, Write, plan_of, processes_with, run


def sessions(*hosts: SshServer) -> list[str]:
    """Return the names of screen's sessions here and on hosts."""
    folders = [os.environ["SCREENDIR"], *map(session_folder, hosts)]
    return [name for folder in folders for name in os.listdir(folder) if not name.startswith("tmux")]


def session_folder(host: SshServer) -> str:
    """Return where a host's screen has its sessions."""
    found = re.search("export SCREENDIR=(.*)", (host.folder / "login").read_text())
    assert found is not None
    return found[1]


def temporary_folders(*hosts: SshServer) -> list[Path]:
    return [path for host in hosts for path in (host.folder / "tmp").glob("sremote-*")]


def test_a_host_that_is_down_ends_the_launch_before_anything_is_touched(
    known_hosts: list[SshServer], write: Write, seen: Seen
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = write(
        "config.py",
        f"""\
        for host in ('host0', '127.0.0.1:{port}', 'no-such-host.invalid'):
            config.add_component(Component(name=host, host=host, executable='/bin/sleep', args=['54321.7']))
        """,
    )
    with pytest.raises(LaunchFailed) as caught:
        run(config, seen)
    assert sorted(caught.value.errors) == [f"127.0.0.1:{port}", "no-such-host.invalid"]
    assert all(isinstance(error, HostUnreachable) for error in caught.value.errors.values())
    assert caught.value.exit_status == 3
    assert processes_with("54321.7") == []
    assert temporary_folders(known_hosts[0]) == []


def test_a_host_that_dies_while_files_go_to_it_ends_the_launch(
    known_hosts: list[SshServer], write: Write, seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sremote.reconnect.RECONNECT_FOR", 0.2)
    (tmp_path / "big").write_bytes(os.urandom(30_000_000))
    config = write(
        "config.py",
        """\
        for host in ('host0', 'dying'):
            c = Component(name=host, host=host, executable='/bin/sleep', args=['54321.8'], files={'big': 'big'})
            config.add_component(c)
        """,
    )
    with launch_host(tmp_path, "dying") as dying:
        configure_ssh(Path(os.environ["HOME"]), *known_hosts, dying)
        seen.copying = lambda host, _progress: dying.stop() if host == "dying" else None  # type: ignore[method-assign]
        with pytest.raises(LineError) as caught:
            run(config, seen)
    assert isinstance(caught.value, ConnectionLost | HostUnreachable)
    assert "dying" in caught.value.message
    assert processes_with("54321.8") == []
    assert temporary_folders(known_hosts[0]) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.root
def test_a_full_disk_is_told_before_anything_is_copied_or_else_while_it_is(
    small_disk: Path, write: Write, tmp_path: Path
) -> None:
    source = tmp_path / "data"
    source.write_bytes(bytes(1_100_000))
    config = write(
        "config.py",
        f"""\
        c = Component(name='x', host='local:', executable='/bin/sleep', args=['54321.9'])
        c.files = {{'data': {str(small_disk / "data")!r}}}
        config.add_component(c)
        """,
    )
    with pytest.raises(UsageError, match=f"x on local: the disk of {small_disk} is full: 1100000 bytes are needed"):
        run(config)
    assert os.listdir(small_disk) == []

    # The old file is of the same size, so it seems to be the same, and there is no room for both.
    source.write_bytes(bytes(700_000))
    (small_disk / "data").write_bytes(b"x" * 700_000)
    with pytest.raises(HostFull, match=f"{small_disk}/data: No space left"):
        run(config)
    assert os.listdir(small_disk) == ["data"]
    assert processes_with("54321.9") == []


@pytest.mark.parametrize("stage", ["connecting", "copying", "starting", "started", "output"])
def test_ctrl_c_at_each_stage_leaves_nothing_behind(
    known_hosts: list[SshServer], write: Write, seen: Seen, tmp_path: Path, stage: str
) -> None:
    (tmp_path / "big").write_bytes(os.urandom(8_000_000))
    write("run.sh", "#!/bin/sh\necho hello\n(setsid sleep 54321.11 &)\nexec sleep 54321.11\n")
    config = write(
        "config.py",
        """\
        for number, host in enumerate(('host0', 'host1', 'host1', 'localhost')):
            c = Component(name='c%s' % number, host=host, executable='run.sh', wait=True)
            c.files = {'run.sh': 'run.sh', 'big': 'big'} if host != 'localhost' else {}
            config.add_component(c)
        """,
    )
    interrupted: list[str] = []

    def interrupt(where: str) -> None:
        if where.lower().startswith(stage) and not interrupted:
            interrupted.append(where)
            os.kill(os.getpid(), signal.SIGINT)

    seen.stage = interrupt  # type: ignore[method-assign]
    seen.copying = lambda _host, _progress: interrupt("copying")  # type: ignore[method-assign]
    seen.started = lambda _component: interrupt("started")  # type: ignore[method-assign]
    seen.on_output = lambda _name, _line: interrupt("output")
    launch = Launch(plan_of(config), seen)
    with pytest.raises(KeyboardInterrupt):
        launch.run()
    assert interrupted
    assert (launch.result.outcome, launch.result.exit_status) == ("interrupted", 130)
    assert {each.state for each in launch.result.components} <= {"waiting", "stopped"}
    assert processes_with("54321.11") == []
    assert sessions(*known_hosts[:2]) == []
    if stage in ("connecting", "copying"):
        assert temporary_folders(*known_hosts[:2]) == []


def test_a_line_that_drops_while_components_run_is_taken_up_again(
    known_hosts: list[SshServer], write: Write, seen: Seen
) -> None:
    write("run.sh", "#!/bin/sh\necho first\nread line\necho $line\n")
    config = write(
        "config.py",
        """\
        c = Component(name='x', host='host2', executable='run.sh', files={'run.sh': 'run.sh'}, wait=True)
        config.add_component(c)
        """,
    )

    def cut(_name: str, line: str) -> None:
        if line == "first":
            known_hosts[2].cut()
            window = launch.result.components[0].window
            assert window is not None
            session, _, number = window.partition(":")
            environment = {**os.environ, "SCREENDIR": session_folder(known_hosts[2])}
            command = ["screen", "-S", session, "-p", number, "-X", "stuff", "second\n"]
            subprocess.run(command, env=environment, check=True)

    seen.on_output = cut
    launch = Launch(plan_of(config), seen)
    launch.run()
    assert seen.output_of("x") == ["first", "second", "second"], "what was typed is shown, too, as on any terminal"
    assert launch.result.exit_status == 0


def test_a_component_whose_terminal_is_killed_has_failed(write: Write, seen: Seen) -> None:
    config = write(
        "config.py",
        """\
        c = Component(name='x', host='localhost', executable='/bin/sleep', args=['54321.12'], wait=True)
        config.add_component(c)
        """,
    )

    def kill(_component: object) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            if b"sremote_interpreter.component " in path.read_bytes().replace(b"\0", b" "):
                environment = (path.parent / "environ").read_bytes()
                if os.environ["SCREENDIR"].encode() in environment:
                    os.kill(int(path.parent.name), signal.SIGKILL)

    seen.started = kill  # type: ignore[method-assign]
    result = run(config, seen)
    assert result.component("x").state == "failed"
    assert "its job is gone" in result.component("x").how
    assert processes_with("54321.12") == []


def test_an_error_of_one_host_is_raised_as_it_is(write: Write) -> None:
    config = write(
        "config.py", "config.add_component(Component(name='x', host='command:false', executable='/bin/true'))"
    )
    with pytest.raises(SremoteError) as caught:
        run(config)
    assert not isinstance(caught.value, LaunchFailed)
