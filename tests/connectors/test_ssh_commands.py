"""Commands and files over ssh: login shells, noise, many at once, and lines that drop."""

import io
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.errors import ConnectionLost, HostError
from sremote.connectors.ssh import MAX_SESSIONS, SshConnector
from tests.kit.proxy import DelayingProxy
from tests.kit.sshd import SshServer, ssh_server

AWKWARD = ["two  words", "it's", '"quoted"', "line\nbreak", "$HOME `id` !!", "back\\slash", "naïve 漢字"]


def connector_to(server: SshServer, **options) -> SshConnector:
    return SshConnector(parse_address(server.name), config_file=server.config_file, **options)


@pytest.fixture
def connector(sshd):
    with connector_to(sshd) as connector:
        yield connector


@pytest.mark.parametrize("shell", ["bash", "dash", "csh", "fish", "zsh"])
def test_any_login_shell_does(tmp_path, shell):
    with ssh_server(tmp_path / "server", shell=shell) as server, connector_to(server) as connector:
        done = connector.execute(["printf", "%s|", *AWKWARD])
        assert done.stdout.decode() == "".join(f"{word}|" for word in AWKWARD)
        connector.put(b"content", f"folder/{AWKWARD[0]}")
        assert connector.read(f"folder/{AWKWARD[0]}") == b"content"


def test_what_startup_files_print_is_dropped(tmp_path):
    with ssh_server(tmp_path / "server", shell="bash", noise="Welcome!\nNo mail.\n") as server:
        (server.home / ".bashrc").write_text("echo from bashrc; echo to stderr >&2\n")
        with connector_to(server) as connector:
            done = connector.execute(["sh", "-c", "echo out; echo err >&2"])
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_a_signal_that_ends_a_command_is_its_status(connector):
    assert connector.execute(["sh", "-c", "kill -TERM $$"]).status == -signal.SIGTERM


def test_more_commands_than_sessions_take_turns(connector):
    with ThreadPoolExecutor(3 * MAX_SESSIONS) as pool:
        results = list(pool.map(lambda n: connector.execute(["echo", str(n)]).stdout, range(3 * MAX_SESSIONS)))
    assert results == [f"{n}\n".encode() for n in range(3 * MAX_SESSIONS)]


def test_a_server_with_fewer_sessions_is_waited_for(tmp_path):
    def run(number: int) -> bytes:
        return connector.execute(["sh", "-c", f"sleep 0.2; echo {number}"]).stdout

    with (
        ssh_server(tmp_path / "server", settings="MaxSessions 2") as server,
        connector_to(server) as connector,
        ThreadPoolExecutor(6) as pool,
    ):
        assert list(pool.map(run, range(6))) == [f"{number}\n".encode() for number in range(6)]


def test_a_server_that_opens_no_session_is_an_error(tmp_path):
    with (
        ssh_server(tmp_path / "server", settings="MaxSessions 0") as server,
        connector_to(server, connect_timeout=1) as connector,
        pytest.raises(HostError, match="opens no further session"),
    ):
        connector.execute(["true"])


def test_a_command_whose_connection_is_killed_is_lost(tmp_path):
    with ssh_server(tmp_path / "server") as server, connector_to(server) as connector:
        process = connector.start(["sh", "-c", "echo ready; sleep 60"])
        assert process.read() == b"ready\n"
        server.cut()
        with pytest.raises(ConnectionLost, match="testhost: the line dropped"):
            process.read()
        with pytest.raises(ConnectionLost):
            process.wait(10)
        with pytest.raises(ConnectionLost, match="testhost: the line dropped"):
            connector.execute(["true"])


def test_connecting_again_after_a_loss_works(tmp_path):
    with ssh_server(tmp_path / "server") as server, connector_to(server) as connector:
        process = connector.start(["sleep", "60"])
        server.cut()
        with pytest.raises(ConnectionLost):
            process.wait(10)
        connector.connect()
        assert connector.execute(["echo", "back"]).stdout == b"back\n"


def test_a_cut_in_the_middle_of_output_is_lost(sshd, connector, tmp_path):
    with DelayingProxy(sshd.port) as proxy:
        config = tmp_path / "config"
        config.write_text(sshd.client_configuration(Port=proxy.port, HostKeyAlias=f"[127.0.0.1]:{sshd.port}"))
        with SshConnector(parse_address(sshd.name), config_file=config) as through_proxy:
            process = through_proxy.start(["sh", "-c", "echo ready; exec cat /dev/zero"])
            assert process.read()
            proxy.cut()
            with pytest.raises(ConnectionLost, match="the line dropped"):
                list(iter(process.read, b""))


def test_a_line_that_goes_silent_is_given_up(sshd, tmp_path):
    with DelayingProxy(sshd.port) as proxy:
        config = tmp_path / "config"
        config.write_text(sshd.client_configuration(Port=proxy.port, HostKeyAlias=f"[127.0.0.1]:{sshd.port}"))
        with SshConnector(parse_address(sshd.name), config_file=config, keepalive=0.1) as connector:
            process = connector.start(["sleep", "60"])
            proxy.stall()
            with pytest.raises(ConnectionLost, match="no answer to 3 keepalives"):
                process.wait(30)


def test_an_idle_line_lives_on_keepalives(sshd):
    with connector_to(sshd, keepalive=0.05) as connector:
        process = connector.start(["cat"])
        time.sleep(1)
        process.write(b"still here")
        assert process.read() == b"still here"
        process.kill()


def test_new_keys_in_the_middle_of_a_transfer_do_no_harm(tmp_path):
    content = os.urandom(1 << 20) * 8
    with ssh_server(tmp_path / "server", settings="RekeyLimit 1M") as server, connector_to(server) as connector:
        connector.put(content, "file")
        target = io.BytesIO()
        connector.get("file", target)
    assert target.getvalue() == content


def test_closing_leaves_no_thread_and_no_connection(sshd):
    before = set(threading.enumerate())
    connector = connector_to(sshd)
    connector.connect()
    process = connector.start(["sleep", "60"])
    connector.close()
    assert set(threading.enumerate()) <= before
    with pytest.raises(ConnectionLost):
        process.wait(10)


def test_a_connector_that_was_not_connected_says_so(sshd):
    with pytest.raises(ConnectionLost, match="not connected"):
        connector_to(sshd).execute(["true"])


def test_the_way_is_checked_step_by_step(sshd):
    connector = connector_to(sshd)
    steps = {check.name: check.state.value for check in connector.diagnose()}
    connector.close()
    assert steps == {"name resolves": "ok", "port answers": "ok", "host key known": "ok", "sign-in works": "ok"}


def test_a_configuration_that_cannot_be_read_fails_the_first_step(tmp_path):
    connector = SshConnector(parse_address("host"), config_file=tmp_path / "none")
    (step,) = connector.diagnose()
    assert (step.name, step.state.value, step.exit_status) == ("ssh configuration", "failed", 2)
