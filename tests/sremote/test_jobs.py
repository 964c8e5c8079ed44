"""Durable jobs: submitted, forgotten, found again by a later process; each runs once, whoever waits for it."""

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import sremote
from sremote.connectors.address import parse_address
from sremote.connectors.base import Capability
from sremote.connectors.registry import make_connector
from sremote.errors import JobCancelled, JobLost, NotFinished, RemoteExit, UsageError, WalltimeExceeded
from sremote.host import Host
from sremote.hosts import HostSettings
from tests.interpreter.far_side import is_running, wait_for
from tests.kit.sshd import SshServer

PATIENCE = 60.0
"""Seconds for something to happen on a busy machine."""


@pytest.fixture(scope="module")
def hosts(sshd: SshServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Host, HostSettings]]]:
    """One root: over a stream to this machine, and over ssh with the three verbs only."""
    root = str(tmp_path_factory.mktemp("root"))
    options = {"key_file": sshd.key_file, "known_hosts": sshd.known_hosts}
    here = HostSettings("local:", root=root, name="local:")
    there = HostSettings(sshd.address, root=root, connector=options, name=sshd.address)
    with (
        make_connector(parse_address("local:")) as streams,
        make_connector(parse_address(sshd.address), **options) as files,
    ):
        files.capabilities &= ~Capability.STREAM
        yield {"streams": (Host(streams, root=root), here), "files": (Host(files, root=root), there)}


@pytest.fixture
def client(hosts: dict[str, tuple[Host, HostSettings]]) -> Iterator[sremote.Client]:
    host, settings = hosts["streams"]
    with sremote.Client(host, settings=settings) as client:
        yield client


@pytest.fixture(params=["streams", "files"])
def any_client(request: pytest.FixtureRequest, hosts: dict[str, tuple[Host, HostSettings]]) -> Iterator[sremote.Client]:
    """A client over streams, then one that has the three verbs only."""
    host, settings = hosts[request.param]
    with sremote.Client(host, settings=settings) as client:
        yield client


@dataclasses.dataclass
class Place:
    """What a test looks at on the host."""

    ledger: Path
    """Every run of ``work`` adds a line: its process id."""
    gate: Path
    """``work`` returns once it is there."""
    jobs: Path

    @property
    def runs(self) -> list[int]:
        return [int(line) for line in self.ledger.read_text().split()] if self.ledger.exists() else []

    def await_run(self) -> int:
        """Wait until the job runs; return its process."""
        return int(wait_for(lambda: self.runs)[0])


@pytest.fixture
def place(tmp_path: Path, hosts: dict[str, tuple[Host, HostSettings]]) -> Place:
    return Place(tmp_path / "ledger", tmp_path / "gate", Path(hosts["streams"][0].root) / "jobs")


def work(ledger: str, gate: str) -> str:
    """Note that it runs, wait for the gate, and return."""
    import os
    import time

    with open(ledger, "a") as file:
        file.write(f"{os.getpid()}\n")
    print("at work", flush=True)
    while not os.path.exists(gate):
        time.sleep(0.01)
    return "done"


def submit_work(client: sremote.Client, place: Place) -> sremote.Job:
    return client.submit_function(work, str(place.ledger), str(place.gate))


def test_a_job_goes_on_without_its_client_and_is_found_again(any_client: sremote.Client, place: Place) -> None:
    job = submit_work(any_client, place)
    place.await_run()
    any_client.close()
    found = sremote.job(job.id)
    assert found.status().state == "RUNNING"
    place.gate.touch()
    assert found.result(PATIENCE) == "done"
    assert len(place.runs) == 1


def test_a_result_can_be_read_again_when_the_host_has_forgotten_it(client: sremote.Client, place: Place) -> None:
    job = client.submit("operator", "add", [40, 2])
    assert job.result(PATIENCE) == 42
    client.close()
    assert list(place.jobs.glob(f"{job.id}*")) == []
    assert sremote.job(job.id).result() == 42
    assert sremote.job(job.id).status().state == "SUCCEEDED"


def test_a_finished_job_is_one_file_until_it_is_fetched(client: sremote.Client, place: Place) -> None:
    job = client.submit("operator", "add", [40, 2])
    assert job.wait(PATIENCE).state == "SUCCEEDED"
    wait_for(lambda: [path.name for path in place.jobs.glob(f"{job.id}*")] == [f"{job.id}.done"])
    assert sremote.job(job.id).result(PATIENCE) == 42


def test_an_exception_comes_back_as_itself(any_client: sremote.Client) -> None:
    job = any_client.submit("operator", "truediv", [1, 0])
    assert isinstance(job.exception(PATIENCE), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        job.result()
    assert str(job.status()) == "FAILED: ZeroDivisionError: division by zero"


def test_a_command_has_a_status_and_output(any_client: sremote.Client) -> None:
    good = any_client.submit_command(["sh", "-c", "cat; echo err >&2"], stdin=b"in")
    bad = any_client.submit_command(["sh", "-c", "exit 3"])
    assert good.result(PATIENCE) == sremote.CommandResult(0, b"in", b"err\n")
    with pytest.raises(RemoteExit) as caught:
        bad.result(PATIENCE)
    assert caught.value.status == 3
    assert str(bad.status()) == "FAILED: exit status 3"


def test_logs_are_followed_while_it_runs(any_client: sremote.Client, place: Place) -> None:
    job = submit_work(any_client, place)
    lines = job.logs(follow=True)
    assert next(lines) == "at work"
    place.gate.touch()
    assert list(lines) == []
    assert list(sremote.job(job.id).logs()) == ["at work"]
    assert job.result(PATIENCE) == "done"
    assert list(job.logs()) == ["at work"]


def test_waiting_gives_up_at_its_timeout_and_the_job_goes_on(client: sremote.Client, place: Place) -> None:
    job = submit_work(client, place)
    with pytest.raises(NotFinished):
        job.result(0.1)
    assert job.wait(0.1).state in ("QUEUED", "RUNNING")
    place.gate.touch()
    assert job.result(PATIENCE) == "done"


def test_a_cancelled_job_ends_with_all_its_children(any_client: sremote.Client, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    # One child in the job's session, one that has left it, and one that is nobody's child any more.
    sleeper = f"sh -c 'echo $$ >>{pids}; sleep 1000'"
    script = f"{sleeper} & setsid {sleeper} & (setsid {sleeper} &); wait"
    job = any_client.submit_command(["bash", "-c", script])
    children = wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 3 and pids.read_text().split())
    assert job.cancel().state == "CANCELLED"
    wait_for(lambda: not any(is_running(int(pid)) for pid in children))
    with pytest.raises(JobCancelled):
        job.result()


def test_a_job_is_stopped_at_its_time_limit(client: sremote.Client) -> None:
    job = client.submit("time", "sleep", [1000], walltime=0.2)
    with pytest.raises(WalltimeExceeded):
        job.result(PATIENCE)


def test_a_killed_job_says_by_what(client: sremote.Client, place: Place) -> None:
    job = submit_work(client, place)
    os.kill(place.await_run(), signal.SIGKILL)
    assert str(job.wait(PATIENCE)) == "FAILED: killed by SIGKILL"


def test_a_failing_job_is_tried_again_as_often_as_asked(client: sremote.Client, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    job = client.submit_command(
        ["sh", "-c", f"echo $SREMOTE_JOB >>{counter}; [ $(wc -l <{counter}) -eq 3 ]"], retries=5
    )
    assert job.wait(PATIENCE).state == "SUCCEEDED"
    assert counter.read_text().split() == [job.id, f"{job.id}.2", f"{job.id}.3"]
    assert job.status().attempt == 3


def test_a_failed_job_is_tried_again_when_its_user_says_so(client: sremote.Client, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    job = client.submit_command(["test", "-e", str(flag)])
    assert isinstance(job.exception(PATIENCE), RemoteExit)
    flag.touch()
    job.retry()
    assert job.result(PATIENCE).status == 0
    with pytest.raises(UsageError):
        job.retry()


def test_files_go_there_and_outputs_come_back(client: sremote.Client, place: Place, tmp_path: Path) -> None:
    (tmp_path / "numbers").write_text("1\n2\n")
    job = client.submit_command(
        ["sh", "-c", "wc -l <numbers >lines.txt; mkdir more; echo x >more/x.txt; echo other >other"],
        files=[tmp_path / "numbers"],
        outputs=["lines.txt", "more"],
    )
    job.result(PATIENCE)
    copies = job.pull(into=tmp_path / "results")
    assert [str(copy.relative_to(tmp_path)) for copy in copies] == ["results/lines.txt", "results/more"]
    assert (tmp_path / "results" / "lines.txt").read_text().strip() == "2"
    assert (tmp_path / "results" / "more" / "x.txt").read_text() == "x\n"
    job.remove()
    assert not list(place.jobs.parent.glob(f"work/{job.id}"))
    with pytest.raises(UsageError):
        sremote.job(job.id)


def test_a_job_whose_processes_all_vanish_is_lost_and_says_so(any_client: sremote.Client, place: Place) -> None:
    job = submit_work(any_client, place)
    runner = place.await_run()
    supervisor = parent_of(runner)
    os.kill(supervisor, signal.SIGKILL)
    os.kill(runner, signal.SIGKILL)
    wait_for(lambda: not is_running(runner))
    status = job.wait(PATIENCE)
    assert status.state == "LOST"
    assert "are gone" in status.reason
    with pytest.raises(JobLost):
        job.result()
    assert len(place.runs) == 1


def test_a_job_can_be_awaited(client: sremote.Client) -> None:
    async def collect() -> list[object]:
        jobs = [client.submit("operator", "truediv", [number, 10 - number]) for number in range(11)]
        return list(await asyncio.gather(*jobs, return_exceptions=True))

    *values, error = asyncio.run(collect())
    assert values == [number / (10 - number) for number in range(10)]
    assert isinstance(error, ZeroDivisionError)


def test_another_process_collects(client: sremote.Client) -> None:
    job = client.submit("operator", "add", [1, 2])
    program = f"import sremote; print(sremote.job({job.id!r}).result(60))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "3\n"
    assert [found.id for found in sremote.jobs()] == [job.id]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_the_same_job_sent_twice_runs_once(any_client: sremote.Client, place: Place) -> None:
    job = submit_work(any_client, place)
    place.await_run()
    request = (place.jobs / job.id / "request").read_bytes()
    incoming = Path(f"{place.jobs / job.id}.new")
    incoming.mkdir()
    (incoming / "request").write_bytes(request)
    assert any_client.host.run_interpreter("--submit", str(place.jobs / job.id)).status == 0
    place.gate.touch()
    assert job.wait(PATIENCE).state == "SUCCEEDED"
    wait_for(lambda: not (place.jobs / job.id).exists())
    incoming.mkdir()
    (incoming / "request").write_bytes(request)
    assert any_client.host.run_interpreter("--submit", str(place.jobs / job.id)).status == 0
    assert job.result() == "done"
    time.sleep(0.2)
    assert len(place.runs) == 1


def count_to_three() -> int:
    """Say how far it has got, as a function of the user's does."""
    import os
    import time

    for number in range(3):
        sremote.progress(number + 1, 3, f"step {number + 1}")
        while not os.path.exists(os.environ["GATES"] + str(number)):
            time.sleep(0.01)
    return 3


def test_progress_is_seen_while_it_runs(client: sremote.Client, tmp_path: Path) -> None:
    job = client.submit_function(with_gates, str(tmp_path / "gate"))
    seen = []

    def note(status: sremote.JobStatus) -> None:
        if status.progress is not None and status.progress not in seen:
            seen.append(status.progress)
            (tmp_path / f"gate{int(status.progress.done) - 1}").touch()

    assert job.wait(PATIENCE, on_change=note).state == "SUCCEEDED"
    assert [(each.done, each.total, each.message) for each in seen] == [
        (1.0, 3.0, "step 1"),
        (2.0, 3.0, "step 2"),
        (3.0, 3.0, "step 3"),
    ]


def with_gates(gates: str) -> int:
    import os

    os.environ["GATES"] = gates
    return count_to_three()


def test_who_collects_from_another_machine_leaves_the_job_to_its_submitter(
    client: sremote.Client, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = client.submit("operator", "add", [1, 2])
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
        assert client.job(job.id).result(PATIENCE) == 3
        client.close()
    assert job.result(PATIENCE) == 3


def test_every_python_runs_jobs(far_client: sremote.Client, tmp_path: Path) -> None:
    job = far_client.submit_function(with_progress, 3)
    child = far_client.submit_command(["sh", "-c", "sleep 1000 & wait"])
    assert job.result(PATIENCE) == 3
    assert list(job.logs()) == ["3 done"]
    assert child.cancel().state in ("CANCELLED", "QUEUED")
    assert child.wait(PATIENCE).state == "CANCELLED"


def with_progress(total: int) -> int:
    for number in range(total):
        sremote.progress(number + 1, total)
    print(total, "done")
    return total


def test_the_results_of_many_jobs_come_with_few_requests(
    client: sremote.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [client.submit("operator", "neg", [number]) for number in range(10)]
    for job in jobs:
        wait_for(lambda job=job: client.job(job.id).done())
    asked: list[str] = []
    ask = client._host_jobs.ask
    monkeypatch.setattr(
        client._host_jobs, "ask", lambda function, *args: asked.append(function) or ask(function, *args)
    )
    assert [job.result(PATIENCE) for job in jobs] == [-number for number in range(10)]
    assert asked == ["responses"]
