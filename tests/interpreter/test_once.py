"""Never twice, never lost: whatever is killed, and however often a job is asked for."""

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sremote.errors import JobError
from tests.interpreter.far_side import FarSide, by_name, is_running, wait_for


@pytest.fixture
def count(tmp_path: Path) -> Path:
    """The file to which a job appends one byte each time it is run."""
    return tmp_path / "count"


def runs(count: Path) -> int:
    """Return how often the job was run."""
    return count.stat().st_size if count.exists() else 0


def test_a_job_that_is_asked_for_again_is_not_run_again(far_side: FarSide, count: Path) -> None:
    request = far_side.request(by_name("deeds", "note"), [str(count), "value"])
    directory = far_side.put(request)
    assert far_side.execute("--job", directory).returncode == 0
    far_side.put(request)
    assert far_side.execute("--job", directory).returncode == 0
    assert far_side.response(directory).result() == "value"
    assert runs(count) == 1
    assert not Path(f"{directory}.new").exists()


def test_a_request_file_whose_response_is_there_is_not_run_again(far_side: FarSide, count: Path) -> None:
    source, response = far_side.folder / "request", far_side.folder / "response"
    source.write_bytes(far_side.request(by_name("deeds", "note"), [str(count)]).to_bytes())
    for _ in range(2):
        assert far_side.execute(source, response).returncode == 0
    assert runs(count) == 1


def test_several_that_ask_for_a_job_at_once_run_it_once_and_all_get_its_response(
    far_side: FarSide, count: Path
) -> None:
    directory = far_side.put(far_side.request(by_name("deeds", "note"), [str(count), "value"]))
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: far_side.execute("--job", directory), range(4)))
    assert [(one.returncode, one.stderr) for one in done] == [(0, b"")] * 4
    assert far_side.response(directory).result() == "value"
    assert runs(count) == 1


def test_several_that_run_one_request_file_at_once_run_it_once(this_side: FarSide, count: Path) -> None:
    source, response = this_side.folder / "request", this_side.folder / "response"
    source.write_bytes(this_side.request(by_name("deeds", "note"), [str(count)]).to_bytes())
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: this_side.execute(source, response), range(4)))
    assert [one.returncode for one in done] == [0] * 4
    assert runs(count) == 1
    assert sorted(path.name for path in this_side.folder.iterdir()) == ["count", "request", "response"]


def test_a_runner_killed_before_it_starts_the_job_leaves_it_to_the_next(far_side: FarSide, count: Path) -> None:
    directory = far_side.put(far_side.request(by_name("deeds", "note"), [str(count), "value"]))
    with broken(far_side, "    pid = os.fork()\n", "    os.kill(os.getpid(), signal.SIGKILL)\n") as dying:
        assert dying.execute("--job", directory).returncode == -signal.SIGKILL
    assert far_side.execute("--job", directory).returncode == 0
    assert far_side.response(directory).result() == "value"
    assert runs(count) == 1


def test_a_process_killed_before_it_has_claimed_the_job_is_told(far_side: FarSide, count: Path) -> None:
    directory = far_side.put(far_side.request(by_name("deeds", "note"), [str(count)]))
    with broken(far_side, "        if not job.claim()", "        if not os.kill(os.getpid(), signal.SIGKILL)") as dying:
        assert dying.execute("--job", directory).returncode == 0
    assert far_side.response(directory).outcome == "killed"
    assert runs(count) == 0


def test_a_supervisor_killed_while_the_function_runs_loses_nothing(far_side: FarSide, count: Path) -> None:
    until = far_side.folder / "until"
    directory = far_side.put(far_side.request(by_name("deeds", "note_and_wait"), [str(count), str(until), "value"]))
    with far_side.start(directory) as supervisor:
        wait_for(count.exists)
        supervisor.kill()
    with far_side.start(directory) as second:
        until.touch()
        assert second.wait() == 0
    assert far_side.response(directory).result() == "value"
    assert runs(count) == 1


def test_a_function_that_finishes_after_its_supervisor_was_killed_still_leaves_its_response(
    far_side: FarSide, count: Path
) -> None:
    until = far_side.folder / "until"
    until.touch()
    directory = far_side.put(far_side.request(by_name("deeds", "kill_parent"), [str(count), str(until)]))
    assert far_side.execute("--job", directory).returncode == -signal.SIGKILL
    wait_for((directory / "response").exists)
    assert far_side.execute("--job", directory).returncode == 0
    assert far_side.response(directory).result() == "finished alone"
    assert runs(count) == 1


def test_a_job_whose_processes_are_all_killed_is_lost_and_not_run_again(this_side: FarSide, count: Path) -> None:
    directory = this_side.put(this_side.request(by_name("deeds", "note_and_wait"), [str(count), "/no/such/file"]))
    with this_side.start(directory) as supervisor:
        wait_for(count.exists)
        process = json.loads((directory / "claim" / "owner").read_text())["pid"]
        supervisor.kill()
        os.kill(process, signal.SIGKILL)
    wait_for(lambda: not is_running(process))
    assert this_side.execute("--job", directory).returncode == 0
    with pytest.raises(JobError, match="It ran; whether to its end is not known"):
        this_side.response(directory).result()
    assert runs(count) == 1


def test_a_job_that_is_not_there_is_told(this_side: FarSide) -> None:
    done = this_side.execute("--job", this_side.folder / "nothing")
    assert done.returncode == 75
    assert b"there is no job" in done.stderr


def test_a_job_that_is_removed_while_another_waits_for_it_is_told(this_side: FarSide, count: Path) -> None:
    until = this_side.folder / "until"
    directory = this_side.put(this_side.request(by_name("deeds", "note_and_wait"), [str(count), str(until)]))
    with this_side.start(directory) as first:
        wait_for(count.exists)
        with this_side.start(directory) as second:
            time.sleep(0.2)
            assert this_side.execute("--drop", directory).returncode == 0
            assert second.wait() == 75
            assert second.stderr is not None
            assert b"has been removed" in second.stderr.read()
        until.touch()
        first.wait()


def test_jobs_that_are_done_with_are_removed_on_the_way(this_side: FarSide, count: Path) -> None:
    first = this_side.put(this_side.request(by_name("deeds", "note"), [str(count)]))
    second = this_side.put(this_side.request(by_name("deeds", "note"), [str(count)]))
    assert this_side.execute("--job", first).returncode == 0
    assert this_side.execute("--job", second, first).returncode == 0
    assert (first.exists(), second.exists()) == (False, True)
    assert this_side.execute("--drop", second).returncode == 0
    assert sorted(path.name for path in this_side.folder.iterdir()) == ["count"]


@contextlib.contextmanager
def broken(far_side: FarSide, line: str, replacement: str) -> Iterator[FarSide]:
    """The same far side with another line in run.py, there where a runner is to be killed."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(far_side.script.parent, Path(folder, "copy"), ignore=shutil.ignore_patterns("__py*"))
        text = (copy / "run.py").read_text()
        assert line in text
        (copy / "run.py").write_text(text.replace(line, replacement))
        yield FarSide(far_side.python, far_side.folder, copy / "interpreter.sh")
