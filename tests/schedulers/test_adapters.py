"""What each scheduler is told, and what its answers mean."""

import pytest

import sremote
from sremote.connectors.batch import BatchScript, BatchState, Resources
from sremote.errors import HostError, SchedulerAway, UsageError
from sremote.schedulers.adapter import Adapter, Answer
from sremote.schedulers.commands import CommandBatchSystem
from sremote.schedulers.registry import make_adapter, scheduler_names
from sremote.schedulers.resources import read_resources
from tests.schedulers import answers

ASKED = read_resources(
    {
        "nodes": 2,
        "tasks": 8,
        "cores": 3,
        "memory": "4G",
        "gpus": 4,
        "walltime": "1:30:00",
        "queue": "gpu",
        "account": "m123",
        "after": ["11", "12"],
    }
)


def script_of(resources: Resources, *, folder: str = "/home/a/.sremote/jobs/x") -> BatchScript:
    return BatchScript(name="sremote-x", command=["echo", "a b"], resources=resources, folder=folder)


def directives(scheduler: str, resources: Resources) -> set[str]:
    """Return the directives of a script, without the comment sign that begins them."""
    adapter = make_adapter(scheduler)
    sign = {"slurm": "#SBATCH ", "pbs": "#PBS ", "lsf": "#BSUB ", "sge": "#$ ", "flux": "# flux: "}[scheduler]
    lines = adapter.script(script_of(resources)).splitlines()
    return {line.removeprefix(sign) for line in lines if line.startswith(sign)}


def test_the_schedulers_known() -> None:
    assert scheduler_names() == ["flux", "lsf", "pbs", "sge", "slurm"]


def test_an_unknown_scheduler_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="Did you mean 'slurm'"):
        make_adapter("slrum")


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (
            "slurm",
            {
                *("--nodes=2", "--ntasks=8", "--cpus-per-task=3", "--mem=4194304K", "--gres=gpu:4", "--time=1:30:00"),
                *("--partition=gpu", "--account=m123", "--dependency=afterok:11:12", "--kill-on-invalid-dep=yes"),
                *("--no-requeue", "--job-name=sremote-x", "--chdir=/home/a/.sremote/jobs/x"),
            },
        ),
        (
            "pbs",
            {
                *("-N sremote-x", "-l select=2:ncpus=12:mpiprocs=4:mem=4194304kb:ngpus=4", "-l walltime=1:30:00"),
                *("-q gpu", "-A m123", "-W depend=afterok:11:12", "-r n", "-j oe"),
            },
        ),
        (
            "lsf",
            {
                *("-J sremote-x", "-n 24", "-R 'span[ptile=12]'", "-R 'rusage[mem=4096MB]'", "-gpu num=4", "-W 90"),
                *("-q gpu", "-P m123", "-w 'done(11) && done(12)'", "-rn", "-cwd /home/a/.sremote/jobs/x"),
            },
        ),
        (
            "sge",
            {
                *("-N sremote-x", "-pe mpi 24", "-l h_vmem=349526K", "-l gpu=4", "-l h_rt=1:30:00"),
                *("-q gpu", "-P m123", "-hold_jid 11,12", "-r n", "-wd /home/a/.sremote/jobs/x"),
            },
        ),
    ],
)
def test_common_words_become_the_scheduler_s_own(scheduler: str, expected: set[str]) -> None:
    assert expected <= directives(scheduler, ASKED)


def test_flux_gets_slots_and_shares_out_the_gpus() -> None:
    asked = read_resources({"nodes": 2, "tasks": 8, "cores": 3, "gpus": 4, "walltime": "90m", "queue": "pbatch"})

    assert {
        *("--nslots=8", "--nodes=2", "--cores-per-slot=3", "--gpus-per-slot=1", "--time-limit=5400s"),
        *("--queue=pbatch", "--job-name=sremote-x"),
    } <= directives("flux", asked)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"memory": "4G"}, "flux has no way to give 'memory'"),
        ({"requeue": True}, "flux has no way to give 'requeue'"),
        ({"array": 4, "tasks": 2}, "flux has no way to give 'array' together with"),
        ({"tasks": 3, "gpus": 4}, "flux cannot share out 4 GPUs among 3 tasks"),
    ],
)
def test_what_flux_cannot_give_is_refused_by_name(resources: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        directives("flux", read_resources(resources))


@pytest.mark.parametrize("scheduler", scheduler_names())
def test_nothing_is_asked_for_that_the_user_has_not_asked_for(scheduler: str) -> None:
    asked = " ".join(directives(scheduler, Resources()))
    assert [word for word in ("time", "mem", "gpu", "--queue", "account", "select", "-W", "-n ") if word in asked] == []


@pytest.mark.parametrize("scheduler", scheduler_names())
def test_extra_lines_stand_with_the_directives(scheduler: str) -> None:
    text = make_adapter(scheduler).script(script_of(Resources(extra=["#ANY --odd"])))
    assert text.index("#ANY --odd") < text.index("\n\n")


@pytest.mark.parametrize(
    ("scheduler", "expected", "index"),
    [
        ("slurm", "--array=0-9%3", "SREMOTE_INDEX=$SLURM_ARRAY_TASK_ID"),
        ("pbs", "-J 0-9%3", "SREMOTE_INDEX=${PBS_ARRAY_INDEX:-0}"),
        ("lsf", "-J 'sremote-x[1-10]%3'", "SREMOTE_INDEX=$((LSB_JOBINDEX - 1))"),
        ("sge", "-t 1-10", "SREMOTE_INDEX=$((SGE_TASK_ID - 1))"),
        ("flux", "--nslots=3", "--cc=0-9"),
    ],
)
def test_an_array_counts_from_zero(scheduler: str, expected: str, index: str) -> None:
    resources = Resources(array=10, at_once=3)
    assert expected in directives(scheduler, resources)
    assert index in make_adapter(scheduler).script(script_of(resources))


def test_an_array_of_one_is_a_plain_job_to_pbs() -> None:
    assert not any(line.startswith("-J") for line in directives("pbs", Resources(array=1)))


@pytest.mark.parametrize(
    ("scheduler", "launcher"),
    [
        ("slurm", "srun --ntasks=8 --cpus-per-task=3 --kill-on-bad-exit=1"),
        ("pbs", "mpiexec -n 8"),
        ("lsf", "mpiexec -n 8"),
        ("sge", "mpiexec -n 8"),
        ("flux", "flux run --ntasks=8 --cores-per-task=3"),
    ],
)
def test_tasks_are_started_by_the_scheduler_s_launcher(scheduler: str, launcher: str) -> None:
    batch = CommandBatchSystem(make_adapter(scheduler), sremote.connect("local:").host.execute, "local")
    assert batch.launcher(Resources(tasks=8, cores=3)) == launcher.split()
    assert batch.launcher(Resources(tasks=8, launcher="jsrun -n 8 -a '1 2'")) == ["jsrun", "-n", "8", "-a", "1 2"]
    assert batch.launcher(Resources(tasks=8, launcher="none")) == []
    assert batch.launcher(Resources(tasks=1)) == batch.launcher(Resources()) == []


@pytest.mark.parametrize(
    ("scheduler", "said", "job_id"),
    [
        ("slurm", "123\n", "123"),
        ("slurm", "Welcome!\n123;alpha\n", "123;alpha"),
        ("pbs", "3301.pbs01\n", "3301.pbs01"),
        ("pbs", "41[].pbs01\n", "41[].pbs01"),
        ("lsf", "Job <1201> is submitted to default queue <normal>.\n", "1201"),
        ("sge", "501\n", "501"),
        ("sge", "502.1-10:1\n", "502"),
        ("flux", "ƒuZZybuNNy\n", "6731191091817518"),
        ("flux", "fuZZybuNNy\n", "6731191091817518"),
    ],
)
def test_the_id_is_read_from_the_answer(scheduler: str, said: str, job_id: str) -> None:
    assert make_adapter(scheduler).submitted(Answer(0, said, "")) == job_id


@pytest.mark.parametrize("scheduler", scheduler_names())
def test_an_answer_without_an_id_tells_nothing(scheduler: str) -> None:
    with pytest.raises(SchedulerAway, match=f"{scheduler} gives an answer that cannot be read: 'Hello'"):
        make_adapter(scheduler).submitted(Answer(0, "Hello\n", ""))


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ("slurm", "sbatch: error: Batch job submission failed: Invalid account or account/partition combination"),
        ("pbs", "qsub: Unknown queue"),
        ("lsf", "nowhere: No such queue. Job not submitted."),
        ("sge", "Unable to run job: unknown queue\nExiting."),
        ("flux", "flux-batch: ERROR: [Errno 22] Invalid queue 'nowhere' specified"),
    ],
)
def test_a_refused_submission_is_told_in_the_scheduler_s_words(scheduler: str, said: str) -> None:
    with pytest.raises(HostError, match=f"{scheduler} refuses the job") as caught:
        make_adapter(scheduler).submitted(Answer(1, "", said))
    assert said.splitlines()[0] in caught.value.message


AWAY = [
    ("slurm", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"),
    ("slurm", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"),
    ("slurm", "slurm_load_jobs error: Zero Bytes were transmitted or received"),
    ("pbs", "Connection refused\nqstat: cannot connect to server pbs01 (errno=15010)"),
    ("lsf", "LSF is down. Please wait ..."),
    ("lsf", "Failed in an LSF library call: Slave LIM configuration is not ready yet"),
    ("sge", "error: commlib error: got select error (Connection refused)"),
    ("sge", 'Unable to run job: unable to send message to qmaster using port 6444 on host "q": got send error.'),
    ("flux", "flux-jobs: ERROR: Unable to connect to Flux: broker socket /run/flux/local was not found"),
]


@pytest.mark.parametrize(("scheduler", "said"), AWAY)
def test_a_scheduler_that_is_away_says_nothing_of_any_job(scheduler: str, said: str) -> None:
    adapter, answer = make_adapter(scheduler), Answer(1, "", said)
    for read in (adapter.submitted, adapter.jobs, adapter.cancelled):
        with pytest.raises(SchedulerAway, match=f"{scheduler} gives no answer"):
            read(answer)


@pytest.mark.parametrize("scheduler", scheduler_names())
def test_an_error_that_nobody_foresaw_says_nothing_of_any_job(scheduler: str) -> None:
    with pytest.raises(SchedulerAway, match="cannot be read: 'Segmentation fault'"):
        make_adapter(scheduler).jobs(Answer(139, "", "Segmentation fault"))


@pytest.mark.parametrize(
    ("scheduler", "status", "said"),
    [
        ("slurm", 1, "slurm_load_jobs error: Invalid job id specified"),
        ("pbs", 153, "qstat: Unknown Job Id 99.pbs01"),
        ("lsf", 255, "Job <99> is not found"),
        ("flux", 1, "flux-jobs: ERROR: JobID ƒA unknown"),
    ],
)
def test_jobs_that_are_unknown_are_left_out(scheduler: str, status: int, said: str) -> None:
    assert list(make_adapter(scheduler).jobs(Answer(status, "", said))) == []


@pytest.mark.parametrize("scheduler", scheduler_names())
def test_cancelling_what_has_ended_is_no_error(scheduler: str) -> None:
    make_adapter(scheduler).cancelled(Answer(1, "", "Job 1 has already finished"))


def states(adapter: Adapter, text: str) -> dict[str, BatchState]:
    return {job.name: job.state for job in adapter.jobs(Answer(0, text, ""))}


def test_how_pbs_tells_of_jobs() -> None:
    adapter = make_adapter("pbs")

    assert states(adapter, answers.PBS_QSTAT) == {
        "s0123456789abcd": BatchState.RUNNING,
        "waits": BatchState.QUEUED,
        "late": BatchState.WALLTIME,
        "deleted": BatchState.CANCELLED,
        "fine": BatchState.COMPLETED,
        "big": BatchState.OUT_OF_MEMORY,
        "broken": BatchState.FAILED,
        "held": BatchState.HELD,
    }
    first, second, *_ = adapter.jobs(Answer(0, answers.PBS_QSTAT, ""))
    assert (first.id, first.nodes) == ("3301.pbs01", ["node12", "node13"])
    assert second.reason == "Not Running: Insufficient amount of resource: ncpus"


def test_how_pbs_tells_of_an_array() -> None:
    (job,) = make_adapter("pbs").jobs(Answer(0, answers.PBS_QSTAT_ARRAY, ""))

    assert (job.id, job.state) == ("41[].pbs01", BatchState.RUNNING)
    assert job.elements == {0: BatchState.COMPLETED, 1: BatchState.RUNNING, 2: BatchState.QUEUED}


def test_pbs_keeps_the_end_of_a_name_as_all_its_versions_take_that() -> None:
    adapter = make_adapter("pbs")
    assert adapter.job_name("sremote-20261125T130000-0123456789abcdef") == "s23456789abcdef"
    assert adapter.job_name("short") == "short"


def test_how_lsf_tells_of_jobs() -> None:
    adapter = make_adapter("lsf")

    assert states(adapter, answers.LSF_BJOBS) == {
        "sremote-a": BatchState.RUNNING,
        "sremote-b": BatchState.QUEUED,
        "sremote-c": BatchState.WALLTIME,
        "sremote-d": BatchState.CANCELLED,
        "sremote-e": BatchState.OUT_OF_MEMORY,
        "sremote-f": BatchState.COMPLETED,
        "sremote-g": BatchState.FAILED,
        "sremote-h": BatchState.HELD,
        "name|with|bars": BatchState.RUNNING,
        "sweep": BatchState.RUNNING,
    }
    jobs = {job.id: job for job in adapter.jobs(Answer(0, answers.LSF_BJOBS, ""))}
    assert jobs["1201"].nodes == ["hostA", "hostB"]
    assert jobs["1202"].reason == "New job is waiting for scheduling;"
    assert (jobs["1206"].exit_status, jobs["1207"].exit_status) == (0, 3)
    assert jobs["1210"].elements == {0: BatchState.COMPLETED, 1: BatchState.RUNNING, 2: BatchState.QUEUED}


def test_how_sge_tells_of_jobs() -> None:
    adapter = make_adapter("sge")

    assert states(adapter, answers.SGE_QSTAT) == {
        "sremote-a": BatchState.RUNNING,
        "a <b> & c": BatchState.RUNNING,
        "held": BatchState.HELD,
        "broken": BatchState.HELD,
    }
    first, array, *_ = adapter.jobs(Answer(0, answers.SGE_QSTAT, ""))
    assert first.nodes == ["node07.cluster"]
    assert array.elements == {0: BatchState.RUNNING, **dict.fromkeys((1, 2, 3), BatchState.QUEUED)}


def test_half_an_answer_of_sge_tells_nothing() -> None:
    with pytest.raises(SchedulerAway):
        make_adapter("sge").jobs(Answer(0, answers.SGE_QSTAT[:900], ""))


def test_how_flux_tells_of_jobs() -> None:
    adapter = make_adapter("flux")

    assert states(adapter, answers.FLUX_JOBS) == {
        "sremote-a": BatchState.RUNNING,
        "sremote-b": BatchState.QUEUED,
        "sremote-c": BatchState.HELD,
        "sremote-d": BatchState.COMPLETED,
        "sremote-e": BatchState.FAILED,
        "sremote-f": BatchState.CANCELLED,
        "name|with|bars": BatchState.WALLTIME,
    }
    assert adapter.jobs(Answer(0, answers.FLUX_JOBS, ""))[4].exit_status == 3


def test_slurm_asks_a_job_s_own_cluster() -> None:
    adapter = make_adapter("slurm")

    assert "--clusters=alpha" in adapter.query_command(["7;alpha"]).argv
    assert "--jobs=7" in adapter.query_command(["7;alpha"]).argv
    assert adapter.cancel_command(["7;alpha"]).argv == ["scancel", "--quiet", "--clusters=alpha", "7"]
    (job,) = adapter.jobs(Answer(0, "CLUSTER: alpha\n7|7|N/A|RUNNING|None|n1|sremote-x\n", ""))
    assert job.id == "7;alpha"


def test_slurm_names_may_hold_bars_and_warnings_are_passed_over() -> None:
    text = "squeue: warning\n8|8|N/A|PENDING|Resources||a|b|c\n"
    (job,) = make_adapter("slurm").jobs(Answer(0, text, ""))
    assert (job.name, job.reason) == ("a|b|c", "Resources")
