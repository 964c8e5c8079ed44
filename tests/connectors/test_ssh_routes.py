"""The way to an ssh host: names, ports, jump hosts, proxy commands, and everything that does not answer."""

import os
import shutil
import socket
import threading

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.errors import HostKeyError, HostUnreachable, LineTimeout, SignInRefused, UsageError
from sremote.connectors.ssh import SshConnector
from tests.kit.sshd import ssh_server


@pytest.fixture(scope="module")
def inner(tmp_path_factory):
    """A host that stands behind the shared server."""
    with ssh_server(tmp_path_factory.mktemp("inner") / "server", name="inner") as server:
        yield server


@pytest.fixture
def configure(tmp_path):
    """Write an ssh_config and return its path."""

    def write(*blocks: str):
        path = tmp_path / "ssh_config"
        path.write_text("\n".join(blocks))
        return path

    return write


def connector_to(name: str, config, **options) -> SshConnector:
    return SshConnector(parse_address(name), config_file=config, **options)


def home_of(name: str, config) -> str:
    with connector_to(name, config) as connector:
        return connector.execute(["pwd"]).stdout.decode().strip()


def connect_fails(name: str, config, error: type[Exception], match: str, **options) -> Exception:
    connector = connector_to(name, config, **options)
    before = set(threading.enumerate())
    with pytest.raises(error, match=match) as caught:
        connector.connect()
    assert set(threading.enumerate()) <= before
    return caught.value


def test_a_name_without_an_address(configure):
    error = connect_fails("nowhere.invalid", configure(), HostUnreachable, "nowhere.invalid has no address")
    assert "spelling" in error.remedy


def test_a_closed_port(configure):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    connect_fails(f"127.0.0.1:{port}", configure(), HostUnreachable, f"127.0.0.1 port {port}: Connection refused")


def test_a_port_that_never_says_anything(configure):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        connect_fails(
            f"127.0.0.1:{port}", configure(), LineTimeout, "took the connection and did not answer", connect_timeout=0.3
        )


def test_a_port_that_does_not_even_connect(configure):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        connect_fails(f"127.0.0.1:{port}", configure(), LineTimeout, "did not answer within", connect_timeout=0.3)
        for filler in fillers:
            filler.close()


def test_a_port_where_something_else_listens(configure):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        connector = connector_to(address, configure())
        with pytest.raises(HostUnreachable, match="does not speak ssh"):
            connector.connect()
        thread.join()


def test_a_name_with_several_addresses_of_which_one_answers(sshd, configure):
    # localhost is often ::1 first, and the server listens on 127.0.0.1 only.
    config = configure(sshd.client_configuration(HostName="localhost", HostKeyAlias=f"[127.0.0.1]:{sshd.port}"))
    assert home_of(sshd.name, config) == str(sshd.home)


def test_connecttimeout_of_the_configuration_holds(configure):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = configure(f"Host slow\n HostName 127.0.0.1\n Port {listener.getsockname()[1]}\n ConnectTimeout 1")
        connect_fails("slow", config, LineTimeout, "within 1 s")


def test_a_jump_host_leads_to_a_host_behind_it(sshd, inner, configure):
    config = configure(sshd.client_configuration(), inner.client_configuration(ProxyJump=sshd.name))
    with connector_to("inner", config) as connector:
        done = connector.execute(["sh", "-c", "pwd; echo $SSH_CONNECTION"])
    home, connection = done.stdout.decode().splitlines()
    assert home == str(inner.home)
    assert int(connection.split()[3]) == inner.port
    assert f"Accepted publickey for {sshd.user}" in sshd.log.read_text()


def test_several_jump_hosts_are_passed_in_order(sshd, inner, tmp_path, configure):
    with ssh_server(tmp_path / "third", name="third") as third:
        jumps = f"{sshd.user}@{sshd.name},inner"
        blocks = [server.client_configuration() for server in (sshd, inner)]
        config = configure(*blocks, third.client_configuration(ProxyJump=jumps))
        assert home_of("third", config) == str(third.home)


def test_a_jump_host_may_have_a_jump_host_of_its_own(sshd, inner, tmp_path, configure):
    with ssh_server(tmp_path / "third", name="third") as third:
        config = configure(
            sshd.client_configuration(),
            inner.client_configuration(ProxyJump=sshd.name),
            third.client_configuration(ProxyJump="inner"),
        )
        assert home_of("third", config) == str(third.home)


def test_much_data_passes_a_jump_host(sshd, inner, configure):
    content = os.urandom(1 << 20) * 8
    config = configure(sshd.client_configuration(), inner.client_configuration(ProxyJump=sshd.name))
    with connector_to("inner", config) as connector:
        connector.put(content, "file")
        assert connector.read("file") == content


def test_an_unknown_key_of_a_jump_host_names_it(sshd, inner, tmp_path, configure):
    config = configure(
        sshd.client_configuration(UserKnownHostsFile=tmp_path / "none"), inner.client_configuration(ProxyJump=sshd.name)
    )
    message = f"inner: on the way there, {sshd.name}: its host key is not known yet"
    error = connect_fails("inner", config, HostKeyError, message)
    assert f"sremote doctor {sshd.name} --option accept_host_key=" in error.remedy


def test_an_unknown_key_behind_a_jump_host_is_refused(sshd, inner, tmp_path, configure):
    config = configure(
        sshd.client_configuration(),
        inner.client_configuration(ProxyJump=sshd.name, UserKnownHostsFile=tmp_path / "none"),
    )
    connect_fails("inner", config, HostKeyError, "^inner: its host key is not known yet")


def test_a_jump_host_that_lets_nobody_in_is_named(sshd, inner, configure):
    config = configure(sshd.client_configuration(IdentityFile="/none"), inner.client_configuration(ProxyJump=sshd.name))
    connect_fails("inner", config, SignInRefused, f"inner: on the way there, {sshd.name}: {sshd.user} was not let in")


def test_a_jump_host_that_cannot_reach_the_host_is_named(sshd, inner, configure):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    config = configure(sshd.client_configuration(), inner.client_configuration(ProxyJump=sshd.name, Port=port))
    match = f"inner: the jump host {sshd.name} cannot reach 127.0.0.1 port {port}: Connect failed|Connection refused"
    connect_fails("inner", config, HostUnreachable, match)


def test_a_jump_host_that_jumps_over_itself_is_an_error(sshd, configure):
    config = configure(sshd.client_configuration(ProxyJump=sshd.name))
    connect_fails(sshd.name, config, UsageError, "leads over more than 8 hosts")


def test_a_proxyjump_of_none_goes_straight(sshd, configure):
    config = configure(sshd.client_configuration(ProxyJump="none"), "Host *", "ProxyJump nowhere.invalid")
    assert home_of(sshd.name, config) == str(sshd.home)


def test_a_proxycommand_is_the_line(sshd, configure):
    ssh = shutil.which("ssh")
    command = f"{ssh} -F {sshd.config_file} -W %h:%p {sshd.name} 2>/dev/null"
    config = configure(sshd.client_configuration(ProxyCommand=command))
    assert home_of(sshd.name, config) == str(sshd.home)


def test_a_proxycommand_ends_with_the_connection(sshd, tmp_path, configure):
    note = tmp_path / "pid"
    command = f"sh -c 'echo $$ >{note}; exec {shutil.which('ssh')} -F {sshd.config_file} -W %h:%p {sshd.name}'"
    with connector_to(sshd.name, configure(sshd.client_configuration(ProxyCommand=command))):
        pid = int(note.read_text())
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_proxycommand_that_fails_says_why(sshd, configure):
    command = "sh -c 'echo no such gateway >&2; exit 7'"
    config = configure(sshd.client_configuration(ProxyCommand=command))
    connect_fails(sshd.name, config, HostUnreachable, "gave no way: it ended with status 7: no such gateway")


def test_a_proxycommand_that_says_nothing_is_given_up(sshd, configure):
    config = configure(sshd.client_configuration(ProxyCommand="sleep 60"))
    connect_fails(sshd.name, config, LineTimeout, "did not answer within", connect_timeout=0.3)


def test_the_first_of_proxyjump_and_proxycommand_holds(sshd, configure):
    config = configure(sshd.client_configuration(), "Host *", "ProxyCommand none", "ProxyJump nowhere.invalid")
    assert home_of(sshd.name, config) == str(sshd.home)


def test_the_doctor_skips_what_only_the_jump_host_can_tell(sshd, inner, configure):
    config = configure(sshd.client_configuration(), inner.client_configuration(ProxyJump=sshd.name))
    connector = connector_to("inner", config)
    steps = {check.name: check.state.value for check in connector.diagnose()}
    connector.close()
    assert steps["port answers"] == "skipped"
    assert steps["sign-in works"] == "ok"
