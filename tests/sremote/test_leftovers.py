"""``client.leftovers`` and ``client.clean``: what old clients have left, and its removal."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import sremote
from sremote.bundle import interpreter_digest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def client(root: Path) -> Iterator[sremote.Client]:
    with sremote.connect("local:", root=str(root)) as client:
        client.call("operator", "neg", [1])
        yield client


@pytest.fixture
def killed_client(root: Path, tmp_path: Path) -> Iterator[Path]:
    """The gate of a job that runs on although its client was killed; the job ends when the gate is there."""
    script = textwrap.dedent(
        f"""
        import sremote
        with sremote.connect("local:", root={str(root)!r}) as client:
            client.call("os", "system", ["touch {tmp_path}/begun; until [ -e {tmp_path}/gate ]; do sleep 0.02; done"])
        """
    )
    with subprocess.Popen([sys.executable, "-c", script]) as program:
        wait_for(tmp_path / "begun")
        program.send_signal(signal.SIGKILL)
    yield tmp_path / "gate"
    (tmp_path / "gate").touch()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.02)


def make_old(path: Path) -> None:
    for entry in (path, *path.rglob("*")):
        os.utime(entry, (1, 1))


def test_a_tidy_host_has_none(client):
    assert client.leftovers() == []
    assert client.clean() == []


def test_a_job_that_still_runs_is_shown_and_stays(client, killed_client, root):
    (found,) = client.leftovers()
    assert (found.kind, found.state) == ("job", "running")
    assert client.clean() == []
    assert (root / found.path).is_dir()


def test_a_job_that_nobody_fetched_is_shown_and_goes(client, killed_client, root):
    (found,) = client.leftovers()
    killed_client.touch()
    wait_for(root / found.path / "response")
    (found,) = client.leftovers()
    assert (found.kind, found.state) == ("job", "finished")
    assert found.bytes > 0
    assert found.files > 1
    assert client.clean() == [found.path]
    assert not (root / found.path).exists()


def test_an_interpreter_of_another_version_is_shown_and_goes(client, root):
    old = root / "interpreter" / "0123456789abcdef"
    old.mkdir()
    (old / "interpreter.sh").write_text("old")
    (found,) = client.leftovers()
    assert (found.path, found.kind, found.state) == ("interpreter/0123456789abcdef", "interpreter", "old")
    assert client.clean() == [found.path]
    assert os.listdir(root / "interpreter") == [interpreter_digest()]


def test_a_file_that_was_never_finished_goes_once_it_is_old(client, root):
    partial = root / "jobs" / "20200101T000000-0123456789abcdef.host-1.new"
    partial.mkdir()
    (partial / "request").write_text("half")
    assert client.leftovers() == []
    make_old(partial)
    (found,) = client.leftovers()
    assert (found.kind, found.state) == ("partial", "unclaimed")
    assert client.clean() == [found.path]
    assert not partial.exists()


def test_only_what_was_chosen_goes(client, root):
    for name in ("0123456789abcdef", "fedcba9876543210"):
        (root / "interpreter" / name).mkdir()
    first, second = client.leftovers()
    assert client.clean([first]) == [first.path]
    assert [entry.path for entry in client.leftovers()] == [second.path]


def test_the_client_works_on_after_cleaning(client, root):
    client.clean()
    assert client.call("operator", "neg", [1]) == -1


@pytest.mark.parametrize("path", ["env/mine", "jobs/..", "jobs/../../x", "interpreter/", "location.json", "/etc"])
def test_nothing_else_can_be_removed(client, tmp_path, path):
    entry = sremote.Leftover(path=path, kind="job", state="finished", age=0.0, bytes=0, files=0)
    with pytest.raises(ValueError, match="is not a leftover"):
        client.clean([entry])


def test_a_submitted_job_stays_until_its_result_has_been_fetched(client, root):
    running = client.submit("time", "sleep", [1000])
    unfetched = client.submit("operator", "add", [1, 2])
    failed = client.submit("operator", "truediv", [1, 0])
    assert unfetched.wait(60).state == "SUCCEEDED"
    assert isinstance(failed.exception(60), ZeroDivisionError)
    while running.status().state != "RUNNING":
        time.sleep(0.02)
    states = {entry.path: (entry.kind, entry.state) for entry in client.leftovers()}
    assert states[f"jobs/{running.id}"] == ("durable", "running")
    assert states[f"jobs/{failed.id}"] == ("durable", "finished")
    assert ("durable", "unfetched") in states.values()
    assert client.clean() == [f"jobs/{failed.id}"]
    assert unfetched.result(60) == 3
    running.cancel()
    assert isinstance(failed.exception(60), ZeroDivisionError)
