"""Components that fail, and what is waited for until one counts as started."""

import socket
from pathlib import Path

import pytest

from tests.sremote.launcher.conftest import Seen, Write, processes_with, run


def test_one_that_dies_early_is_told_at_once_with_its_last_lines_and_the_others_go_on(write: Write, seen: Seen) -> None:
    write("dies.sh", "#!/bin/sh\nfor i in $(seq 20); do echo line $i; done\necho no port >&2\nexit 7\n")
    config = write(
        "config.py",
        """\
        config.add_component(Component(name='dies', host='localhost', executable='dies.sh'))
        config.add_component(Component(name='goes on', host='localhost', executable='/bin/sleep', args=[2], wait=True))
        """,
    )
    result = run(config, seen)
    assert seen.last_lines["dies"] == [f"line {number}" for number in range(12, 21)] + ["no port"]
    assert result.component("dies").status == 7
    assert result.component("goes on").state == "succeeded"
    assert (result.outcome, result.exit_status) == ("failed", 1)


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ("#!/bin/sh\nkill -9 $$\n", "signal 9"),
        ("#!/no/such/interpreter\n", "No such file or directory"),
        ("\x7fELF", "Exec format error"),
    ],
)
def test_how_it_failed_is_told(write: Write, seen: Seen, script: str, how: str) -> None:
    write("fails", script).chmod(0o755)
    config = write("config.py", "config.add_component(Component(name='x', host='localhost', executable='fails'))")
    result = run(config, seen, follow=True)
    assert result.component("x").state == "failed"
    assert how in result.component("x").how


def test_a_failure_that_stops_the_run_ends_the_others_and_starts_no_more(write: Write) -> None:
    config = write(
        "config.py",
        """\
        c = Component(name='server', host='localhost', executable='/bin/sleep', args=['54321.4'], wait=True)
        config.add_component(c)
        c = Component(name='dies', host='localhost', executable='/bin/false', on_failure='stop', ready={'file': '/no'})
        config.add_component(c)
        config.add_component(Component(name='later', host='localhost', executable='/bin/true', start_index=1))
        """,
    )
    result = run(config)
    assert [(each.name, each.state) for each in result.components] == [
        ("server", "stopped"),
        ("dies", "failed"),
        ("later", "waiting"),
    ]
    assert result.exit_status == 1
    assert processes_with("54321.4") == []


def test_one_that_is_to_be_restarted_gets_more_tries(
    write: Write, seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sremote.launcher.supervision.FIRST_PAUSE", 0.01)
    write("third.sh", "#!/bin/sh\necho x >> tries\n[ $(wc -l < tries) -eq 3 ]\n")
    config = write(
        "config.py",
        f"""\
        c = Component(name='third', host='local:', executable='third.sh', base_dir={str(tmp_path)!r}, wait=True)
        c.on_failure = 'restart'
        config.add_component(c)
        c.name, c.executable = 'never', '/bin/false'
        config.add_component(c)
        """,
    )
    result = run(config, seen)
    third, never = result.component("third"), result.component("never")
    assert (third.state, third.restarts) == ("succeeded", 2)
    assert (never.state, never.restarts) == ("failed", 5)
    assert "never: not started again, after 5 times" in seen.warnings


@pytest.mark.parametrize("kind", ["port", "output", "file"])
def test_the_next_index_waits_until_a_component_is_ready(write: Write, tmp_path: Path, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = write(
        "server.py",
        f"""\
        import os, socket, sys, time
        time.sleep(0.3)
        listener = socket.create_server(("127.0.0.1", {port}))
        open("{tmp_path}/is-ready", "w").close()
        print("listening now", flush=True)
        while True:
            listener.accept()
        """,
    )
    ready = {"port": port, "output": {"output": "^listening"}, "file": {"file": f"{tmp_path}/is-ready"}}[kind]
    config = write(
        "config.py",
        f"""\
        import sys
        c = Component(name='server', host='localhost', executable=sys.executable, args=[{str(server)!r}])
        c.ready = {ready!r}
        config.add_component(c)
        c = Component(name='client', host='localhost', executable='/usr/bin/test', args=['-e', '{tmp_path}/is-ready'])
        c.start_index, c.wait = 1, True
        config.add_component(c)
        """,
    )
    result = run(config)
    assert result.component("client").status == 0
    assert result.component("server").ready


def test_one_that_does_not_become_ready_in_time_is_stopped_and_has_failed(write: Write, seen: Seen) -> None:
    config = write(
        "config.py",
        """\
        c = Component(name='slow', host='localhost', executable='/bin/sleep', args=['54321.5'])
        c.ready = {'file': 'never', 'timeout': 0.3}
        config.add_component(c)
        config.add_component(Component(name='next', host='localhost', executable='/bin/true', start_index=1, wait=True))
        """,
    )
    result = run(config, seen)
    assert result.component("slow").state == "failed"
    assert result.component("slow").how.startswith("not ready: no file ")
    assert result.component("next").state == "succeeded"
    assert processes_with("54321.5") == []


def test_a_component_that_ignores_sigterm_is_killed(write: Write) -> None:
    write("stubborn.sh", "#!/bin/sh\ntrap '' TERM HUP INT\necho here\nwhile :; do sleep 54321.6 & wait; done\n")
    config = write(
        "config.py",
        """\
        c = Component(name='stubborn', host='localhost', executable='stubborn.sh', ready={'output': 'here'})
        config.add_component(c)
        config.add_component(Component(name='end', host='localhost', executable='/bin/true', start_index=1, wait=True))
        """,
    )
    result = run(config, grace=0.3)
    assert (result.component("stubborn").state, result.component("stubborn").signal) == ("stopped", 9)
    assert processes_with("stubborn.sh") == processes_with("54321.6") == []
