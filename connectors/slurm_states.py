"""Slurm's words for how a job is, which several gateways hand on (squeue(1), "JOB STATE CODES")."""

from __future__ import annotations

from sremote.connectors.batch import BatchState

_STATES = {
    "PENDING": BatchState.QUEUED,
    "CONFIGURING": BatchState.QUEUED,
    "REQUEUED": BatchState.QUEUED,
    "REQUEUE_FED": BatchState.QUEUED,
    "REQUEUE_HOLD": BatchState.HELD,
    "RESV_DEL_HOLD": BatchState.HELD,
    "SPECIAL_EXIT": BatchState.HELD,
    "COMPLETED": BatchState.COMPLETED,
    "CANCELLED": BatchState.CANCELLED,
    "REVOKED": BatchState.CANCELLED,
    "PREEMPTED": BatchState.CANCELLED,
    "FAILED": BatchState.FAILED,
    "LAUNCH_FAILED": BatchState.FAILED,
    "BOOT_FAIL": BatchState.NODE_FAILED,
    "NODE_FAIL": BatchState.NODE_FAILED,
    "OUT_OF_MEMORY": BatchState.OUT_OF_MEMORY,
    "TIMEOUT": BatchState.WALLTIME,
    "DEADLINE": BatchState.WALLTIME,
}


def state_of(words: object) -> BatchState:
    """Return the state that Slurm's words mean, such as ``CANCELLED by 1000``; what else there is counts as running."""
    text = str(words[0] if isinstance(words, list) and words else words)
    return _STATES.get(text.split()[0].rstrip("+").upper() if text.split() else "", BatchState.RUNNING)


def slurm_directives(name: str, resources: object) -> list[str]:
    """Return the head of a script for Slurm."""
    from sremote.connectors.batch import Resources
    from sremote.connectors.shell_script import clock

    assert isinstance(resources, Resources)
    wanted = {
        "job-name": name,
        "account": resources.account,
        "partition": resources.queue,
        "nodes": resources.nodes,
        "ntasks": resources.tasks,
        "cpus-per-task": resources.cores,
        "mem": None if resources.memory is None else f"{-(-resources.memory // (1 << 20))}M",
        "gpus-per-node": resources.gpus,
        "time": None if resources.walltime is None else clock(resources.walltime),
        "array": None if resources.array is None else _array(resources.array, resources.at_once),
        "dependency": "afterok:" + ":".join(resources.after) if resources.after else None,
    }
    lines = [f"#SBATCH --{key}={value}" for key, value in wanted.items() if value is not None]
    return [*lines, "#SBATCH --requeue" if resources.requeue else "#SBATCH --no-requeue"]


def _array(size: int, at_once: int | None) -> str:
    return f"0-{size - 1}" + (f"%{at_once}" if at_once else "")
