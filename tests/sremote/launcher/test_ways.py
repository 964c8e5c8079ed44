"""Hosts by other ways, and the user and password that reach them."""

from pathlib import Path

import pytest

from sremote.connection import open_host
from sremote.connectors.base import Capability
from sremote.connectors.local import LocalConnector
from sremote.errors import SignInRefused
from sremote.hosts import HostSettings, add_host
from sremote.launcher import LaunchOptions
from sremote.launcher.host_link import host_settings
from tests.kit.prompting_server import PromptingServer
from tests.sremote.launcher.conftest import Seen, Write, run, sremote


def test_a_host_whose_connector_has_no_streams_is_launched_on_all_the_same(
    write: Write, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalConnector, "capabilities", Capability.EXECUTE | Capability.EXIT_STATUS)
    monkeypatch.setattr("sremote.launcher.watcher.PATIENCE_WITHOUT_STREAM", 0.2)
    write("run.sh", "#!/bin/sh\necho hello\n")
    config = write(
        "config.py",
        """\
        c = Component(name='x', host='local:', executable='run.sh', files={'run.sh': 'run.sh'}, wait=True)
        config.add_component(c)
        """,
    )
    result = run(config, seen)
    assert (result.exit_status, result.hosts[0].files_sent) == (0, 1)
    assert seen.output_of("x") == ["hello"]
    told = sremote("launch", "--attach", "x", status=2).stderr
    assert "there is no terminal here" in told


def test_the_user_is_for_hosts_whose_name_says_none() -> None:
    add_host("known", HostSettings("ssh://box:2222"))
    options = LaunchOptions(user="me")
    names = ("box", "you@box", "ssh://box:22", "openssh://you@box", "known", "localhost", "command:rsh box")
    assert [host_settings(name, options).address for name in names] == [
        "me@box",
        "you@box",
        "ssh://me@box:22",
        "openssh://you@box",
        "ssh://me@box:2222",
        "local:",
        "command:rsh box",
    ]


def test_the_password_answers_what_the_host_asks(client_home: Path) -> None:
    with PromptingServer(user="alice", password="secret") as server:
        (client_home / ".ssh").mkdir(mode=0o700)
        (client_home / ".ssh/known_hosts").write_text(server.known_hosts_line + "\n")
        name = f"127.0.0.1:{server.port}"
        with pytest.raises(SignInRefused):
            open_host(host_settings(name, LaunchOptions(user="alice", password="wrong")))
        options = LaunchOptions(user="alice", password="secret")
        host = open_host(host_settings(name, options))
        host.connector.close()
    assert "secret" not in repr(options)
