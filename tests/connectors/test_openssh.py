"""What the openssh connector does beyond the contract: one shared connection, ssh's own settings, exact statuses."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from sremote.connectors import openssh
from sremote.connectors.address import parse_address
from sremote.connectors.check import State
from sremote.connectors.errors import ConnectionLost, LineTimeout, SremoteError, UsageError
from sremote.connectors.openssh import OpensshConnector
from sremote.connectors.openssh_master import control_path, is_listening, private_folder
from tests.conftest import REAL_SSH
from tests.kit.proxy import DelayingProxy
from tests.kit.sshd import SshServer, ssh_server

Reach = Callable[..., OpensshConnector]


@pytest.fixture
def reach(tmp_path: Path) -> Iterator[Reach]:
    """Makes connectors from the text of a configuration; their masters end with the test."""
    with ExitStack() as stack:

        def reach(configuration: str, host: str = "testhost", **options: object) -> OpensshConnector:
            config_file = tmp_path / "ssh_config"
            config_file.write_text(configuration)
            connector = OpensshConnector(parse_address(f"openssh://{host}"), config_file=config_file, **options)
            stack.callback(sign_out, connector)
            return connector

        yield reach


def sign_out(connector: OpensshConnector) -> None:
    with suppress(SremoteError):
        connector.logout()
    connector.close()


@pytest.fixture
def proxy(sshd: SshServer) -> Iterator[DelayingProxy]:
    """A way to the server that counts connections and breaks."""
    with DelayingProxy(sshd.port) as proxy:
        yield proxy


def through(proxy: DelayingProxy, sshd: SshServer, **settings: object) -> str:
    return sshd.client_configuration(Port=proxy.port, HostKeyAlias=f"[127.0.0.1]:{sshd.port}", **settings)


def output(connector: OpensshConnector, script: str) -> bytes:
    return connector.execute(["sh", "-c", script]).stdout


def eventually(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


# --- one connection ---------------------------------------------------------------------


@pytest.mark.matrix
def test_commands_and_connectors_share_one_sign_in(reach: Reach, sshd: SshServer, proxy: DelayingProxy) -> None:
    for _ in range(2):
        with reach(through(proxy, sshd)) as connector:
            assert output(connector, "echo hello") == b"hello\n"
            assert output(connector, "echo again") == b"again\n"
    assert proxy.connections == 1


@pytest.mark.matrix
def test_twenty_commands_at_once_take_turns_on_it(reach: Reach, sshd: SshServer, proxy: DelayingProxy) -> None:
    """An OpenSSH server allows ten; ssh would open more connections without a word."""
    connector = reach(through(proxy, sshd))
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: output(connector, f"sleep 0.1; echo {number}"), range(20)))
    assert answers == [b"%d\n" % number for number in range(20)]
    assert proxy.connections == 1


def test_connectors_that_connect_at_once_sign_in_once(reach: Reach, sshd: SshServer, proxy: DelayingProxy) -> None:
    connectors = [reach(through(proxy, sshd)) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(OpensshConnector.connect, connectors))
    assert proxy.connections == 1


def test_a_command_beyond_the_eighth_gets_a_connection_of_its_own(
    reach: Reach, sshd: SshServer, proxy: DelayingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openssh, "SESSION_WAIT", 0.1)
    connector = reach(through(proxy, sshd))
    with ExitStack() as stack:
        for _ in range(8):
            stack.callback(connector.start(["cat"]).kill)
        assert output(connector, "echo ninth") == b"ninth\n"
    assert proxy.connections == 2


def test_a_command_that_ended_makes_room_for_the_next(reach: Reach, sshd: SshServer, proxy: DelayingProxy) -> None:
    connector = reach(through(proxy, sshd))
    with ExitStack() as stack:
        for _ in range(10):
            process = connector.start(["true"])
            stack.callback(process.kill)
            assert process.wait() == 0
    assert proxy.connections == 1


def test_without_a_master_each_command_signs_in(reach: Reach, sshd: SshServer, proxy: DelayingProxy) -> None:
    connector = reach(through(proxy, sshd), control_master=False)
    assert output(connector, "echo hello") == b"hello\n"
    assert output(connector, "echo again") == b"again\n"
    assert proxy.connections == 2
    assert not is_listening(control_path(connector.configuration()))


def test_a_master_of_the_users_own_is_used_and_left_alone(
    reach: Reach, sshd: SshServer, proxy: DelayingProxy, short_folder: Path
) -> None:
    configuration = through(proxy, sshd, ControlPath=short_folder / "%C", ControlMaster="auto")
    connector = reach(configuration)
    subprocess.run(["ssh", "-F", connector_config(connector), "-MNf", "testhost"], check=True)
    try:
        assert output(connector, "echo hello") == b"hello\n"
        assert proxy.connections == 1
        assert connector.logout() is False
        assert output(connector, "echo again") == b"again\n"
        assert proxy.connections == 1
    finally:
        subprocess.run(
            ["ssh", "-F", connector_config(connector), "-O", "exit", "testhost"], check=True, capture_output=True
        )


def test_logging_out_ends_the_connection(reach: Reach, sshd: SshServer) -> None:
    connector = reach(sshd.client_configuration(ConnectionAttempts=2))
    connector.connect()
    path = control_path(connector.configuration())
    assert connector.logout() is True
    eventually(lambda: not path.exists())
    assert connector.logout() is False


def test_a_connection_that_nobody_uses_ends_by_itself(
    reach: Reach, sshd: SshServer, proxy: DelayingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openssh, "IDLE", 1)
    connector = reach(through(proxy, sshd))
    connector.connect()
    path = control_path(connector.configuration())
    assert is_listening(path)
    eventually(lambda: not is_listening(path))


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_a_master_that_died_is_replaced(
    reach: Reach, sshd: SshServer, proxy: DelayingProxy, death: signal.Signals
) -> None:
    connector = reach(through(proxy, sshd))
    connector.connect()
    path = control_path(connector.configuration())
    os.kill(master_of(path), death)
    eventually(lambda: not is_listening(path))
    assert path.exists() is (death == signal.SIGKILL)
    assert output(connector, "echo back") == b"back\n"
    assert proxy.connections == 2


def test_a_server_that_restarted_is_reached_again(reach: Reach, sshd: SshServer, proxy: DelayingProxy) -> None:
    connector = reach(through(proxy, sshd))
    connector.connect()
    proxy.cut()
    eventually(lambda: not is_listening(control_path(connector.configuration())))
    assert output(connector, "echo back") == b"back\n"


def test_sockets_lie_where_only_the_user_can_enter(reach: Reach, sshd: SshServer) -> None:
    connector = reach(sshd.client_configuration())
    connector.connect()
    folder = control_path(connector.configuration()).parent
    assert folder.parent == Path(os.environ["XDG_RUNTIME_DIR"])
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("unfit", ["open to others", "too long", "missing"])
def test_an_unfit_folder_for_sockets_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unfit: str) -> None:
    runtime = tmp_path / ("long" * 30 if unfit == "too long" else "runtime")
    if unfit != "missing":
        runtime.mkdir(mode=0o700)
    if unfit == "open to others":
        (runtime / "sremote").mkdir()
        (runtime / "sremote").chmod(0o770)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    assert private_folder() == Path(f"/tmp/sremote-{os.getuid()}")


def test_commands_leave_no_files_on_this_machine(reach: Reach, sshd: SshServer) -> None:
    connector = reach(sshd.client_configuration())
    output(connector, "echo hello")
    connector.execute(["sh", "-c", "exit 255"])
    assert not list(private_folder().glob("*.log"))


# --- exit statuses ----------------------------------------------------------------------


@pytest.mark.parametrize("control_master", [True, False])
def test_status_255_of_a_command_is_no_failure_of_the_line(reach: Reach, sshd: SshServer, control_master: bool) -> None:
    connector = reach(sshd.client_configuration(), control_master=control_master)
    done = connector.execute(["sh", "-c", "echo 'ssh: connect to host h port 22: Connection refused' >&2; exit 255"])
    assert (done.status, done.stderr) == (255, b"ssh: connect to host h port 22: Connection refused\n")


@pytest.mark.parametrize("control_master", [True, False])
def test_a_signal_is_told_and_nothing_added_to_the_output(reach: Reach, sshd: SshServer, control_master: bool) -> None:
    connector = reach(sshd.client_configuration(), control_master=control_master)
    done = connector.execute(["sh", "-c", "echo out; echo err >&2; kill -KILL $$"])
    assert (done.status, done.stdout, done.stderr) == (128 + signal.SIGKILL, b"out\n", b"err\n")


@pytest.mark.matrix
@pytest.mark.parametrize("control_master", [True, False])
def test_a_line_that_drops_under_a_command_is_an_error(
    reach: Reach, sshd: SshServer, proxy: DelayingProxy, control_master: bool
) -> None:
    connector = reach(through(proxy, sshd), control_master=control_master)
    process = connector.start(["sh", "-c", "echo started; cat"])
    assert process.read() == b"started\n"
    proxy.cut()
    assert process.read() == b""
    with pytest.raises(ConnectionLost, match=r"testhost: .*(the line dropped|closed by remote host|Connection reset)"):
        process.wait(30)
    process.kill()


def test_a_line_that_drops_while_a_command_is_sent_does_not_send_it_twice(
    reach: Reach, sshd: SshServer, proxy: DelayingProxy, tmp_path: Path
) -> None:
    connector = reach(through(proxy, sshd))
    connector.connect()
    proxy.stall()
    threading.Timer(0.3, lambda: (proxy.cut(), proxy.resume())).start()
    with pytest.raises(ConnectionLost):
        connector.execute(["touch", str(tmp_path / "ran")])
    assert proxy.connections == 1
    assert not (tmp_path / "ran").exists()


def test_a_host_that_says_nothing_more_is_given_up(reach: Reach, sshd: SshServer, proxy: DelayingProxy) -> None:
    connector = reach(through(proxy, sshd), connect_timeout=1)
    connector.connect()
    proxy.stall()
    with pytest.raises(LineTimeout, match="no session within 1 seconds"):
        connector.execute(["true"])


def test_a_server_with_room_for_one_session_serves_many(reach: Reach, tmp_path: Path) -> None:
    with ssh_server(tmp_path / "server", settings="MaxSessions 1") as server:
        connector = reach(server.client_configuration())
        first = connector.start(["cat"])
        assert output(connector, "echo second") == b"second\n"
        first.kill()


def test_an_ssh_that_is_killed_is_a_lost_line(reach: Reach, sshd: SshServer, tmp_path: Path) -> None:
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\ncase "$*" in *DEBUG2*) echo $$ >{tmp_path}/pid;; esac\nexec {REAL_SSH} "$@"\n')
    program.chmod(0o755)
    connector = reach(sshd.client_configuration(), ssh=str(program))
    process = connector.start(["sh", "-c", "echo started; cat"])
    assert process.read() == b"started\n"
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    with pytest.raises(ConnectionLost, match="signal 9"):
        process.wait(30)
    process.kill()


# --- the user's configuration -----------------------------------------------------------


def test_the_environment_of_ssh_is_the_systems(
    reach: Reach, sshd: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment module or a conda's libraries break the system's ssh."""
    harmful = ("LD_LIBRARY_PATH", "LD_PRELOAD", "OPENSSL_CONF", "PYTHONPATH", "PYTHONHOME", "DYLD_LIBRARY_PATH")
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\nenv >>{tmp_path}/environment\nexec {REAL_SSH} "$@"\n')
    program.chmod(0o755)
    with monkeypatch.context() as patch:
        for name in (*harmful, "HARMLESS"):
            patch.setenv(name, "/from/a/module")
        connector = reach(sshd.client_configuration(), ssh=str(program))
    assert output(connector, "echo hello") == b"hello\n"
    environment = (tmp_path / "environment").read_text()
    assert "HARMLESS=/from/a/module" in environment
    assert not [name for name in harmful if f"{name}=" in environment]


def test_settings_for_sessions_at_the_keyboard_do_no_harm(reach: Reach, sshd: SshServer) -> None:
    configuration = sshd.client_configuration(
        RemoteCommand="tmux attach",
        RequestTTY="force",
        LocalForward="127.0.0.1:1 127.0.0.1:1",
        ForwardX11="yes",
        PermitLocalCommand="yes",
        LocalCommand="echo a local command",
        LogLevel="DEBUG3",
        ServerAliveInterval=120,
    )
    for control_master in (True, False):
        connector = reach(configuration, control_master=control_master)
        done = connector.execute(["sh", "-c", "echo out; echo err >&2"])
        assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_a_banner_is_not_the_output_of_a_command(reach: Reach, tmp_path: Path) -> None:
    (tmp_path / "banner").write_text("Authorised users only!\n")
    with ssh_server(tmp_path / "server", settings=f"Banner {tmp_path / 'banner'}", noise="Welcome!\n") as server:
        for control_master in (True, False):
            done = reach(server.client_configuration(), control_master=control_master).execute(["echo", "hello"])
            assert (done.stdout, done.stderr) == (b"hello\n", b"")


def test_a_host_behind_another_is_reached_as_the_configuration_says(
    reach: Reach, sshd: SshServer, tmp_path: Path, client_home: Path
) -> None:
    with ssh_server(tmp_path / "inner", name="inner") as inner:
        configuration = inner.client_configuration(ProxyJump=sshd.name) + sshd.client_configuration()
        connector = reach(configuration, host="inner")
        assert output(connector, "cd; pwd").decode().strip() == str(inner.home)
        assert [check.state for check in connector.diagnose()][:2] == [State.SKIPPED, State.SKIPPED]


def test_user_port_and_key_file_may_be_given_without_a_configuration(sshd: SshServer, tmp_path: Path) -> None:
    known_hosts = tmp_path / 'known "hosts" of 100% %h'
    known_hosts.write_text(sshd.known_hosts.read_text())
    connector = OpensshConnector(
        parse_address(f"openssh://{sshd.address}"),
        config_file="/dev/null",
        known_hosts=known_hosts,
        ssh_options=[f"IdentityFile={sshd.key_file}", "IdentitiesOnly=yes"],
    )
    with connector:
        assert output(connector, "echo hello") == b"hello\n"
    sign_out(connector)


@pytest.mark.parametrize("options", [{"ssh_options": "Port=22"}, {"ssh_options": ["Port"]}])
def test_options_in_the_wrong_form_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="Keyword=value"):
        OpensshConnector(parse_address("openssh://host"), **options)


@pytest.mark.parametrize("address", ["openssh:", "openssh:host", "openssh://host/path"])
def test_an_address_without_a_host_or_with_more_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"openssh://\[user@\]host\[:port\]"):
        OpensshConnector(parse_address(address))


def test_the_way_is_tried_step_by_step(reach: Reach, sshd: SshServer) -> None:
    checks = list(reach(sshd.client_configuration()).diagnose())
    assert {check.name: check.state for check in checks} == {
        "name resolves": State.OK,
        "port answers": State.OK,
        "host key known": State.OK,
        "sign-in works": State.OK,
    }


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder of the test's own whose path is short enough for a socket."""
    folder = Path(os.environ["XDG_RUNTIME_DIR"], "own")
    folder.mkdir(mode=0o700)
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def connector_config(connector: OpensshConnector) -> str:
    """Return the configuration file that a connector was given."""
    options = connector._address_options
    return options[options.index("-F") + 1]


def master_of(path: Path) -> int:
    """Return the process that listens on a master's socket."""
    said = subprocess.run(["ssh", "-S", path, "-O", "check", "host"], capture_output=True, text=True, check=True).stderr
    return int(said.split("pid=")[1].split(")")[0])
