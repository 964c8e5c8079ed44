"""``sremote call`` and ``sremote run``: arguments, output, exit statuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.program import PROGRAM, sremote, sremote_json
from tests.kit.sshd import SshServer

FAR_SIDE = """\
import sys

def show(*args, **kwargs):
    return [list(args), kwargs]

def speak(text):
    print(text)
    print(text.upper(), file=sys.stderr)
    return len(text)
"""


@pytest.fixture
def module(client_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that the host local: can import."""
    folder = client_home / "modules"
    folder.mkdir()
    (folder / "far_side.py").write_text(FAR_SIDE)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return "far_side"


def test_an_argument_is_json_where_it_parses_as_json_else_text(module: str) -> None:
    words = ["3", '"3"', "-1.5", "null", "[1, {}]", "NaN", "", "two words", "--", "--json", "true"]
    value = sremote_json("call", "local:", module, "show", "--kwargs", '{"k": [1]}', *words)["value"]
    assert value == [[3, "3", -1.5, None, [1, {}], "NaN", "", "two words", "--json", True], {"k": [1]}]


def test_what_the_function_prints_comes_before_its_value(module: str) -> None:
    done = sremote("call", "local:", module, "speak", "hello")
    assert done.stdout == "hello\n5\n"
    assert done.stderr == "HELLO\n"


def test_without_echo_only_the_value_is_printed(module: str) -> None:
    done = sremote("call", "local:", module, "speak", "hello", "--no-echo")
    assert done.stdout == "5\n"
    assert done.stderr == ""


def test_as_json_the_output_is_beside_the_value(module: str) -> None:
    found = sremote_json("call", "local:", module, "speak", "hello")
    assert found == {"value": 5, "stdout": "hello\n", "stderr": "HELLO\n"}


def test_the_environment_is_as_asked() -> None:
    assert sremote("call", "local:", "os", "getenv", "GREETING", "--env", "GREETING=a=b").stdout == "a=b\n"


def test_options_may_stand_before_the_host(tmp_path: Path) -> None:
    found = sremote_json("call", "--cwd", tmp_path, "--root", tmp_path / "root", "local:", "os", "getcwd")
    assert found["value"] == str(tmp_path)
    assert (tmp_path / "root/interpreter").is_dir()


def test_a_name_of_the_hosts_file_is_a_host(tmp_path: Path) -> None:
    sremote("hosts", "add", "here", "local:", "--root", tmp_path / "root")
    assert sremote("call", "here", "math", "sqrt", "4").stdout == "2.0\n"
    assert (tmp_path / "root").is_dir()


def test_an_exception_of_the_function_shows_its_remote_traceback() -> None:
    done = sremote("call", "local:", "json", "loads", '"{"', status=1)
    assert "Traceback (most recent call last):" in done.stderr
    assert 'decoder.py", line' in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("sremote: ")
    assert "Expecting property name" in last
    assert done.stdout == ""


def test_an_exception_as_json_has_what_is_known_of_it() -> None:
    error = sremote_json("call", "local:", "builtins", "int", "x1", status=1)["error"]
    assert error["type"] == "ValueError"
    assert error["message"] == "invalid literal for int() with base 10: 'x1'"
    assert error["remedy"] is None
    assert error["exit_status"] == 1
    assert error["traceback"].endswith("ValueError: invalid literal for int() with base 10: 'x1'\n")
    assert error["stdout"] == error["stderr"] == ""
    assert error["job_id"]


@pytest.mark.parametrize(
    ("status", "call", "kind"),
    [
        (1, ["sys", "exit", "3"], "RemoteExit"),
        (1, ["time", "sleep", "60", "--timeout", "0.2"], "WalltimeExceeded"),
        (2, ["math", "sqrt", "1", "--timeout", "-1"], "UsageError"),
        (4, ["no_such_module", "f"], "NotInstalled"),
        (4, ["math", "sqrt", "1", "--environment", "nowhere"], "NotInstalled"),
        (4, ["math", "sqrt", "1", "--python", "/no/python"], "PythonMissing"),
    ],
)
def test_every_kind_of_failure_has_its_exit_status(status: int, call: list[str], kind: str) -> None:
    error = sremote_json("call", "local:", *call, status=status)["error"]
    assert error["type"] == kind
    assert error["exit_status"] == status


def test_a_host_that_cannot_be_reached_is_status_3(sshd: SshServer, client_home: Path) -> None:
    (client_home / ".ssh").mkdir()
    (client_home / ".ssh/config").write_text(sshd.client_configuration(Port=1))
    assert sremote_json("call", sshd.name, "math", "sqrt", "1", status=3)["error"]["type"] == "HostUnreachable"


def test_an_outcome_that_nobody_knows_is_status_5_and_names_the_job(tmp_path: Path) -> None:
    error = sremote_json("call", "local:", "--root", tmp_path, "shutil", "rmtree", tmp_path / "jobs", status=5)["error"]
    assert error["type"] == "OutcomeUnknown"
    assert error["job_id"]


def test_a_call_works_over_ssh(ssh_address: str, sshd: SshServer) -> None:
    assert sremote("call", ssh_address, "os.path", "expanduser", "~").stdout == f"{sshd.home}\n"


def test_verbose_says_what_is_done_on_stderr() -> None:
    done = sremote("-vv", "call", "local:", "math", "sqrt", "4")
    assert done.stdout == "2.0\n"
    assert "sremote: " in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        ["run", "local:", "printf", "%s.", "-l", "--json", "--"],
        ["run", "local:", "--no-login-env", "--", "printf", "%s.", "-l", "--json", "--"],
    ],
)
def test_a_commands_words_are_its_own(line: list[str]) -> None:
    assert sremote(*line).stdout == "-l.--json.--."


def test_a_commands_output_is_passed_on_byte_for_byte() -> None:
    command = ["printf", r"\377\0\r\n"]
    assert subprocess.run([PROGRAM, "run", "local:", "--", *command], capture_output=True).stdout == b"\xff\0\r\n"


def test_a_commands_output_is_passed_on_as_it_comes(tmp_path: Path) -> None:
    script = f"echo first; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo second"
    with subprocess.Popen([PROGRAM, "run", "local:", "--", "sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        (tmp_path / "go").touch()
        assert process.stdout.read() == b"second\n"
    assert process.returncode == 0


def test_a_failed_command_is_status_1_and_its_own_status_is_told() -> None:
    command = ["sh", "-c", "echo out; echo err >&2; exit 7"]
    done = sremote("run", "local:", "--", *command, status=1)
    assert done.stdout == "out\n"
    assert done.stderr == "err\nsremote: sh ended with exit status 7 (on local:)\n"
    found = sremote_json("run", "local:", "--", *command, status=1)
    assert found == {"status": 7, "stdout": "out\n", "stderr": "err\n"}


def test_output_that_is_not_text_is_base64_in_json() -> None:
    found = sremote_json("run", "local:", "--", "printf", r"\377")
    assert found["stdout"] == {"base64": "/w=="}


def test_a_command_gets_standard_input_only_where_asked() -> None:
    assert sremote("run", "local:", "cat", stdin="hello").stdout == ""
    assert sremote("run", "--stdin", "local:", "cat", stdin="hello").stdout == "hello"


def test_a_command_that_is_not_there_is_a_usage_error() -> None:
    done = sremote("run", "local:", "no-such-command", status=2)
    assert "no-such-command" in done.stderr


def test_a_command_runs_where_and_with_what_is_asked(tmp_path: Path) -> None:
    script = "import os; print(os.getcwd(), os.environ['COLOUR'])"
    done = sremote("run", "--cwd", tmp_path, "--env", "COLOUR=red", "local:", sys.executable, "-c", script)
    assert done.stdout == f"{tmp_path} red\n"


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    sremote("run", "local:", "--root", tmp_path, "--", "true")
    sremote("call", "local:", "--root", tmp_path, "sys", "exit", "1", status=1)
    assert os.listdir(tmp_path / "jobs") == []
