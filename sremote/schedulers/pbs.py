"""PBS: OpenPBS and PBS Professional, by qsub, qstat, qselect and qdel.

Formats are those of the PBS Professional Reference Guide.  ``qstat -f`` is read, not
its JSON, which older servers write in a way that no reader takes.
"""

from __future__ import annotations

import re
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

_STATES = {
    "Q": BatchState.QUEUED,
    "W": BatchState.QUEUED,
    "T": BatchState.QUEUED,
    "M": BatchState.QUEUED,
    "H": BatchState.HELD,
    "R": BatchState.RUNNING,
    "B": BatchState.RUNNING,
    "E": BatchState.RUNNING,
    "S": BatchState.RUNNING,
    "U": BatchState.RUNNING,
}
_EXIT_STATUSES = {
    -29: BatchState.WALLTIME,
    -27: BatchState.OUT_OF_MEMORY,
    -26: BatchState.OUT_OF_MEMORY,
}
"""Some of what PBS itself ends a job with: walltime, memory, virtual memory."""
_DELETED = "91"
"""The substate of a job that qdel ended."""
_NAME_LENGTH = 15
"""Characters that every version of PBS takes for a job's name."""


class Pbs(Adapter):
    """OpenPBS and PBS Professional."""

    name = "pbs"
    programs = ("qsub", "qselect", "pbsnodes")
    away = (
        "cannot connect to server",
        "connection refused",
        "connection timed out",
        "communication failure",
        "end of file",
        "server is not running",
        "premature end of message",
        "invalid credential",
        "timeout",
    )

    def script(self, script: BatchScript) -> str:
        """Return the batch script, with ``#PBS`` lines."""
        resources = script.resources
        options = [
            f"-N {self.job_name(script.name)}",
            "-j oe",
            "-o /dev/null",
            f"-r {'y' if resources.requeue else 'n'}",
        ]
        chunk = self._chunk(script)
        if chunk:
            options.append(f"-l {chunk}")
        if resources.walltime is not None:
            options.append(f"-l walltime={hours_minutes_seconds(resources.walltime)}")
        if resources.queue is not None:
            options.append(f"-q {resources.queue}")
        if resources.account is not None:
            options.append(f"-A {resources.account}")
        if resources.array is not None and resources.array > 1:  # PBS has no array of one
            at_once = "" if resources.at_once is None else f"%{resources.at_once}"
            options.append(f"-J 0-{resources.array - 1}{at_once}")
        if resources.after:
            options.append("-W depend=afterok:" + ":".join(resources.after))
        return render(script, [f"#PBS {option}" for option in options], "${PBS_ARRAY_INDEX:-0}")

    def _chunk(self, script: BatchScript) -> str:
        """Return the resources of each node as ``select=…``, with tasks spread evenly over the nodes."""
        resources = script.resources
        if (resources.nodes, resources.tasks, resources.cores, resources.memory, resources.gpus) == (None,) * 5:
            return ""
        nodes = resources.nodes or 1
        tasks = -(-(resources.tasks or nodes) // nodes)
        parts = [f"select={nodes}", f"ncpus={tasks * (resources.cores or 1)}"]
        if resources.tasks is not None:
            parts.append(f"mpiprocs={tasks}")
        if resources.memory is not None:
            parts.append(f"mem={kibibytes(resources.memory)}kb")
        if resources.gpus is not None:
            parts.append(f"ngpus={resources.gpus}")
        return ":".join(parts)

    def submit_command(self, script: BatchScript) -> Command:
        """Return qsub, which reads the script from its standard input."""
        return Command(["qsub"], self.script(script))

    def submitted(self, answer: Answer) -> str:
        """Return the id, such as ``123.server`` or ``123[].server``."""
        self.check_submitted(answer)
        for line in reversed(answer.stdout.splitlines()):
            if re.fullmatch(r"\d+(\[\])?(\.[\w.-]+)?", line.strip()):
                return line.strip()
        raise self.unreadable(answer)

    def query_command(self, ids: Sequence[str]) -> Command:
        """Return qstat, with the subjobs of arrays, and with the history where the server keeps one."""
        return Command(["qstat", "-x", "-f", "-t", *ids])

    def find_command(self, name: str) -> Command:
        """Return qselect by name, and qstat for what it finds."""
        script = 'ids=$(qselect -x -N "$1") || exit; [ -z "$ids" ] || exec qstat -x -f -t $ids'
        return Command(["sh", "-c", script, "sh", self.job_name(name)], name="qselect")

    def jobs(self, answer: Answer) -> list[BatchJob]:
        """Return the jobs of qstat's paragraphs; of those that it does not know it says so."""
        if answer.status != 0:
            complaints = [line for line in answer.stderr.splitlines() if line.strip()]
            if not complaints or any("Unknown Job Id" not in line for line in complaints):
                self.check_reached(answer)
                raise self.unreadable(answer)
        return join_arrays([_job(name, fields) for name, fields in _paragraphs(answer.stdout)])

    def cancel_command(self, ids: Sequence[str]) -> Command:
        """Return qdel."""
        return Command(["qdel", *ids])

    def job_name(self, name: str) -> str:
        """Return the end of a name, where all its randomness is, behind a letter."""
        return name if len(name) <= _NAME_LENGTH and name[:1].isalpha() else "s" + name[1 - _NAME_LENGTH :]


def _paragraphs(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the id and the attributes of each job; a line that begins with a tab goes on with the one before."""
    for paragraph in re.split(r"^Job Id: ", text, flags=re.MULTILINE)[1:]:
        head, _, rest = paragraph.partition("\n")
        lines = rest.replace("\n\t", "").splitlines()
        pairs = (line.strip().partition(" = ") for line in lines)
        yield head.strip(), {key: value for key, equals, value in pairs if equals}


def _job(job_id: str, fields: Mapping[str, str]) -> tuple[BatchJob, int | None]:
    index = re.search(r"\[(\d+)\]", job_id)
    text = fields.get("Exit_status", "")
    status = int(text) if text.lstrip("-").isdigit() else None
    hosts = [place.partition("/")[0] for place in fields.get("exec_host", "").split("+") if place]
    job = BatchJob(
        job_id if index is None else job_id.replace(index[0], "[]"),
        fields.get("Job_Name", ""),
        _state(fields, status),
        fields.get("comment", ""),
        status,
        list(dict.fromkeys(hosts)),
    )
    return job, None if index is None else int(index[1])


def _state(fields: Mapping[str, str], status: int | None) -> BatchState:
    letter = fields.get("job_state", "Q")
    if letter not in ("F", "X"):
        return _STATES.get(letter, BatchState.QUEUED)
    if status in _EXIT_STATUSES:
        return _EXIT_STATUSES[status]
    if "exceeded resource walltime" in fields.get("comment", ""):
        return BatchState.WALLTIME
    if status == 0:
        return BatchState.COMPLETED
    if fields.get("substate") == _DELETED or status is None:
        return BatchState.CANCELLED
    return BatchState.FAILED
