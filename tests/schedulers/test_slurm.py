"""A real Slurm, asked through the connector of this machine."""

import time
from pathlib import Path

import pytest

import sremote
from sremote.connectors.batch import BatchState, BatchSystem
from sremote.errors import HostError, SchedulerAway
from sremote.schedulers.commands import CommandBatchSystem
from sremote.schedulers.detection import find_batch_system
from sremote.schedulers.slurm import Slurm as SlurmAdapter
from tests.kit.slurm import Slurm
from tests.schedulers.batch_jobs import await_file, await_state, script_of, shell

pytestmark = pytest.mark.root


@pytest.fixture
def batch(slurm: Slurm) -> BatchSystem:
    found = find_batch_system(sremote.connect("local:").host, "slurm")
    assert found is not None
    return found


def test_a_job_runs_in_its_folder_and_completes(batch: BatchSystem, tmp_path: Path) -> None:
    job_id = batch.submit(script_of(tmp_path, shell("pwd; echo done > result")))

    job = await_state(batch, job_id, BatchState.COMPLETED)

    assert (tmp_path / "result").read_text() == "done\n"
    assert (tmp_path / "batch").read_text() == f"{tmp_path}\n"
    assert list(job.nodes) in (["n1"], ["n2"])


def test_a_node_is_another_host_than_this_one(batch: BatchSystem, tmp_path: Path) -> None:
    job_id = batch.submit(script_of(tmp_path, shell("uname -n")))

    job = await_state(batch, job_id, BatchState.COMPLETED)

    assert (tmp_path / "batch").read_text().split() == list(job.nodes)


def test_a_folder_may_have_spaces_and_percent_signs(batch: BatchSystem, tmp_path: Path) -> None:
    folder = tmp_path / "a b%j 'c'"
    folder.mkdir()

    job_id = batch.submit(script_of(folder, shell("echo here")))

    await_state(batch, job_id, BatchState.COMPLETED)
    assert (folder / "batch").read_text() == "here\n"


def test_arguments_reach_the_command_as_they_are(batch: BatchSystem, tmp_path: Path) -> None:
    words = ["a b", "$HOME", "'", '"', "two\nlines", "é"]

    job_id = batch.submit(script_of(tmp_path, ["printf", "[%s]", *words]))

    await_state(batch, job_id, BatchState.COMPLETED)
    assert (tmp_path / "batch").read_text() == "".join(f"[{word}]" for word in words)


def test_a_job_submitted_from_within_another_gets_nothing_of_that(
    batch: BatchSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "9", "SLURM_ODD": "a b\nSLURM_CONF=c"}.items():
        monkeypatch.setenv(name, value)

    job_id = batch.submit(script_of(tmp_path, shell('echo "$SLURM_NTASKS|$SLURM_ODD"'), tasks=2))

    await_state(batch, job_id, BatchState.COMPLETED)
    assert (tmp_path / "batch").read_text() == "2|\n"


def test_a_job_that_fails_tells_so(batch: BatchSystem, tmp_path: Path) -> None:
    job_id = batch.submit(script_of(tmp_path, shell("exit 7")))

    assert await_state(batch, job_id, BatchState.FAILED).reason == "NonZeroExitCode"


def test_a_preamble_runs_first_in_a_login_shell(batch: BatchSystem, tmp_path: Path) -> None:
    preamble = 'shopt -q login_shell && login=yes\nexport WHO="$login"'

    job_id = batch.submit(script_of(tmp_path, shell('echo "$WHO"'), preamble=preamble))

    await_state(batch, job_id, BatchState.COMPLETED)
    assert (tmp_path / "batch").read_text() == "yes\n"


def test_a_preamble_that_fails_ends_the_job_and_says_so(batch: BatchSystem, tmp_path: Path) -> None:
    job_id = batch.submit(script_of(tmp_path, shell("echo never"), preamble="module load nonsense"))

    await_state(batch, job_id, BatchState.FAILED)
    assert "sremote: the preamble failed" in (tmp_path / "batch").read_text()
    assert "never" not in (tmp_path / "batch").read_text()


def test_a_held_job_waits_until_it_is_released(batch: BatchSystem, slurm: Slurm, tmp_path: Path) -> None:
    job_id = batch.submit(script_of(tmp_path, ["true"], extra=["#SBATCH --hold"]))
    assert batch.jobs([job_id])[job_id].state is BatchState.HELD

    slurm.run("scontrol", "release", job_id, check=True)

    await_state(batch, job_id, BatchState.COMPLETED)


def test_what_a_site_does_not_have_is_refused(batch: BatchSystem, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"local: slurm refuses the job: .*invalid partition specified: nowhere"):
        batch.submit(script_of(tmp_path, ["true"], queue="nowhere"))


def test_a_request_over_a_limit_waits_and_tells_why(batch: BatchSystem, tmp_path: Path) -> None:
    job_id = batch.submit(script_of(tmp_path, ["true"], queue="debug", walltime="9:00:00"))

    assert await_state(batch, job_id, BatchState.QUEUED).reason == "PartitionConfig"


def test_a_cancelled_job_ends_and_may_be_cancelled_again(batch: BatchSystem, tmp_path: Path) -> None:
    job_id = batch.submit(script_of(tmp_path, shell("echo started; sleep 1000")))
    await_file(tmp_path / "batch", "started")

    batch.cancel([job_id])
    batch.cancel([job_id, "99999"])

    await_state(batch, job_id, BatchState.CANCELLED)


def test_an_array_runs_each_index_once_and_tells_of_all(batch: BatchSystem, tmp_path: Path) -> None:
    job_id = batch.submit(script_of(tmp_path, shell("echo $SREMOTE_INDEX >> ran"), array=6, at_once=3))

    job = await_state(batch, job_id, BatchState.COMPLETED)

    assert sorted((tmp_path / "ran").read_text().split()) == list("012345")
    assert job.elements == dict.fromkeys(range(6), BatchState.COMPLETED)


def test_an_array_of_which_one_fails_has_failed(batch: BatchSystem, tmp_path: Path) -> None:
    job_id = batch.submit(script_of(tmp_path, shell("exit $SREMOTE_INDEX"), array=2))

    assert await_state(batch, job_id, BatchState.FAILED).elements == {0: BatchState.COMPLETED, 1: BatchState.FAILED}


def test_a_job_begins_after_those_it_depends_on_have_succeeded(batch: BatchSystem, tmp_path: Path) -> None:
    first = batch.submit(script_of(tmp_path, shell("sleep 1; echo first >> order")))
    second = batch.submit(script_of(tmp_path, shell("echo second >> order"), after=[first]))

    await_state(batch, second, BatchState.COMPLETED)

    assert (tmp_path / "order").read_text() == "first\nsecond\n"


def test_a_job_whose_dependency_fails_is_cancelled(batch: BatchSystem, tmp_path: Path) -> None:
    first = batch.submit(script_of(tmp_path, ["false"]))
    second = batch.submit(script_of(tmp_path, shell("echo never > ran"), after=[first]))

    await_state(batch, second, BatchState.CANCELLED)

    assert not (tmp_path / "ran").exists()


def test_tasks_are_started_on_all_nodes_by_the_launcher(batch: BatchSystem, tmp_path: Path) -> None:
    script = script_of(tmp_path, [], nodes=2, tasks=4, memory="100M")
    command = [*batch.launcher(script.resources), *shell("echo $SLURMD_NODENAME")]

    job_id = batch.submit(script_of(tmp_path, command, nodes=2, tasks=4, memory="100M"))

    await_state(batch, job_id, BatchState.COMPLETED)
    assert sorted((tmp_path / "batch").read_text().split()) == ["n1", "n1", "n2", "n2"]


def test_a_job_is_found_by_its_name_and_others_are_not(batch: BatchSystem, tmp_path: Path) -> None:
    script = script_of(tmp_path, shell("sleep 1000"), name="sremote-lost")
    job_id = batch.submit(script)

    found = batch.find("sremote-lost")

    assert found is not None
    assert found.id == job_id
    assert batch.find("sremote-los") is None


def test_a_live_job_is_found_before_a_newer_one_that_was_cancelled(batch: BatchSystem, tmp_path: Path) -> None:
    ids = [batch.submit(script_of(tmp_path, shell("sleep 1000"), name="sremote-twin")) for _ in range(2)]
    batch.cancel(ids[1:])
    await_state(batch, ids[1], BatchState.CANCELLED)

    found = batch.find("sremote-twin")

    assert found is not None
    assert found.id == ids[0]


def test_jobs_that_slurm_does_not_know_are_left_out(batch: BatchSystem, tmp_path: Path) -> None:
    job_id = batch.submit(script_of(tmp_path, shell("sleep 1000")))

    assert set(batch.jobs([job_id, "99998", "99999"])) == {job_id}
    assert batch.jobs(["99998"]) == {}
    assert batch.jobs([]) == {}


def test_any_number_of_jobs_can_be_asked_about(batch: BatchSystem, tmp_path: Path) -> None:
    job_id = batch.submit(script_of(tmp_path, ["true"], extra=["#SBATCH --hold"]))

    assert set(batch.jobs([*map(str, range(50_000, 80_000)), job_id])) == {job_id}


def test_slurm_does_not_start_a_job_again_unless_asked_to(batch: BatchSystem, slurm: Slurm, tmp_path: Path) -> None:
    for wanted, requeue in (("0", False), ("1", True)):
        job_id = batch.submit(script_of(tmp_path, ["true"], requeue=requeue))
        assert f"Requeue={wanted} " in slurm.run("scontrol", "show", "job", job_id, check=True).stdout


def test_while_the_controller_is_away_there_is_no_answer_and_no_state(slurm: Slurm, tmp_path: Path) -> None:
    host = sremote.connect("local:").host
    batch = CommandBatchSystem(SlurmAdapter(), host.execute, host.where, query_timeout=1, submit_timeout=1)
    script = script_of(tmp_path, shell("sleep 2; echo done >> ran"))
    job_id = batch.submit(script)
    slurm.stop_controller()
    try:
        for ask in (lambda: batch.jobs([job_id]), lambda: batch.find(script.name), lambda: batch.submit(script)):
            with pytest.raises(SchedulerAway, match="local: slurm gives no answer"):
                ask()
    finally:
        slurm.start_controller()

    batch = CommandBatchSystem(SlurmAdapter(), host.execute, host.where)
    await_state(batch, job_id, BatchState.COMPLETED)
    assert (tmp_path / "ran").read_text() == "done\n"


def test_a_squeue_that_hangs_is_no_answer_and_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As squeue does for 18 seconds while the controller is away."""
    program = tmp_path / "squeue"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 18\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    host = sremote.connect("local:").host

    with pytest.raises(SchedulerAway, match=r"local: slurm gives no answer: squeue took more than 0\.5 s"):
        CommandBatchSystem(SlurmAdapter(), host.execute, host.where, query_timeout=0.5).jobs(["1"])

    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
