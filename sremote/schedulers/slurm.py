"""Slurm: sbatch, squeue, scancel.

Formats are those of sbatch(1) and squeue(1), the same from Slurm 17 to 25.  sacct is
not asked, as many sites have no accounting database: a job's own response is what
tells how it ended.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from sremote.connectors.batch import BatchJob, BatchScript, BatchState, Resources
from sremote.schedulers.adapter import (
    Adapter,
    Answer,
    Command,
    hours_minutes_seconds,
    join_arrays,
    kibibytes,
    render,
)

# The job's id, that of its array, its index there, state, reason, nodes; the name last, as it may hold anything.
_FORMAT = "%i|%F|%K|%T|%r|%N|%j"

# Within another Slurm job, what that was given would count for this one as well.
_OUTSIDE = """[ -z "$SLURM_JOB_ID" ] || for name in $(env | sed -n 's/^\\(SLURM_[A-Z0-9_]*\\)=.*/\\1/p'); do
    case $name in SLURM_CONF | SLURM_CLUSTERS | SLURM_JWT) ;; *) unset "$name" ;; esac
done
exec "$@\""""

_STATES = {
    "PENDING": BatchState.QUEUED,
    "CONFIGURING": BatchState.QUEUED,
    "REQUEUED": BatchState.QUEUED,
    "REQUEUE_FED": BatchState.QUEUED,
    "REQUEUE_HOLD": BatchState.HELD,
    "RESV_DEL_HOLD": BatchState.HELD,
    "SPECIAL_EXIT": BatchState.HELD,
    "RUNNING": BatchState.RUNNING,
    "COMPLETING": BatchState.RUNNING,
    "STAGE_OUT": BatchState.RUNNING,
    "RESIZING": BatchState.RUNNING,
    "SIGNALING": BatchState.RUNNING,
    "SUSPENDED": BatchState.RUNNING,
    "STOPPED": BatchState.RUNNING,
    "COMPLETED": BatchState.COMPLETED,
    "CANCELLED": BatchState.CANCELLED,
    "PREEMPTED": BatchState.CANCELLED,
    "REVOKED": BatchState.CANCELLED,
    "FAILED": BatchState.FAILED,
    "DEADLINE": BatchState.WALLTIME,
    "TIMEOUT": BatchState.WALLTIME,
    "OUT_OF_MEMORY": BatchState.OUT_OF_MEMORY,
    "BOOT_FAIL": BatchState.NODE_FAILED,
    "NODE_FAIL": BatchState.NODE_FAILED,
}
_HELD = ("JobHeld", "launch_failed_requeued_held", "job_requeued_in_held_state")
"""Beginnings of the reasons of jobs that wait until somebody releases them."""


class Slurm(Adapter):
    """Slurm."""

    name = "slurm"
    programs = ("sbatch", "squeue")
    absent = ("could not establish a configuration source",)
    away = (
        "unable to contact slurm controller",
        "unable to establish control machine address",
        "socket timed out",
        "zero bytes were transmitted or received",
        "connection refused",
        "connection timed out",
        "communication connection failure",
        "transport endpoint is not connected",
        "controller is in standby mode",
        "slurm backup controller",
        "temporarily unable to accept job",
        "slurm_load_jobs error",
        "connect failure",
        "could not establish a configuration source",
    )

    def script(self, script: BatchScript) -> str:
        """Return the batch script, with ``#SBATCH`` lines."""
        resources = script.resources
        options = [
            f"--job-name={script.name}",
            f"--chdir={script.folder}",
            "--output=/dev/null",
            "--requeue" if resources.requeue else "--no-requeue",
        ]
        if script.comment:
            options.append(f"--comment={script.comment}")
        if resources.nodes is not None:
            options.append(f"--nodes={resources.nodes}")
        if resources.tasks is not None:
            options.append(f"--ntasks={resources.tasks}")
        if resources.cores is not None:
            options.append(f"--cpus-per-task={resources.cores}")
        if resources.memory is not None:
            options.append(f"--mem={kibibytes(resources.memory)}K")
        if resources.gpus is not None:
            options.append(f"--gres=gpu:{resources.gpus}")
        if resources.walltime is not None:
            options.append(f"--time={hours_minutes_seconds(resources.walltime)}")
        if resources.queue is not None:
            options.append(f"--partition={resources.queue}")
        if resources.account is not None:
            options.append(f"--account={resources.account}")
        if resources.array is not None:
            at_once = "" if resources.at_once is None else f"%{resources.at_once}"
            options.append(f"--array=0-{resources.array - 1}{at_once}")
        if resources.after:
            options.append("--dependency=afterok:" + ":".join(_number(each) for each in resources.after))
            options.append("--kill-on-invalid-dep=yes")  # else it would wait for ever
        return render(script, [f"#SBATCH {shlex.quote(option)}" for option in options], "$SLURM_ARRAY_TASK_ID")

    def submit_command(self, script: BatchScript) -> Command:
        """Return sbatch, which reads the script from its standard input."""
        return Command(["sh", "-c", _OUTSIDE, "sh", "sbatch", "--parsable"], self.script(script), "sbatch")

    def submitted(self, answer: Answer) -> str:
        """Return the job's id, followed by ``;`` and the cluster where sbatch names one."""
        self.check_submitted(answer)
        for line in reversed(answer.stdout.splitlines()):
            if re.fullmatch(r"\d+(;[\w.-]+)?", line.strip()):
                return line.strip()
        raise self.unreadable(answer)

    def query_command(self, ids: Sequence[str]) -> Command:
        """Return squeue; a job that has ended stays known to it for ``MinJobAge``, 5 minutes by default."""
        return self._squeue(f"--jobs={','.join(_number(each) for each in ids)}", _clusters(ids))

    def find_command(self, name: str) -> Command:
        """Return squeue for a name."""
        return self._squeue(f"--name={name}", [])

    def _squeue(self, which: str, clusters: Sequence[str]) -> Command:
        return Command(["squeue", "--noheader", "--array", "--states=all", which, f"--format={_FORMAT}", *clusters])

    def jobs(self, answer: Answer) -> list[BatchJob]:
        """Return the jobs of squeue's lines; it leaves out those that it does not know."""
        if answer.status != 0 and "Invalid job id specified" not in answer.stderr:
            raise self._no_answer(answer)
        found, cluster = [], ""
        for line in answer.stdout.splitlines():
            if line.startswith("CLUSTER: "):
                cluster = ";" + line.removeprefix("CLUSTER: ").strip()
            fields = line.split("|", 6)
            if len(fields) != 7 or not fields[1].isdigit():
                continue  # a warning, or a cluster's heading
            _, array, index, state, reason, nodes, name = fields
            found.append(
                (
                    BatchJob(
                        array + cluster,
                        name,
                        _state(state, reason),
                        "" if reason == "None" else reason,
                        nodes=[nodes] if nodes else [],
                    ),
                    int(index) if index.isdigit() else None,
                )
            )
        return sorted(join_arrays(found), key=lambda job: int(_number(job.id)))

    def cancel_command(self, ids: Sequence[str]) -> Command:
        """Return scancel."""
        return Command(["scancel", "--quiet", *_clusters(ids), *(_number(each) for each in ids)])

    def own_launcher(self, resources: Resources) -> Sequence[str]:
        """Return srun, which takes the number of tasks from the job."""
        cores = [] if resources.cores is None else [f"--cpus-per-task={resources.cores}"]
        return ["srun", f"--ntasks={resources.tasks}", *cores, "--kill-on-bad-exit=1"]

    def _no_answer(self, answer: Answer) -> Exception:
        self.check_reached(answer)
        return self.unreadable(answer)


def _state(state: str, reason: str) -> BatchState:
    if state == "PENDING" and reason.startswith(_HELD):
        return BatchState.HELD
    return _STATES.get(state, BatchState.QUEUED)


def _number(job_id: str) -> str:
    return job_id.partition(";")[0]


def _clusters(ids: Sequence[str]) -> list[str]:
    named = sorted({each.partition(";")[2] for each in ids} - {""})
    return [f"--clusters={','.join(named)}"] if named else []
