"""IBM Spectrum LSF 10.1: bsub, bjobs, bkill.

Formats are those of the LSF Command Reference.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from sremote.connectors.batch import BatchJob, BatchScript, BatchState
from sremote.schedulers.adapter import Adapter, Answer, Command, join_arrays, kibibytes, render

# The name last, as it may hold anything.  With a delimiter, nothing is cut off.
_FORMAT = "jobid jobindex stat exit_code exec_host exit_reason pend_reason job_name delimiter='|'"

_STATES = {
    "PEND": BatchState.QUEUED,
    "PROV": BatchState.QUEUED,
    "WAIT": BatchState.QUEUED,
    "PSUSP": BatchState.HELD,
    "RUN": BatchState.RUNNING,
    "USUSP": BatchState.RUNNING,
    "SSUSP": BatchState.RUNNING,
    "UNKWN": BatchState.RUNNING,  # its node does not answer: it may well be running
    "ZOMBI": BatchState.NODE_FAILED,
    "DONE": BatchState.COMPLETED,
    "EXIT": BatchState.FAILED,
}
_REASONS = {
    "TERM_RUNLIMIT": BatchState.WALLTIME,
    "TERM_MEMLIMIT": BatchState.OUT_OF_MEMORY,
    "TERM_SWAP": BatchState.OUT_OF_MEMORY,
    "TERM_OWNER": BatchState.CANCELLED,
    "TERM_FORCE_OWNER": BatchState.CANCELLED,
    "TERM_ADMIN": BatchState.CANCELLED,
    "TERM_FORCE_ADMIN": BatchState.CANCELLED,
    "TERM_REMOVE_HUNG_JOB": BatchState.NODE_FAILED,
}
"""How a job with the state EXIT ended, by the first word of its reason."""


class Lsf(Adapter):
    """IBM Spectrum LSF."""

    name = "lsf"
    programs = ("bsub", "bjobs")
    absent = ("lsf.conf", "lsf_envdir")
    away = (
        "lsf is down",
        "cannot connect to lsf",
        "batch daemon not responding",
        "batch system daemon not responding",
        "failed in an lsf library call",
        "communication time out",
        "host does not respond",
        "slave lim configuration is not ready",
    )

    def script(self, script: BatchScript) -> str:
        """Return the batch script, with ``#BSUB`` lines."""
        resources = script.resources
        name = script.name
        if resources.array is not None:
            name += f"[1-{resources.array}]" + ("" if resources.at_once is None else f"%{resources.at_once}")
        options = [
            ["-J", name],
            ["-cwd", script.folder],
            ["-o", "/dev/null"],
            ["-r" if resources.requeue else "-rn"],
        ]
        if script.comment:
            options.append(["-Jd", script.comment])
        slots = (resources.tasks or resources.nodes or 1) * (resources.cores or 1)
        if (resources.nodes, resources.tasks, resources.cores) != (None, None, None):
            per_node = -(-slots // resources.nodes) if resources.nodes is not None else None
            # Cores of one task are of one node.
            spread = "hosts=1" if slots == (resources.cores or 1) else f"ptile={per_node or resources.cores or 1}"
            options += [["-n", str(slots)], ["-R", f"span[{spread}]"]]
        if resources.memory is not None:
            options.append(["-R", f"rusage[mem={-(-kibibytes(resources.memory) // 1024)}MB]"])
        if resources.gpus is not None:
            options.append(["-gpu", f"num={resources.gpus}"])
        if resources.walltime is not None:
            options.append(["-W", str(max(1, -(-round(resources.walltime) // 60)))])
        if resources.queue is not None:
            options.append(["-q", resources.queue])
        if resources.account is not None:
            options.append(["-P", resources.account])
        if resources.after:
            options.append(["-w", " && ".join(f"done({each})" for each in resources.after)])
        return render(script, [f"#BSUB {shlex.join(option)}" for option in options], "$((LSB_JOBINDEX - 1))")

    def submit_command(self, script: BatchScript) -> Command:
        """Return bsub, which reads the script from its standard input."""
        return Command(["bsub"], self.script(script))

    def submitted(self, answer: Answer) -> str:
        """Return the id from ``Job <123> is submitted to queue <normal>.``"""
        self.check_submitted(answer)
        found = re.search(r"^Job <(\d+)> is submitted", answer.stdout, re.MULTILINE)
        if found is None:
            raise self.unreadable(answer)
        return found[1]

    def query_command(self, ids: Sequence[str]) -> Command:
        """Return bjobs; a job that has ended stays known to it for ``CLEAN_PERIOD``, an hour by default."""
        return Command(["bjobs", "-a", "-noheader", "-o", _FORMAT, *ids])

    def find_command(self, name: str) -> Command:
        """Return bjobs for a name."""
        return Command(["bjobs", "-a", "-noheader", "-o", _FORMAT, "-J", name])

    def jobs(self, answer: Answer) -> list[BatchJob]:
        """Return the jobs of bjobs's lines; of those that it does not know it says so."""
        self.check_reached(Answer(answer.status, "", answer.stderr))
        if answer.status != 0 and not re.search(r"\bnot found|No .*job found", answer.stderr):
            raise self.unreadable(answer)
        found = []
        for line in answer.stdout.splitlines():
            fields = [field.strip() for field in line.split("|", 7)]
            if len(fields) != 8 or not fields[0].isdigit():
                continue
            job_id, index, state, status, hosts, exit_reason, pend_reason, name = fields
            reason = next((each for each in (exit_reason, pend_reason) if each not in ("-", "")), "")
            job = BatchJob(
                job_id,
                name.partition("[")[0],
                _REASONS.get(reason.partition(":")[0], _STATES[state]) if state == "EXIT" else _STATES[state],
                reason,
                int(status) if status.isdigit() else 0 if state == "DONE" else None,
                list(dict.fromkeys(host.rpartition("*")[2] for host in hosts.split(":") if host not in ("-", ""))),
            )
            found.append((job, int(index) - 1 if index.isdigit() and int(index) else None))
        return sorted(join_arrays(found), key=lambda job: int(job.id))

    def cancel_command(self, ids: Sequence[str]) -> Command:
        """Return bkill."""
        return Command(["bkill", *ids])
