"""``sremote queue``: what its commands print, and their exit statuses."""

import io
import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sremote.cli import main

Program = Callable[..., str]


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """The program, in this process; it returns what is printed, on stderr where its status is not 0 or 1."""

    def run(*words: str, status: int = 0, stdin: str = "") -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        assert main(words) == status, capsys.readouterr()
        printed = capsys.readouterr()
        return printed.err if status > 1 else printed.out

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def run(program: Program) -> Program:
    """A command about the queue q on this machine."""

    def run_about(command: str, *words: str, **options: Any) -> str:
        return program("queue", command, "local:", "q", *words, **options)

    return run_about


def test_a_queue_is_filled_worked_on_and_looked_at(program: Program, run: Program) -> None:
    assert run("add", "--", "sh", "-c", "echo $0 out; echo err >&2", "word") == "0\n"
    assert run("add", "--shell", "exit 3", "--priority", "1") == "1\n"
    assert run("add", "--call", "math", "sqrt", "16", "--after", "0", "--timeout", "60", "--own-process") == "2\n"
    assert run("status") == "q: 1 WAITING, 2 PENDING, 0 workers\n"
    assert run("work") == "3 done.\n"

    table = run("tasks")
    assert re.search(r"^ +1  FAILED     exited 3, \d\.\d s     exit 3$", table, re.MULTILINE)
    assert re.search(r"^ +2  SUCCEEDED  returned, .* math\.sqrt\(16\)$", table, re.MULTILINE)
    assert run("result", "0") == "word out\n"
    assert run("result", "1", status=1) == ""
    assert run("result", "2") == "4.0\n"

    assert run("retry", "--attempts", "1") == "0 are pending again; 1 have had their attempts.\n"
    assert run("rerun", "--exit-status", "3") == "1 are pending again.\n"
    assert run("priority", "7", "1") == "1 have priority 7 now.\n"
    assert run("delete", "1") == "1 deleted; 0 are in a worker's hands, 0 come before others.\n"
    assert program("queue", "list", "local:") == "q: 2 SUCCEEDED, 0 workers\n"
    assert "give --yes" in run("delete", status=2)
    assert run("delete", "--yes") == "q is gone.\n"


def test_tasks_are_loaded_from_a_file_or_standard_input(run: Program, tmp_path: Path) -> None:
    file = tmp_path / "tasks"
    file.write_text('{"shell": "echo a", "name": "a"}\n{"shell": "echo b", "after": ["a"]}\n')

    assert [run("load", str(file), "--id", "once") for _ in range(2)] == ["2 tasks, from 0\n"] * 2
    assert run("load", "-", stdin="echo c\n# nothing\n") == "1 tasks, from 2\n"
    file.write_text("true\n{\n")
    assert "line 2" in run("load", str(file), status=2)


def test_workers_are_launched_as_jobs_and_waited_for(run: Program) -> None:
    run("add", "--shell", "exit 1")

    assert "1 tasks are not finished" in run("wait", "--timeout", "0.01", status=5)
    (job,) = run("launch", "--workers", "2", "--walltime", "10m", "--env", "A=b").split()
    assert re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{16}", job)
    assert re.match("q: 1 FAILED, [01] workers\n", run("wait", "--timeout", "60", status=1))  # which end a little later
    assert run("recover") == "0 tasks of 0 dead workers are pending again, 0 have failed.\n"


def test_each_command_prints_one_json_object_where_that_is_asked_for(program: Program, run: Program) -> None:
    def answer(command: str, *words: str) -> Any:
        printed = run(command, *words, "--json")
        assert printed.count("\n") == 1
        return json.loads(printed)

    assert answer("create") == {"name": "q", "created": True}
    assert answer("add", "true") == {"task": 0}
    assert answer("pause") == {"paused": True, "changed": True}
    assert answer("work") == {"done": 0}
    assert answer("resume") == {"paused": False, "changed": True}
    assert answer("work") == {"done": 1}
    assert answer("result", "0") == {"outcome": "exited", "status": 0, "value": None, "stdout": "", "stderr": ""}
    (task,) = answer("tasks")["tasks"]
    assert (task["number"], task["state"], task["what"], task["exit_status"]) == (0, "SUCCEEDED", "true", 0)
    status = answer("status")
    assert (status["tasks"]["SUCCEEDED"], status["workers"], status["blocked"]) == (1, [], 0)
    assert json.loads(program("queue", "list", "local:", "--json")) == {"queues": [status]}
    assert answer("recover") == {"recovered": 0, "failed": 0, "workers": [], "unknown": []}
    assert answer("retry") == {"retried": 0, "spent": 0}
    assert answer("rerun") == {"rerun": 1}
    assert answer("priority", "1") == {"changed": 1}
    assert answer("delete", "0") == {"deleted": 1, "held": 0, "needed": 0}
    assert answer("delete", "--yes") == {"deleted": "q"}


def test_what_is_wrong_is_a_sentence_and_exit_status_2(run: Program) -> None:
    for words, said in (
        (("status",), "there is no queue 'q'"),
        (("add", "--call", "math"), "give MODULE and FUNCTION"),
        (("add", "--shell", "a", "b"), "give one word"),
        (("add", "--shell", "--call", "a"), "not both"),
        (("add", "--no-such-option"), "No such option"),
        (("tasks", "x"), "no number of a task"),
        (("launch", "--walltime", "soon"), "soon"),
    ):
        printed = run(*words, status=2)
        assert said in printed, words
        assert "Traceback" not in printed
