"""Whatever is killed, and whenever: a job on a real Slurm runs exactly once, and its outcome is known.

The stages of a job's life and the victims:

                    slurmctld  slurmd  job's process  supervisor  slurmstepd  client  line
    accepted here       x        -           -             -           -        x      -
    being submitted     x        -           -             -           -        x      x
    in the queue        x        x           -             -           -        x      x
    running             x        x           x             x           x        x      x
    being cancelled     x        -           -             -           -        -      -
    ended               x        x           -             -           -        x      -

Executions are counted by lines that the job adds to a file.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import sremote
from sremote import batch_jobs, host_jobs
from sremote.errors import JobError, JobLost, RemoteKilled
from sremote.schedulers.commands import CommandBatchSystem
from tests.interpreter.far_side import wait_for
from tests.kit.slurm import Slurm
from tests.kit.sshd import SshServer, ssh_server
from tests.schedulers.conftest import Place

pytestmark = pytest.mark.root

PATIENCE = 90.0
"""Seconds for something to happen on a busy machine."""
HOLD = "#SBATCH --hold"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a job for lost as soon as Slurm says that it has ended: the file system here is not a slow one."""
    monkeypatch.setattr(batch_jobs, "PATIENCE", 0.0)


def runs_once(job: sremote.Job, place: Place) -> None:
    """See that a job returns, having run once."""
    place.gate.touch()
    assert job.result(PATIENCE) == "done"
    assert len(place.runs) == 1


def batch_jobs_of(slurm: Slurm, job: sremote.Job) -> int:
    """Return how many batch jobs Slurm has had for a job."""
    return len(slurm.run("squeue", "-h", "-t", "all", "-n", f"sremote-{job.id}").stdout.splitlines())


@contextlib.contextmanager
def controller_killed(slurm: Slurm, client: sremote.Client) -> Iterator[None]:
    """Kill slurmctld, and start it again at the end; meanwhile the client does not wait for long."""
    batch = client._host_jobs.batch("slurm")
    assert batch is not None
    assert isinstance(batch.system, CommandBatchSystem)
    before = batch.system.query_timeout, batch.system.submit_timeout
    slurm.kill_controller()
    batch.system.query_timeout = batch.system.submit_timeout = 1.0
    try:
        yield
    finally:
        batch.system.query_timeout, batch.system.submit_timeout = before
        slurm.start_controller()


def release(slurm: Slurm) -> None:
    """Let the jobs go that were submitted on hold."""
    for job_id in slurm.run("squeue", "-h", "-o", "%A").stdout.split():
        slurm.run("scontrol", "release", job_id, check=True)


class TestController:
    """The victim is slurmctld."""

    def test_away_when_a_job_is_submitted(self, client: sremote.Client, place: Place, slurm: Slurm) -> None:
        with controller_killed(slurm, client):
            job = place.submit(client)
            status = job.status()
            assert (status.state, status.source) == ("QUEUED", "scheduler")
            assert "slurm gives no answer" in status.reason
        runs_once(job, place)

    def test_killed_right_after_it_took_a_job_and_then_gives_the_id_to_another(
        self, client: sremote.Client, place: Place, slurm: Slurm
    ) -> None:
        with slurm.forgetting():
            job = place.submit(client, extra=[HOLD])
            lost = job.record.batch_id
        while slurm.run("sbatch", "--parsable", "--hold", "--wrap", "true", check=True).stdout.strip() != lost:
            assert job.record.batch_id == lost

        job.status()
        assert job.record.batch_id != lost
        release(slurm)
        runs_once(job, place)

    def test_killed_while_a_job_waits_that_it_had_saved(
        self, client: sremote.Client, place: Place, slurm: Slurm
    ) -> None:
        job = place.submit(client, extra=[HOLD])
        batch_id = job.record.batch_id
        slurm.await_saved(job.id)
        slurm.kill_controller()
        slurm.start_controller()
        release(slurm)
        runs_once(job, place)
        assert job.record.batch_id == batch_id

    def test_killed_while_a_job_runs_that_it_had_saved(
        self, client: sremote.Client, place: Place, slurm: Slurm
    ) -> None:
        job = place.submit(client)
        place.await_run()
        slurm.await_saved(job.id)
        with controller_killed(slurm, client):
            assert job.status().state == "RUNNING"
        assert job.status().state in ("RUNNING", "QUEUED")
        runs_once(job, place)

    def test_killed_while_a_job_runs_that_it_had_not_saved(
        self, client: sremote.Client, place: Place, slurm: Slurm
    ) -> None:
        with slurm.forgetting():
            job = place.submit(client)
            place.await_run()
        assert job.status().state == "RUNNING"
        runs_once(job, place)

    def test_away_when_a_job_is_cancelled(self, client: sremote.Client, place: Place, slurm: Slurm) -> None:
        job = place.submit(client, extra=[HOLD])
        slurm.await_saved(job.id)
        with controller_killed(slurm, client):
            assert job.cancel().state == "CANCELLED"
        release(slurm)
        while slurm.run("squeue", "-h").stdout:
            time.sleep(0.1)
        assert place.runs == []

    def test_killed_while_a_job_ends(self, client: sremote.Client, place: Place, slurm: Slurm) -> None:
        job = place.submit(client)
        place.await_run()
        with controller_killed(slurm, client):
            runs_once(job, place)

    def test_a_job_that_it_starts_a_second_time_does_not_run_again(
        self, client: sremote.Client, place: Place, slurm: Slurm
    ) -> None:
        job = place.submit(client, requeue=True)
        place.await_run()

        batch_id = job.record.batch_id or ""
        slurm.run("scontrol", "requeue", batch_id, check=True)

        while slurm.run("squeue", "-h").stdout:
            slurm.run("scontrol", "update", f"JobId={batch_id}", "StartTime=now")  # it would wait for two minutes
            time.sleep(0.1)
        assert "Restarts=1" in slurm.run("scontrol", "show", "job", batch_id).stdout
        place.gate.touch()
        with pytest.raises(JobError):
            job.result(PATIENCE)
        assert len(place.runs) == 1


class TestNode:
    """The victim is slurmd."""

    def test_killed_while_a_job_waits(self, client: sremote.Client, place: Place, slurm: Slurm) -> None:
        job = place.submit(client, extra=[HOLD])
        slurm.kill_nodes()
        release(slurm)
        slurm.start_nodes()
        runs_once(job, place)

    def test_killed_while_a_job_runs(self, client: sremote.Client, place: Place, slurm: Slurm) -> None:
        job = place.submit(client)
        place.await_run()
        slurm.kill_nodes()
        try:
            assert job.status().state == "RUNNING"
            runs_once(job, place)
        finally:
            slurm.start_nodes()


class TestProcesses:
    """The victims are what runs on the node."""

    def test_the_job_s_own_process_killed(self, client: sremote.Client, place: Place) -> None:
        job = place.submit(client)
        os.kill(place.await_run(), signal.SIGKILL)
        with pytest.raises(RemoteKilled, match="SIGKILL"):
            job.result(PATIENCE)
        assert len(place.runs) == 1

    def test_its_supervisor_killed(self, client: sremote.Client, place: Place) -> None:
        job = place.submit(client)
        pid = place.await_run()
        os.kill(parent_of(pid), signal.SIGKILL)
        with pytest.raises(JobLost, match="its batch job"):
            job.result(PATIENCE)
        place.gate.touch()
        assert len(place.runs) == 1

    def test_everything_killed_and_forgotten_by_slurm(
        self, client: sremote.Client, place: Place, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with slurm.forgetting():
            job = place.submit(client)
            pid = place.await_run()
            assert job.status().state == "RUNNING"
            for victim in (*slurm.step_daemons(), parent_of(pid), pid):
                os.kill(victim, signal.SIGKILL)
        assert job.status().state == "RUNNING"  # its heartbeat is not late yet
        monkeypatch.setattr(host_jobs, "BEAT_PATIENCE", 0.0)
        with pytest.raises(JobLost, match=r"no heartbeat for .* slurm has no such job"):
            job.result(PATIENCE)
        assert len(place.runs) == 1

    def test_slurm_s_step_daemon_killed(self, client: sremote.Client, place: Place, slurm: Slurm) -> None:
        job = place.submit(client)
        place.await_run()
        for pid in slurm.step_daemons():
            os.kill(pid, signal.SIGKILL)
        runs_once(job, place)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


CLIENT = """
import os, signal, sys
import sremote
from sremote.host_jobs import HostJobs
from sremote.schedulers.commands import CommandBatchSystem
from tests.schedulers.conftest import work

root, ledger, gate, stage = sys.argv[1:]
submit, start = CommandBatchSystem.submit, HostJobs._start

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def submit_and_die(self, script):
    submit(self, script)
    die()

if stage == "accepted":
    HostJobs._start = die
if stage == "being submitted":
    CommandBatchSystem.submit = submit_and_die
client = sremote.connect("local:", root=root)
job = client.batch("slurm").submit_function(work, ledger, gate)
if stage == "submitted":
    die()
job.logs()
while not os.path.exists(ledger):
    job.status()
die()
"""


class TestClient:
    """The victim is the process that submits; a later one takes over."""

    @pytest.mark.parametrize("stage", ["accepted", "being submitted", "submitted", "running"])
    def test_killed(self, stage: str, slurm: Slurm, place: Place) -> None:
        argv = [sys.executable, "-c", CLIENT, place.jobs.parent, place.ledger, place.gate, stage]
        done = subprocess.run(argv, timeout=PATIENCE, cwd=Path(__file__).parents[2], check=False)
        assert done.returncode == -signal.SIGKILL

        (job,) = sremote.jobs()

        runs_once(job, place)
        assert batch_jobs_of(slurm, job) == 1


class TestLine:
    """The victim is the connection to the host."""

    @pytest.fixture
    def host(self, slurm: Slurm, tmp_path: Path) -> Iterator[SshServer]:
        """A server whose sbatch, while there is a file ``slow``, waits for ever once it has submitted."""
        with ssh_server(tmp_path / "server", environment=slurm.environment) as server:
            program = server.tools / "sbatch"
            real = program.resolve()
            program.unlink()
            program.write_text(
                f"""#!/bin/sh
[ -e {tmp_path}/slow ] || exec {real} "$@"
{real} "$@"
mv {tmp_path}/slow {tmp_path}/submitted
sleep 600
"""
            )
            program.chmod(0o755)
            yield server

    @pytest.fixture
    def client(self, host: SshServer, place: Place) -> Iterator[sremote.Client]:
        options = {"key_file": host.key_file, "known_hosts": host.known_hosts}
        with sremote.connect(host.address, root=str(place.jobs.parent), **options) as client:
            yield client

    def test_dropped_while_sbatch_is_at_work(
        self, host: SshServer, client: sremote.Client, slurm: Slurm, place: Place, tmp_path: Path
    ) -> None:
        def cut() -> None:
            wait_for((tmp_path / "submitted").exists)
            host.cut()

        (tmp_path / "slow").touch()
        cutting = threading.Thread(target=cut)
        cutting.start()
        job = place.submit(client)
        cutting.join()
        runs_once(job, place)
        assert batch_jobs_of(slurm, job) == 1

    @pytest.mark.parametrize("stage", ["in the queue", "running"])
    def test_dropped(self, stage: str, host: SshServer, client: sremote.Client, slurm: Slurm, place: Place) -> None:
        job = place.submit(client, extra=[HOLD])
        if stage == "running":
            release(slurm)
            place.await_run()
        host.cut()
        release(slurm)
        runs_once(job, place)
