"""One rank of a function that runs in several processes at once; ``launch.py`` has the whole."""

import os
from typing import Any, Dict, Tuple

from .errors import FormatError
from .execution import carry_out, prepare
from .job import Job
from .launch import PREFIX, has_failed
from .ranks import RANK, RANKS, rank
from .run import read_request, settle
from .streams import flush
from .wire import Header, Message

_NUMBERED_BY = (
    "OMPI_COMM_WORLD_RANK",
    "PMIX_RANK",
    "MV2_COMM_WORLD_RANK",
    "PMI_RANK",
    "PALS_RANKID",
    "MPI_RANKID",
    "FLUX_TASK_RANK",
    "SLURM_PROCID",
)
"""What launchers tell each process its rank by.  Slurm's comes last: a batch script has it too, and hands it on."""


def be_rank(job: Job) -> int:
    """Carry out a job's request as one of its ranks; return the exit status."""
    message = Message({})
    outcome, header = _carry_out(job, message)
    flush()
    failed = has_failed(outcome)
    if failed or rank() == 0:
        _leave(job, Message({"outcome": outcome, "id": header.get("id", job.id)}, message.sections))
    return 1 if failed else 0


def _carry_out(job: Job, message: Message) -> Tuple[Dict[str, Any], Header]:
    try:
        request = read_request(job)
    except FormatError as error:
        return {"outcome": "refused", "reason": "request", "text": str(error)}, {}
    number = next((os.environ[name] for name in _NUMBERED_BY if os.environ.get(name, "").isdigit()), None)
    if number is None:
        text = "the launcher does not tell a process its rank by any of {}".format(", ".join(_NUMBERED_BY))
        return {"outcome": "refused", "reason": "command", "text": text}, request.header
    os.environ[RANK], os.environ[RANKS] = number, str(request.header["launch"]["ranks"])
    return carry_out(request, message, lambda: prepare(request.header), settle), request.header


def _leave(job: Job, message: Message) -> None:
    """Write what the job's own process reads when all ranks have ended."""
    path = job.path("{}{}".format(PREFIX, rank()))
    with open(os.open(path + ".part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        for chunk in message.chunks():
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".part", path)
