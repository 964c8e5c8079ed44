"""A function in several processes at once: each is told its rank, rank 0 answers, a failing one speaks for all."""

from pathlib import Path
from typing import Any

import pytest

from sremote.response import Response
from tests.interpreter.far_side import FarSide, by_name

# Starts two processes as mpiexec does, and ends with the last status that is not 0.
LAUNCHER = """
for rank in 1 0; do PMI_RANK=$rank "$@" & pids="$pids $!"; done
for pid in $pids; do wait $pid || status=$?; done
exit ${status:-0}
"""
ALL = {"launcher": ["sh", "-c", LAUNCHER, "sh"], "ranks": 2}


def on_ranks(far_side: FarSide, source: str, *args: Any, launch: dict[str, Any] = ALL) -> Response:
    """Run the function ``f`` of some source on two ranks."""
    target = {"kind": "source", "name": "f", "imports": {"os": "os", "sys": "sys"}}
    request = far_side.request(target, args, launch=launch)
    request.add("source", source.encode())
    return far_side.perform(request)


def test_each_rank_runs_once_and_rank_0_answers(far_side: FarSide, tmp_path: Path) -> None:
    source = """
def f(path):
    with open(path, "a") as file:
        file.write(os.environ["SREMOTE_RANK"] + "/" + os.environ["SREMOTE_RANKS"] + "\\n")
    import sremote
    return "I am {} of {}".format(sremote.rank(), sremote.ranks())
"""
    assert on_ranks(far_side, source, str(tmp_path / "ran")).result() == "I am 0 of 2"
    assert sorted((tmp_path / "ran").read_text().split()) == ["0/2", "1/2"]


def test_all_ranks_print_to_the_job_s_output(this_side: FarSide) -> None:
    response = on_ranks(this_side, 'def f(): print("rank", os.environ["SREMOTE_RANK"])')
    assert sorted(response.stdout.splitlines()) == ["rank 0", "rank 1"]


def test_an_exception_of_another_rank_is_raised_with_its_rank(far_side: FarSide) -> None:
    response = on_ranks(far_side, 'def f():\n    if os.environ["SREMOTE_RANK"] == "1": raise KeyError("here")\n')
    with pytest.raises(KeyError, match="here") as caught:
        response.result()
    assert "on rank 1 of 2:\nTraceback" in caught.value.remote.traceback  # type: ignore[attr-defined]


def test_a_rank_that_is_killed_fails_the_job(this_side: FarSide) -> None:
    response = on_ranks(this_side, 'def f():\n    if os.environ["SREMOTE_RANK"] == "1": os.kill(os.getpid(), 9)\n')
    assert (response.outcome, response.message.header["status"]) == ("exited", 137)


def test_a_rank_that_exits_with_a_status_fails_the_job(this_side: FarSide) -> None:
    response = on_ranks(this_side, 'def f(): sys.exit(5 if os.environ["SREMOTE_RANK"] == "1" else 0)')
    assert (response.outcome, response.message.header["status"]) == ("exited", 5)


def test_a_launcher_that_is_not_there_is_refused(this_side: FarSide) -> None:
    response = on_ranks(this_side, "def f(): pass", launch={"launcher": ["no-such-mpiexec", "-n", "2"], "ranks": 2})
    assert (response.outcome, response.message.header["reason"]) == ("refused", "command")
    assert "no-such-mpiexec" in response.message.header["text"]


def test_a_launcher_that_fails_ends_the_job_with_its_status(this_side: FarSide) -> None:
    response = on_ranks(this_side, "def f(): pass", launch={"launcher": ["sh", "-c", "exit 3"], "ranks": 2})
    assert (response.outcome, response.message.header["status"]) == ("exited", 3)


def test_a_launcher_that_tells_no_ranks_is_refused(this_side: FarSide) -> None:
    response = on_ranks(this_side, "def f(): pass", launch={"launcher": ["env"], "ranks": 2})
    assert response.outcome == "refused"
    assert "does not tell a process its rank" in response.message.header["text"]


def test_ranks_leave_nothing_in_the_job_s_directory(this_side: FarSide, tmp_path: Path) -> None:
    job = tmp_path / "job"
    request = this_side.request(by_name("os", "getpid"), launch=ALL)
    job.mkdir()
    (job / "request").write_bytes(request.to_bytes())
    this_side.execute("--job", job)
    assert sorted(path.name for path in job.iterdir()) == ["claim", "request", "response", "stderr", "stdout"]
