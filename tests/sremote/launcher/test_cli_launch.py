"""``sremote launch`` and ``bin/remote_runner``, as typed."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pexpect
import pytest

from tests.kit.program import PROGRAM
from tests.sremote.launcher.conftest import Write, processes_with, sremote, sremote_json

PROJECT = Path(__file__).parents[3]
EXAMPLE = PROJECT / "examples" / "launcher"


@pytest.fixture
def config(write: Write) -> Path:
    """A launch of two components: one that is waited for, and a server."""
    write("hello.sh", "#!/bin/sh\necho hello '' \"$@\"\n")
    return write(
        "config.py",
        """\
        print('read')
        c = Component(name='server', host='local:', executable='/bin/sleep', args=['54321.15'])
        config.add_component(c)
        c = Component(name='hello', host='local:', executable='hello.sh', files={'hello.sh': 'hello.sh'}, wait=True)
        c.args, c.start_index = ['$x'], 2
        config.add_component(c)
        """,
    )


def test_the_example_runs_as_its_page_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    extra = f"--hosts local:,local: --port {port} --times 2"
    done = sremote(
        "launch", "-c", EXAMPLE / "config.py", "-a", EXAMPLE / "arguments.py", "--extra-args", extra,
        "-m", EXAMPLE / "gently.py",
    )  # fmt: skip
    assert done.stdout.count("| hello from the server\n") == 4
    assert done.stdout.splitlines()[-3].split()[:3] == ["server", "local", "stopped"]
    assert "runner: finished, after" in done.stderr


def test_output_goes_to_stdout_with_names_and_all_else_to_stderr(config: Path) -> None:
    done = sremote("launch", "-c", config)
    lines = done.stdout.splitlines()
    assert lines[0] == "hello  | hello  $x"
    assert lines[1].split() == ["component", "host", "state", "how", "started", "lasted", "window"]
    assert lines[2].split()[:5] == ["server", "local", "stopped", "signal", "15"]
    assert [line for line in done.stderr.splitlines() if not line.startswith("runner")] == [
        "read",
        "Connecting to 1 host.",
        "Copying files.",
        "local: 1 file sent, 0 unchanged.",
        "Starting server.",
        "Starting hello.",
        "hello on local: succeeded",
        "server on local: stopped",
    ]
    assert sremote("launch", "-c", config, "-l", "WARNING").stderr.splitlines()[0] == "read"


def test_json_has_the_record_with_its_times(config: Path, client_home: Path) -> None:
    found = sremote_json("launch", "-c", config, "--screen", "named")
    assert (found["name"], found["outcome"], found["exit_status"]) == ("named", "finished", 0)
    assert list(found["times"]) == ["begun", "connected", "checked", "copied", "started", "ended"]
    assert sorted(found["times"].values()) == list(found["times"].values())
    (server, hello) = found["components"]
    assert (server["state"], hello["state"], hello["status"]) == ("stopped", "succeeded", 0)
    assert hello["started"] <= hello["ended"]
    record = json.loads((client_home / ".local/state/sremote/launches/named.json").read_text())
    assert {key: record[key] for key in found} == found


def test_a_launch_that_is_left_running_can_be_looked_at_followed_and_stopped(config: Path) -> None:
    sremote("launch", "-c", config, "--no-terminate")
    rows = [line.split()[:3] for line in sremote("launch", "--status").stdout.splitlines()[1:]]
    assert rows == [["server", "local", "running"], ["hello", "local", "succeeded"]]
    assert sremote("launch", "--logs").stdout == "hello  | hello  $x\n"
    assert sremote("launch", "--logs", "hello", "-f", "-c", config).stdout == "hello  $x\n"
    assert "Give one of --status and --stop" in sremote("launch", "--status", "--stop", status=2).stderr
    assert sremote("launch", "--stop").stdout == "Stopped server.\n"
    assert sremote("launch", "--stop").stdout == "Nothing was running.\n"
    assert processes_with("sleep 54321.15") == []
    assert (
        "no launch called 'other' is known here" in sremote("launch", "--status", "--screen", "other", status=2).stderr
    )


def test_the_plan_is_shown_without_touching_anything(config: Path) -> None:
    lines = sremote("launch", "-c", config, "--dry-run").stdout.splitlines()
    assert lines[:3] == ["runner: 2 components on 1 host", "", "local: 1 file, 29 bytes"]
    assert lines[3].startswith(f"    {config.parent}/hello.sh -> hello.sh  (29 bytes, mode 07")
    assert "    hello on local, in a temporary folder, waited for" in lines
    assert "        hello.sh '$x'" in lines
    assert sremote_json("launch", "-c", config, "--dry-run")["hosts"] == ["local:"]
    assert not (Path(os.environ["HOME"]) / ".sremote/jobs").exists()


def test_what_is_wrong_is_told_in_one_sentence(write: Write, config: Path) -> None:
    assert "Missing option '-c'" in sremote("launch", status=2).stderr
    broken = write("broken.py", "Component().nmae = 'x'\n")
    told = sremote("launch", "-c", broken, status=2).stderr
    assert told == f"sremote: {broken}:1: AttributeError: a Component has no attribute 'nmae': did you mean 'name'?\n"
    assert sremote_json("launch", "-c", broken, status=2)["error"]["type"] == "UsageError"


def test_extra_arguments_may_begin_like_our_own_flags(write: Write) -> None:
    parser = write("parser.py", "def parse_args(extra_args, ssh_user):\n    return extra_args\n")
    config = write(
        "config.py",
        "config.add_component(Component(name='x', host='far', executable='/x', args=[extra_options, options.screen]))",
    )
    for extra in ("--screen=other", "-c", "--dry-run --json", "--", "-"):
        found = sremote_json("launch", "--extra-args", extra, "-c", config, "-a", parser, "--dry-run")
        assert found["components"][0]["argv"] == ["/x", extra, "runner"]


def test_ctrl_c_stops_everything_and_ends_with_130(config: Path) -> None:
    line = f"launch -c {config} --follow"
    shown = pexpect.spawn(str(PROGRAM), line.split(), encoding="utf-8", timeout=60, dimensions=(40, 150))
    shown.expect(r"hello  \|.* hello")
    shown.sendintr()
    shown.expect("Interrupted: stopping all components")
    shown.expect("server .*stopped")
    shown.expect(pexpect.EOF)
    shown.close()
    assert shown.exitstatus == 128 + signal.SIGINT
    assert processes_with("sleep 54321.15") == []
    assert subprocess.run(["screen", "-ls"], capture_output=True, text=True, check=False).stdout.startswith(
        "No Sockets"
    )


def test_what_a_killed_launcher_has_started_can_be_found_and_stopped(config: Path) -> None:
    launcher = pexpect.spawn(str(PROGRAM), ["launch", "-c", str(config), "--follow"], encoding="utf-8", timeout=60)
    launcher.expect("hello on local: succeeded")
    launcher.kill(signal.SIGKILL)
    launcher.wait()
    assert sremote_json("launch", "--status")["components"][0]["state"] == "running"
    assert sremote("launch", "--stop").stdout == "Stopped server.\n"
    assert processes_with("sleep 54321.15") == []


def test_each_host_has_a_bar_on_a_terminal(write: Write, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(os.urandom(8_000_000))
    config = write(
        "config.py",
        """\
        c = Component(name='x', host='local:', executable='/bin/true', files={'data': 'data'}, wait=True)
        config.add_component(c)
        """,
    )
    variables = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    shown = pexpect.run(f"{PROGRAM} launch -c {config}", encoding="utf-8", env=variables, timeout=60)
    assert isinstance(shown, str)
    assert re.search(r"local: .*━.*/8\.0 MB", shown)


def test_a_password_is_asked_for_and_answers_what_hosts_ask(write: Write) -> None:
    config = write("config.py", "config.add_component(Component(name=options.ssh_pass, host='far', executable='/x'))")
    line = f"launch -c {config} --dry-run -p -"
    shown = pexpect.spawn(str(PROGRAM), line.split(), encoding="utf-8", timeout=60)
    shown.expect("Password: ")
    shown.sendline("secret")
    shown.expect("secret on far")
    shown.close(force=True)


def test_remote_runner_of_a_checkout_is_the_same_program(config: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("remote_runner", "client"):
        shutil.copy(PROJECT / "bin" / name, tmp_path / "bin" / name)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/sremote").symlink_to(PROGRAM)
    command = [tmp_path / "bin/remote_runner", "-c", config, "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("runner: 2 components")
