"""The program itself: help, version, usage errors, completion, signals."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from sremote.cli import program
from tests.kit.program import PROGRAM, sremote, sremote_json
from tests.kit.requirements import need_program

COMMANDS = [
    "call",
    "run",
    "submit",
    "jobs",
    "status",
    "logs",
    "wait",
    "result",
    "outputs",
    "cancel",
    "retry",
    "push",
    "pull",
    "queue",
    "install",
    "hosts",
    "doctor",
    "facts",
    "clean",
    "launch",
    "login",
    "logout",
    "serve",
    "gateway",
    "completion",
]


def test_help_lists_the_commands_and_the_exit_statuses() -> None:
    text = sremote("--help").stdout
    assert re.findall(r"^  (\w+)  ", text.partition("Commands:")[2], re.M) == COMMANDS
    assert "Exit status:" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help_with_the_common_options(command: str) -> None:
    text = sremote(command, "--help").stdout
    assert text.startswith(f"Usage: sremote {command}")
    assert "--json" in text
    assert "--verbose" in text


@pytest.mark.parametrize("arguments", [["--help"], ["call", "--help"], ["install", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    script = f"import sys; from sremote.cli import main; main({arguments}); print(sorted(sys.modules), file=sys.stderr)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr
    for module in ("paramiko", "rich", "numpy", "dill", "scp", "virtualenv", "pip", "cryptography", "platformdirs"):
        assert f"'{module}'" not in loaded


def test_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert sremote("--version").stdout == f"sremote {version('sremote')}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["call", "local:"], "Missing argument 'MODULE'"),
        (["call", "local:", "math", "sqrt", "--kwargz", "2"], "No such option"),
        (["call", "local:", "math", "sqrt", "--kwargs", "[1]"], "is not a JSON object"),
        (["call", "local:", "math", "sqrt", "--env", "novalue"], "is not KEY=VALUE"),
        (["call", "local:", "math", "sqrt", "--timeout", "soon"], "is not a valid float"),
        (["run", "local:"], "Missing argument"),
        (["run", "local:", "--timeout", "3", "ls"], "need -- and then the command"),
        (["push", "local:", "/no/such/file", "x"], "/no/such/file"),
        (["facts", "user@@host"], "is not a host"),
        (["facts", "gopher://host"], "no connector for 'gopher'"),
        (["facts", "local:", "--option", "colour=red"], "colour"),
    ],
)
def test_a_wrong_command_line_ends_with_status_2_and_one_message(arguments: list[str], message: str) -> None:
    done = sremote(*arguments, status=2)
    assert done.stdout == ""
    assert done.stderr.startswith("sremote: ")
    assert message in done.stderr


def test_a_usage_error_as_json_is_one_object_with_the_remedy() -> None:
    found = sremote_json("call", "local:", status=2)
    assert found["error"]["type"] == "MissingParameter"
    assert found["error"]["message"] == "Missing argument 'MODULE'."
    assert found["error"]["remedy"] == "Type: sremote call --help"
    assert found["error"]["exit_status"] == 2


def test_json_may_stand_behind_the_host() -> None:
    done = sremote("call", "local:", "--json", status=2)
    assert done.stdout.startswith('{"error": ')
    assert done.stderr == ""


def test_json_behind_the_dashes_is_not_ours() -> None:
    assert sremote("call", "--bad", "--", "--json", status=2).stdout == ""


def test_colours_are_for_terminals_and_not_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_terminal() -> str:
        output = pexpect.run(f"{PROGRAM} frobnicate", encoding="utf-8")
        assert isinstance(output, str)
        return output

    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[" in on_terminal()
    assert "\x1b[" not in sremote("frobnicate", status=2).stderr
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in on_terminal()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_quietly_and_what_it_runs_there_too(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    script = "import os, time; os.symlink(str(os.getpid()), 'pid'); time.sleep(60)"
    process = subprocess.Popen(
        [PROGRAM, "run", "local:", "--cwd", tmp_path, "--", sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "pid").is_symlink():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == status
    assert stdout == ""
    assert stderr.strip() == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(os.readlink(tmp_path / "pid")), 0)


@pytest.mark.parametrize("command", ["run local: yes", "call local: os system yes"])
def test_a_reader_that_leaves_ends_it_quietly(command: str) -> None:
    line = f"{{ '{PROGRAM}' {command}; echo $? >&2; }} | head -n 1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
    assert done.stdout == "y\n"
    assert done.stderr == "141\n"


def completions(line: str) -> list[str]:
    """Return the words that bash offers behind ``line``."""
    words = " ".join(shlex.quote(word) for word in line.split(" "))
    script = f"""
{sremote("completion", "bash").stdout}
COMP_WORDS=({words}) COMP_CWORD={line.count(" ")}
_sremote_completion '{PROGRAM}'
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("sremote pu", "pull"),
        ("sremote call --", "--kwargs"),
        ("sremote call clu", "cluster"),
        ("sremote hosts sh", "show"),
        ("sremote run --json ", "cluster"),
    ],
)
def test_bash_completes_commands_options_and_hosts(line: str, word: str) -> None:
    sremote("hosts", "add", "cluster", "user@login.example.org")
    assert word in completions(line)


def test_a_broken_hosts_file_leaves_completion_quiet(client_home: Path) -> None:
    folder = client_home / ".config/sremote"
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text("[")
    assert completions("sremote call clu") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_a_completion_script_is_one_that_its_shell_reads(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(sremote("completion", shell).stdout)
    subprocess.run([need_program(shell, shell), "-n", script], check=True)


def test_fish_completes_hosts(client_home: Path) -> None:
    need_program("fish", "fish")
    sremote("hosts", "add", "cluster", "user@login.example.org")
    environment = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    line = "sremote completion fish | source; complete --do-complete 'sremote facts clu'"
    done = subprocess.run(["fish", "-c", line], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["cluster"]


def test_every_command_is_loaded_by_its_name() -> None:
    assert sorted(COMMANDS) == sorted(program.list_commands(None))  # type: ignore[arg-type]
