"""Flux: flux batch, flux jobs, flux cancel.

Formats are those of flux-batch(1), flux-jobs(1) and, for ids, RFC 19 (FLUID).  Flux has
no arrays: a job of its own, which is a Flux instance, submits the elements.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Sequence

from sremote.connectors.batch import BatchJob, BatchScript, BatchState, Resources
from sremote.connectors.errors import UsageError
from sremote.schedulers.adapter import INDEX, Adapter, Answer, Command, render

# The name last, as it may hold anything.
_FORMAT = "{id.dec}|{status}|{urgency}|{returncode}|{nodelist}|{exception.type}|{name}"
_F58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""The digits of Flux's base 58."""

_STATES = {
    "PENDING": BatchState.QUEUED,
    "DEPEND": BatchState.QUEUED,
    "PRIORITY": BatchState.QUEUED,
    "SCHED": BatchState.QUEUED,
    "RUNNING": BatchState.RUNNING,
    "RUN": BatchState.RUNNING,
    "CLEANUP": BatchState.RUNNING,
    "COMPLETED": BatchState.COMPLETED,
    "FAILED": BatchState.FAILED,
    "CANCELED": BatchState.CANCELLED,
    "TIMEOUT": BatchState.WALLTIME,
}


class Flux(Adapter):
    """Flux."""

    name = "flux"
    programs = ("flux",)
    absent = ("broker socket", "no flux instance")
    away = (
        "unable to connect to flux",
        "error connecting to flux",
        "broker socket",
        "connection refused",
        "connection reset",
        "no route to host",
        "resource temporarily unavailable",
    )

    def script(self, script: BatchScript) -> str:
        """Return the batch script, with ``# flux:`` lines."""
        resources = script.resources
        self.without(
            resources,
            memory="it gives memory with the cores",
            requeue="it never starts a job again by itself",
        )
        slots = resources.tasks or resources.nodes or 1
        if resources.array is not None:
            if slots > 1:
                raise UsageError("flux has no way to give 'array' together with 'nodes' or 'tasks'", "Ask for 'cores'.")
            slots = min(resources.array, resources.at_once or resources.array)
        options = [f"--job-name={script.name}", f"--cwd={script.folder}", "--output=/dev/null", f"--nslots={slots}"]
        if resources.nodes is not None:
            options.append(f"--nodes={resources.nodes}")
        if resources.cores is not None:
            options.append(f"--cores-per-slot={resources.cores}")
        if resources.gpus is not None:
            options.append(f"--gpus-per-slot={_for_each(slots, resources)}")
        if resources.walltime is not None:
            options.append(f"--time-limit={max(1, round(resources.walltime))}s")
        if resources.queue is not None:
            options.append(f"--queue={resources.queue}")
        if resources.account is not None:
            options.append(f"--bank={resources.account}")
        options += [f"--dependency=afterok:{each}" for each in resources.after]
        if resources.array is not None:
            script = _array(script)
        return render(script, [f"# flux: {shlex.quote(option)}" for option in options], "")

    def submit_command(self, script: BatchScript) -> Command:
        """Return flux batch, which reads the script from its standard input."""
        return Command(["flux", "batch"], self.script(script))

    def submitted(self, answer: Answer) -> str:
        """Return the id as a decimal number, from the base 58 in which it is told."""
        self.check_submitted(answer)
        for line in reversed(answer.stdout.splitlines()):
            if re.fullmatch(r"\d+", line.strip()):
                return line.strip()
            if re.fullmatch(f"[ƒf][{_F58}]+", line.strip()):
                number = 0
                for digit in line.strip()[1:]:
                    number = number * 58 + _F58.index(digit)
                return str(number)
        raise self.unreadable(answer)

    def query_command(self, ids: Sequence[str]) -> Command:
        """Return flux jobs."""
        return Command(["flux", "jobs", "-a", "-n", "-o", _FORMAT, *ids])

    def find_command(self, name: str) -> Command:
        """Return flux jobs for all jobs of the user: older ones cannot be asked by name."""
        return Command(["flux", "jobs", "-a", "-n", "-c", "0", "-o", _FORMAT])

    def jobs(self, answer: Answer) -> list[BatchJob]:
        """Return the jobs of flux jobs's lines; of those that it does not know it says so."""
        if answer.status != 0 and not re.search(r"JobID \S+ unknown|unknown job ?id", answer.stderr, re.IGNORECASE):
            self.check_reached(answer)
            raise self.unreadable(answer)
        found = []
        for line in answer.stdout.splitlines():
            fields = line.split("|", 6)
            if len(fields) != 7 or not fields[0].isdigit():
                continue
            job_id, state, urgency, status, nodes, reason, name = fields
            known = _STATES.get(state, BatchState.QUEUED)
            found.append(
                BatchJob(
                    job_id,
                    name,
                    BatchState.HELD if known is BatchState.QUEUED and urgency == "0" else known,
                    reason,
                    int(status) if re.fullmatch(r"-?\d+", status) else None,
                    [nodes] if nodes else [],
                )
            )
        return sorted(found, key=lambda job: int(job.id))

    def cancel_command(self, ids: Sequence[str]) -> Command:
        """Return flux cancel."""
        return Command(["flux", "cancel", *ids])

    def own_launcher(self, resources: Resources) -> Sequence[str]:
        """Return flux run, which takes its place within the job."""
        cores = [] if resources.cores is None else [f"--cores-per-task={resources.cores}"]
        return ["flux", "run", f"--ntasks={resources.tasks}", *cores]


def _array(script: BatchScript) -> BatchScript:
    """Return the script of a job that submits the elements of an array to itself, and waits for them."""
    resources = script.resources
    cores = [] if resources.cores is None else [f"--cores-per-task={resources.cores}"]
    gpus = [] if resources.gpus is None else [f"--gpus-per-task={resources.gpus}"]
    element = f'export {INDEX}="$FLUX_JOB_CC"; exec "$@"'
    command = [
        *("flux", "submit", "--wait", "--quiet", f"--cc=0-{(resources.array or 1) - 1}", *cores, *gpus),
        *("sh", "-c", element, "sh", *script.command),
    ]
    return dataclasses.replace(script, command=command, resources=dataclasses.replace(resources, array=None))


def _for_each(slots: int, resources: Resources) -> int:
    """Return the GPUs of each slot.  Raises UsageError where they cannot be shared out evenly."""
    gpus = resources.gpus or 0
    if resources.array is not None:
        return gpus
    whole, rest = divmod(gpus * (resources.nodes or 1), slots)
    if rest:
        raise UsageError(
            f"flux cannot share out {gpus * (resources.nodes or 1)} GPUs among {slots} tasks",
            "Change 'gpus' (for each node) or 'tasks'.",
        )
    return whole
