"""Grid Engine (Sun, Son of, Open, Altair): qsub, qstat, qdel.

Formats are those of qsub(1) and qstat(1).  A job that has ended is no longer known to
qstat; qacct would know it, later and slowly, and is not asked.
"""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from sremote.connectors.batch import BatchJob, BatchScript, BatchState
from sremote.schedulers.adapter import (
    Adapter,
    Answer,
    Command,
    hours_minutes_seconds,
    join_arrays,
    kibibytes,
    render,
)

_PROFILE = ". /etc/profile >/dev/null 2>&1"  # Grid Engine drops the -l of a script's first line


class Sge(Adapter):
    """Grid Engine."""

    name = "sge"
    programs = ("qsub", "qconf")
    absent = ("sge_root",)
    away = (
        "commlib error",
        "unable to contact qmaster",
        "unable to send message to qmaster",
        "can't get response from qmaster",
        "connection refused",
        "got no connection within",
    )

    def script(self, script: BatchScript) -> str:
        """Return the batch script, with ``#$`` lines."""
        resources = script.resources
        options = [
            ["-N", script.name],
            ["-S", "/bin/bash" if resources.preamble else "/bin/sh"],
            ["-wd", script.folder],
            ["-o", "/dev/null"],
            ["-j", "y"],
            ["-r", "y" if resources.requeue else "n"],
        ]
        slots = (resources.tasks or resources.nodes or 1) * (resources.cores or 1)
        if slots > 1 and not any("-pe " in line for line in resources.extra):
            one_node = slots == (resources.cores or 1) or resources.nodes == 1
            options.append(["-pe", "smp" if one_node else "mpi", str(slots)])
        if resources.memory is not None:
            slots_of_node = -(-slots // (resources.nodes or 1))
            options.append(["-l", f"h_vmem={-(-kibibytes(resources.memory) // slots_of_node)}K"])
        if resources.gpus is not None:
            options.append(["-l", f"gpu={resources.gpus}"])
        if resources.walltime is not None:
            options.append(["-l", f"h_rt={hours_minutes_seconds(resources.walltime)}"])
        if resources.queue is not None:
            options.append(["-q", resources.queue])
        if resources.account is not None:
            options.append(["-P", resources.account])
        if resources.array is not None:
            options.append(["-t", f"1-{resources.array}"])
            if resources.at_once is not None:
                options.append(["-tc", str(resources.at_once)])
        if resources.after:
            options.append(["-hold_jid", ",".join(resources.after)])
        profile = [_PROFILE] if resources.preamble else []
        return render(script, [f"#$ {shlex.join(each)}" for each in options], "$((SGE_TASK_ID - 1))", *profile)

    def submit_command(self, script: BatchScript) -> Command:
        """Return qsub, which reads the script from its standard input."""
        return Command(["qsub", "-terse"], self.script(script))

    def submitted(self, answer: Answer) -> str:
        """Return the id from ``123``, or ``123.1-8:1`` of an array."""
        self.check_submitted(answer)
        found = re.search(r"^(\d+)(\.\d+-\d+:\d+)?$", answer.stdout, re.MULTILINE)
        if found is None:
            raise self.unreadable(answer)
        return found[1]

    def query_command(self, ids: Sequence[str]) -> Command:
        """Return qstat for all jobs of the user: it cannot be asked for some with their states."""
        return Command(["sh", "-c", 'exec qstat -u "$(id -un)" -g d -xml'], name="qstat")

    def find_command(self, name: str) -> Command:
        """Return the same: it cannot be asked by name either."""
        return self.query_command([])

    def jobs(self, answer: Answer) -> list[BatchJob]:
        """Return the jobs of the user that are waiting or running."""
        if answer.status != 0 or "</job_info>" not in answer.stdout:
            self.check_reached(answer)
            raise self.unreadable(answer)
        found = []
        for entry in re.findall(r"<job_list\b.*?</job_list>", answer.stdout, re.DOTALL):
            fields = {key: html.unescape(text) for key, text in re.findall(r"<(\w+)[^<>]*>([^<]*)</", entry)}
            state = fields.get("state", "")
            host = fields.get("queue_name", "").partition("@")[2]
            job = BatchJob(
                fields.get("JB_job_number", ""),
                fields.get("JB_name", ""),
                _state(state),
                f"state {state}" if "E" in state or "h" in state else "",
                nodes=[host] if host else [],
            )
            found += [(job, index) for index in _indices(fields)]
        return sorted(join_arrays(found), key=lambda job: int(job.id or 0))

    def cancel_command(self, ids: Sequence[str]) -> Command:
        """Return qdel."""
        return Command(["qdel", *ids])


def _indices(fields: Mapping[str, str]) -> Iterator[int | None]:
    """Yield the indices from 0 that ``tasks`` names: ``3``, ``1-8:1``, ``2,5-7:1``; None where there are none."""
    if not fields.get("tasks"):
        yield None
        return
    for part in fields["tasks"].split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part.strip())
        if found is not None:
            first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
            yield from range(first - 1, last, step)


def _state(letters: str) -> BatchState:
    if "E" in letters or "h" in letters:  # an error, which holds it until somebody clears that
        return BatchState.HELD
    if "q" in letters or letters == "w":
        return BatchState.QUEUED
    return BatchState.RUNNING
