"""Hosts with networks of their own."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import configure_ssh
from tests.kit.namespaces import network_namespace
from tests.kit.sessions import launch_host
from tests.kit.sshd import SshServer
from tests.sremote.launcher.conftest import Seen, Write, run


@pytest.fixture
def islands(tmp_path: Path, client_home: Path) -> Iterator[list[SshServer]]:
    """Two hosts in network namespaces."""
    with ExitStack() as stack:
        hosts = []
        for number in range(2):
            name, address = stack.enter_context(network_namespace(number))
            inside = ["ip", "netns", "exec", name]
            island = launch_host(tmp_path, f"island{number}", listen=address, inside=inside)
            hosts.append(stack.enter_context(island))
        configure_ssh(client_home, *hosts)
        yield hosts


@pytest.mark.root
def test_a_port_is_looked_for_on_the_components_own_host(islands: list[SshServer], write: Write, seen: Seen) -> None:
    """The same port on both hosts, on their loopback interfaces, which only they can reach."""
    write("page.txt", "found\n")
    config = write(
        "config.py",
        """\
        for number in range(2):
            c = Component(name='server%s' % number, host='island%s' % number, executable='/usr/bin/env')
            c.args = ['python3', '-m', 'http.server', '8080', '--bind', '127.0.0.1']
            c.files = {'page.txt': 'page.txt'}
            c.ready = 8080
            config.add_component(c)
            c.name, c.start_index, c.wait, c.ready = 'client%s' % number, 1, True, None
            c.args = ['python3', '-c', 'import urllib.request as r; print(r.urlopen("http://127.0.0.1:8080/page.txt").read())']
            config.add_component(c)
        """,
    )
    result = run(config, seen)
    assert result.exit_status == 0
    assert seen.output_of("client0") == seen.output_of("client1") == ["b'found\\n'"]


@pytest.mark.root
def test_a_host_that_vanishes_while_components_run_is_told(
    islands: list[SshServer], write: Write, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sremote.reconnect.RECONNECT_FOR", 0.5)
    monkeypatch.setattr("sremote.launcher.supervision.STOP_TIMEOUT", 1.0)
    write("waits.sh", "#!/bin/sh\necho begun\nread line\n")
    config = write(
        "config.py",
        """\
        for number in range(2):
            c = Component(name='c%s' % number, host='island%s' % number, executable='waits.sh', wait=True)
            c.files = {'waits.sh': 'waits.sh'}
            config.add_component(c)
        """,
    )

    def vanish(name: str, line: str) -> None:
        if name == "c1":
            islands[1].stop()
            (owner,) = (islands[0].home / ".sremote/jobs").glob("*/claim/owner")
            os.kill(json.loads(owner.read_text())["pid"], signal.SIGKILL)

    seen.on_output = vanish
    result = run(config, seen)
    assert result.component("c1").state == "unknown"
    assert result.component("c0").state == "failed"
    assert "Nothing is known of its components from now on." in "".join(seen.warnings)
    assert result.exit_status == 1
