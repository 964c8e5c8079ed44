"""Runs a function in several processes at once, as MPI programs are run: the part of the job's own process.

It starts the launcher that the request names, such as srun or mpiexec, which starts
``--rank DIRECTORY`` once for each rank; see ``rank.py``.  Rank 0's outcome is the
job's, unless another rank has failed.  Only rank 0, and ranks that fail, leave a file
``rank.N``, so that ten thousand ranks are no ten thousand files.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import Any, Callable, Dict, Optional, Tuple

from .errors import FormatError
from .functions import Refusal
from .job import Job
from .streams import flush
from .wire import Message, parse

PREFIX = "rank."
"""Begins the names of the files that ranks leave in the job's directory."""
SHARED_PATIENCE = 3.0
"""Seconds for which a file of another node may not be seen yet."""


def carry_out_ranks(job: Job, request: Message, response: Message, enter: Callable[[], None]) -> Dict[str, Any]:
    """Have a request carried out by all its ranks; return the outcome's part of a response's header."""
    launch = request.header["launch"]
    main = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
    try:
        enter()
        flush()
        status = _start(list(launch["launcher"]) + [sys.executable, main, "--rank", job.directory])
    except Refusal as refusal:
        return {"outcome": "refused", "reason": refusal.reason, "text": str(refusal)}
    found = _outcome(job, status)
    _remove_left(job)
    if found is None:
        if status < 0 and -status in set(signal.Signals):
            return {"outcome": "killed", "signal": -status, "out_of_memory": False}
        return {"outcome": "exited", "status": status & 0xFF}
    speaker, message = found
    outcome = message.header["outcome"]
    if speaker and "error" in outcome:
        outcome["error"]["traceback"] = "on rank {} of {}:\n{}".format(
            speaker, launch["ranks"], outcome["error"]["traceback"]
        )
    response.sections.extend(message.sections)
    return outcome  # type: ignore[no-any-return]


def has_failed(outcome: Dict[str, Any]) -> bool:
    """Say whether a rank has failed: it did not return, nor end itself with 0."""
    return outcome["outcome"] != "returned" and outcome.get("status") != 0


def _start(argv: "list[str]") -> int:
    try:
        return subprocess.call(argv)
    except OSError as error:
        raise Refusal("command", "{}: {}".format(argv[0], error.strerror)) from None


def _outcome(job: Job, status: int) -> Optional[Tuple[int, Message]]:
    """Return the rank, and what it left, that tells of the job; None where only the launcher's status does."""
    deadline = time.monotonic() + SHARED_PATIENCE
    while True:
        left = _left(job)
        failed = [number for number in sorted(left) if has_failed(left[number].header["outcome"])]
        if failed:
            return failed[0], left[failed[0]]
        if status == 0 and 0 in left:
            return 0, left[0]
        if time.monotonic() > deadline:
            return None
        time.sleep(0.2)


def _left(job: Job) -> Dict[int, Message]:
    found = {}
    for name in os.listdir(job.directory):
        number = name[len(PREFIX) :]
        if name.startswith(PREFIX) and number.isdigit():
            try:
                with open(job.path(name), "rb") as file:
                    found[int(number)] = parse(file.read())
            except (OSError, FormatError):  # not yet seen whole from here
                continue
    return found


def _remove_left(job: Job) -> None:
    for name in os.listdir(job.directory):
        if name.startswith(PREFIX):
            with contextlib.suppress(OSError):
                os.unlink(job.path(name))
