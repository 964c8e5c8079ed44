"""A function may do to its process, and to those around it, whatever a program may."""

import contextlib
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sremote.errors import RemoteKilled, RemoteOutOfMemory, WalltimeExceeded
from tests.interpreter.far_side import FarSide, by_name, is_running, wait_for


def test_spawned_processes_work(far_side: FarSide) -> None:
    assert far_side.do("spawn_processes").result() == [0, 1, 4, 9]


@pytest.mark.parametrize("function", ["fork_and_return", "fork_and_raise"])
def test_a_forked_child_that_comes_back_does_not_answer_for_its_parent(far_side: FarSide, function: str) -> None:
    assert far_side.do(function).result() == "parent"


def test_what_a_forked_child_raises_is_printed(far_side: FarSide) -> None:
    assert far_side.do("fork_and_raise").stderr.endswith("ValueError: in the child\n")


def test_a_forked_child_may_outlive_the_function(far_side: FarSide) -> None:
    path = far_side.folder / "late"
    assert far_side.do("fork_and_exit_late", str(path)).result() == "parent"
    wait_for(path.exists)


def test_a_process_that_stays_behind_does_not_hold_the_response_back(far_side: FarSide) -> None:
    path = far_side.folder / "end"
    try:
        assert far_side.do("leave_a_daemon", str(path)).result() == "done"
    finally:
        path.touch()


def test_closed_descriptors_a_strange_umask_and_another_folder_do_not_matter(far_side: FarSide) -> None:
    directory = far_side.put(far_side.request(by_name("deeds", "upset_process"), ["/"]))
    assert far_side.execute("--job", directory).returncode == 0
    assert far_side.response(directory).result() == "done"
    assert stat.S_IMODE((directory / "response").stat().st_mode) == 0o600


def test_a_function_that_has_used_up_the_descriptors_is_told(far_side: FarSide) -> None:
    job = far_side.do("use_up_descriptors")
    assert job.outcome == "exited"
    assert job.exit_status() == 70
    assert "sremote: cannot write the response: [Errno 24] Too many open files" in job.stderr


def test_a_response_that_may_not_be_written_is_told_without_the_value(far_side: FarSide) -> None:
    with pytest.raises(OSError, match="the function ran, but its response cannot be written: File too large"):
        far_side.do("limit_files", 10000).result()


def test_what_the_kernel_kills_for_want_of_memory_is_told(this_side: FarSide, small_cgroup: Path) -> None:
    with pytest.raises(RemoteOutOfMemory, match="killed by the host's kernel for want of memory"):
        this_side.do("fill_cgroup", str(small_cgroup)).result()


def test_at_its_time_limit_a_job_is_stopped_with_its_children(far_side: FarSide) -> None:
    pids = far_side.folder / "pids"
    job = far_side.do("sleep_with_children", str(pids), walltime=1.0)
    with pytest.raises(WalltimeExceeded, match=r"stopped at its time limit after [1-9]"):
        job.result()
    for pid in pids.read_text().split():
        wait_for(lambda pid=pid: not is_running(int(pid)))


def test_a_job_that_ignores_the_first_signal_is_stopped_by_the_second(this_side: FarSide) -> None:
    pids = this_side.folder / "pids"
    job = this_side.do("sleep_with_children", str(pids), True, walltime=0.5)
    assert job.outcome == "walltime"
    for pid in pids.read_text().split():
        wait_for(lambda pid=pid: not is_running(int(pid)))


def test_a_job_within_its_time_limit_is_left_alone(far_side: FarSide) -> None:
    assert far_side.do("give", 5, walltime=60).result() == 5


@pytest.fixture
def running(far_side: FarSide) -> Iterator[tuple[FarSide, Path, list[int]]]:
    """A job that sleeps with a child: its directory and, in this order, its supervisor, its process and that child."""
    pids = far_side.folder / "pids"
    directory = far_side.put(far_side.request(by_name("deeds", "sleep_with_children"), [str(pids)]))
    with far_side.start(directory) as supervisor:
        wait_for(pids.exists)
        processes = [supervisor.pid, *map(int, pids.read_text().split())]
        yield far_side, directory, processes
        for pid in processes[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_cancel_stops_a_job_with_its_children_and_removes_it(
    running: tuple[FarSide, Path, list[int]],
) -> None:
    far_side, directory, processes = running
    assert far_side.execute("--cancel", directory).returncode == 0
    for pid in processes[1:]:
        wait_for(lambda pid=pid: not is_running(pid))
    assert [path.name for path in directory.parent.iterdir()] == ["pids"]


def test_the_supervisor_takes_no_notice_of_a_lost_line(running: tuple[FarSide, Path, list[int]]) -> None:
    far_side, directory, (supervisor, process, _) = running
    os.kill(supervisor, signal.SIGHUP)
    os.kill(process, signal.SIGKILL)
    wait_for((directory / "response").exists)
    with pytest.raises(RemoteKilled, match="SIGKILL"):
        far_side.response(directory).result()


def test_a_supervisor_that_is_told_to_end_stops_the_job(running: tuple[FarSide, Path, list[int]]) -> None:
    far_side, directory, (supervisor, *processes) = running
    os.kill(supervisor, signal.SIGTERM)
    wait_for((directory / "response").exists)
    with pytest.raises(RemoteKilled, match="SIGTERM"):
        far_side.response(directory).result()
    for pid in processes:
        wait_for(lambda pid=pid: not is_running(pid))


@pytest.mark.parametrize("state", ["absent", "incoming", "accepted", "finished"])
def test_cancel_removes_a_job_that_does_not_run(this_side: FarSide, state: str) -> None:
    count = this_side.folder / "count"
    directory = this_side.put(this_side.request(by_name("deeds", "note"), [str(count)]))
    incoming = Path(f"{directory}.new")
    if state == "absent":
        (incoming / "request").unlink()
        incoming.rmdir()
    if state == "accepted":
        incoming.rename(directory)
    if state == "finished":
        assert this_side.execute("--job", directory).returncode == 0
    assert this_side.execute("--cancel", directory).returncode == 0
    assert [path.name for path in this_side.folder.iterdir()] == (["count"] if state == "finished" else [])


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """The list of processes of a control group with 64 MiB; skips where this user may not make one."""
    roots = {Path("/sys/fs/cgroup"): "memory.max", Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes"}
    for root, limit in roots.items():
        group = root / f"sremote-test-{os.getpid()}"
        processes = group / "cgroup.procs"
        try:
            if (root / "cgroup.procs").exists():
                group.mkdir()
                (group / limit).write_text(str(64 << 20))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        if processes.exists():
            yield processes
            wait_for(lambda processes=processes: not processes.read_text())
            group.rmdir()
            return
    pytest.skip("needs root, and control groups that limit memory")
