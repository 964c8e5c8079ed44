"""Schedulers that are not on this machine: programs in their place that take the scripts and run them.

They stand for the schedulers' commands as far as those read a script from standard
input, run it with the environment of a job, and print what the documentation shows.
"""

import sys
from pathlib import Path

import pytest

import sremote
from sremote.connectors.batch import BatchState
from sremote.errors import HostError, NotInstalled, UsageError
from sremote.schedulers.detection import find_batch_system
from tests.schedulers.batch_jobs import script_of, shell

SUBMIT = """#!/bin/sh
cat > {folder}/script
echo "$@" > {folder}/arguments
{variables} sh {folder}/script >/dev/null 2>&1
{answer}
"""
QUERY = "#!/bin/sh\ncat {folder}/answer\n"


class Scheduler:
    """One of them, and what its commands print."""

    def __init__(self, name: str, programs: dict[str, str], row: str) -> None:
        self.name = name
        self.programs = programs
        self.row = row
        """What a question is answered with; NAME stands for the job's name."""


def submit(answer: str, variables: str = "") -> str:
    return SUBMIT.replace("{variables}", variables).replace("{answer}", answer)


SCHEDULERS = {
    "pbs": Scheduler(
        "pbs",
        {
            "qsub": submit("echo 77.pbs01", "PBS_ARRAY_INDEX=2"),
            "qstat": QUERY,
            "qselect": "#!/bin/sh\necho 77.pbs01\n",
            "qdel": "#!/bin/sh\necho $* > {folder}/deleted\n",
            "pbsnodes": "#!/bin/sh\n",
        },
        "Job Id: 77.pbs01\n    Job_Name = NAME\n    job_state = R\n\n",
    ),
    "lsf": Scheduler(
        "lsf",
        {
            "bsub": submit("echo 'Job <77> is submitted to queue <normal>.'", "LSB_JOBINDEX=3"),
            "bjobs": QUERY,
            "bkill": "#!/bin/sh\necho $* > {folder}/deleted\n",
        },
        "77|0|RUN|-|hostA|-|-|NAME\n",
    ),
    "sge": Scheduler(
        "sge",
        {
            "qsub": submit("echo 77", "SGE_TASK_ID=3"),
            "qstat": QUERY,
            "qdel": "#!/bin/sh\necho $* > {folder}/deleted\n",
            "qconf": "#!/bin/sh\n",
        },
        "<job_info><queue_info><job_list state='running'><JB_job_number>77</JB_job_number><JB_name>NAME</JB_name>"
        "<state>r</state></job_list></queue_info></job_info>\n",
    ),
}
FLUX = """#!/bin/sh
case $1 in
    batch) cat > {folder}/script; sh {folder}/script >/dev/null 2>&1; echo f2L ;;
    jobs) cat {folder}/answer ;;
    submit) shift; while [ "${1#--}" != "$1" ]; do shift; done; FLUX_JOB_CC=2 exec "$@" ;;
    cancel) shift; echo $* > {folder}/deleted ;;
esac
"""
SCHEDULERS["flux"] = Scheduler("flux", {"flux": FLUX}, "77|RUNNING|16||node3||NAME\n")


@pytest.fixture
def path(tmp_path: Path, client_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, also of a login shell; it has no real scheduler."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("sh", "cat", "id", "timeout", "env"):
        (folder / program).symlink_to(f"/usr/bin/{program}")
    monkeypatch.setenv("PATH", str(folder))
    (client_home / ".profile").write_text(f"PATH={folder}\n")
    return folder


def put(folder: Path, scheduler: Scheduler, name: str = "") -> None:
    for program, text in scheduler.programs.items():
        (folder / program).write_text(text.replace("{folder}", str(folder)))
        (folder / program).chmod(0o755)
    (folder / "answer").write_text(scheduler.row.replace("NAME", name))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_job_is_submitted_found_and_cancelled(name: str, path: Path, tmp_path: Path) -> None:
    scheduler = SCHEDULERS[name]
    put(path, scheduler)
    batch = find_batch_system(sremote.connect("local:").host, name)
    assert batch is not None
    script = script_of(tmp_path, shell('echo "$1"; export -p'), name="sremote-1")

    job_id = batch.submit(script)
    put(path, scheduler, "sremote-1")

    assert (tmp_path / "batch").exists()
    assert job_id.startswith("77")
    assert batch.jobs([job_id, "78"])[job_id].state is BatchState.RUNNING
    found = batch.find("sremote-1")
    assert found is not None
    assert found.id == job_id
    assert batch.find("sremote-2") is None
    batch.cancel([job_id])
    assert (path / "deleted").read_text().split() == [job_id]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_an_element_of_an_array_knows_its_index(name: str, path: Path, tmp_path: Path) -> None:
    put(path, SCHEDULERS[name])
    batch = find_batch_system(sremote.connect("local:").host, name)
    assert batch is not None

    batch.submit(script_of(tmp_path, shell('echo "$SREMOTE_INDEX" > index'), array=4))

    assert (tmp_path / "index").read_text() == "2\n"


@pytest.mark.parametrize("name", SCHEDULERS)
def test_auto_takes_the_scheduler_that_is_there(name: str, path: Path) -> None:
    put(path, SCHEDULERS[name])
    batch = find_batch_system(sremote.connect("local:").host, "auto")
    assert batch is not None
    assert batch.name == name


def test_auto_takes_none_where_there_is_none(path: Path) -> None:
    host = sremote.connect("local:").host
    assert find_batch_system(host, "auto") is None
    assert find_batch_system(host, None) is None


def test_auto_passes_over_commands_with_no_scheduler_behind_them(path: Path) -> None:
    put(path, SCHEDULERS["lsf"])
    for program in ("sbatch", "squeue"):
        (path / program).write_text(
            "#!/bin/sh\necho squeue: fatal: Could not establish a configuration source; exit 1\n"
        )
        (path / program).chmod(0o755)

    batch = find_batch_system(sremote.connect("local:").host, "auto")

    assert batch is not None
    assert batch.name == "lsf"


def test_a_scheduler_that_is_not_there_is_named_with_what_was_looked_for(path: Path) -> None:
    with pytest.raises(NotInstalled, match="local: there is no lsf there; looked for bsub and bjobs"):
        find_batch_system(sremote.connect("local:").host, "lsf")


def test_a_scheduler_that_only_a_login_shell_finds_is_found(path: Path, tmp_path: Path, client_home: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    put(hidden, SCHEDULERS["lsf"], "sremote-1")
    (client_home / ".profile").write_text(f"echo Welcome; PATH={path}:{hidden}\n")

    batch = find_batch_system(sremote.connect("local:").host, "auto")

    assert batch is not None
    assert batch.name == "lsf"
    assert batch.jobs(["77"])["77"].state is BatchState.RUNNING


def test_a_command_that_has_gone_is_an_error_that_says_which(path: Path, tmp_path: Path) -> None:
    put(path, SCHEDULERS["lsf"])
    batch = find_batch_system(sremote.connect("local:").host, "lsf")
    assert batch is not None
    (path / "bsub").unlink()

    with pytest.raises(HostError, match="local: bsub of lsf cannot be run"):
        batch.submit(script_of(tmp_path, ["true"]))


def test_a_request_that_cannot_be_made_is_refused_before_anything_is_run(path: Path, tmp_path: Path) -> None:
    put(path, SCHEDULERS["flux"])
    batch = find_batch_system(sremote.connect("local:").host, "flux")
    assert batch is not None

    with pytest.raises(UsageError, match="local: flux has no way to give 'memory'"):
        batch.submit(script_of(tmp_path, ["true"], memory="1G"))
    assert not (path / "script").exists()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_function_is_called_through_each_of_them(name: str, path: Path, tmp_path: Path) -> None:
    put(path, SCHEDULERS[name])
    with sremote.connect("local:", root=str(tmp_path / "root"), python=sys.executable) as client:
        job = client.submit("operator", "add", [40, 2], scheduler="auto")

        assert job.result(60) == 42
        assert job.record.scheduler == name
        assert job.record.batch_id.startswith("77")
    assert f"sremote-{job.id}" in (path / "script").read_text() or name == "pbs"
