"""Carries out one task of a queue, and says as a message what came of it.

The message is a response without what all responses have.
"""

import os
import signal
import subprocess
import sys
import tempfile
from typing import List, Optional

from .errors import FormatError, ValueRefused
from .execution import carry_out
from .run import KILL_GRACE
from .values import decode
from .wire import Header, Message, parse


def perform(request: Message) -> "tuple[Message, bool]":
    """Carry out a task; return its result, and whether it succeeded.

    Its ``target`` is as in a request, or of kind "shell": a line for ``sh``.  It may
    also have ``timeout`` in seconds and, where it is a function, ``own_process``.
    """
    target = request.header["target"]
    limit = target.get("timeout")
    if target["kind"] in ("command", "shell"):
        result = Message(_run_command(request, limit))
        return result, result.header == {"outcome": "exited", "status": 0}
    result = _in_own_process(request, limit) if target.get("own_process") else _in_this_process(request, limit)
    return result, result.header["outcome"] == "returned"


def _run_command(request: Message, limit: Optional[float]) -> Header:
    try:
        words, _ = decode(request, "value", {})
    except (FormatError, ValueRefused) as error:
        return {"outcome": "refused", "reason": "arguments", "text": str(error)}
    argv: List[str] = ["/bin/sh", "-c"] + words if request.header["target"]["kind"] == "shell" else words
    signal.signal(signal.SIGUSR2, lambda *_: os.killpg(0, signal.SIGKILL))
    die_with_parent(signal.SIGUSR2)  # and the command with it
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or error
        return {"outcome": "refused", "reason": "command", "text": "{}: {}".format(argv[0], text)}
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(KILL_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return {"outcome": "walltime"}
    finally:
        die_with_parent(signal.SIGKILL)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    return {"outcome": "killed", "signal": -status} if status < 0 else {"outcome": "exited", "status": status}


def _in_this_process(request: Message, limit: Optional[float]) -> Message:
    """Call a task's function in this process; at its time limit the alarm ends the process."""
    result = Message({})
    if limit is None:
        result.header = carry_out(request, result)
        return result
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        result.header = carry_out(request, result)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return result


def _in_own_process(request: Message, limit: Optional[float]) -> Message:
    """Call a task's function in a process of its own."""
    with tempfile.TemporaryFile() as file:
        pid = os.fork()
        if pid == 0:
            try:
                die_with_parent(signal.SIGKILL)
                result = _in_this_process(request, limit)
                sys.stdout.flush()
                sys.stderr.flush()
                for chunk in result.chunks():
                    file.write(chunk)
                file.flush()
                os._exit(0)
            finally:
                os._exit(70)  # EX_SOFTWARE of sysexits.h
        _, status = os.waitpid(pid, 0)
        if status:
            return Message(how_it_ended(status, limited=limit is not None))
        file.seek(0)
        content = file.read()
        return parse(content) if content else Message({"outcome": "exited", "status": 0})


def how_it_ended(wait_status: int, *, limited: bool) -> Header:
    """Return the outcome that a process's wait status means; ``limited`` where an alarm was set for it."""
    if not os.WIFSIGNALED(wait_status):
        return {"outcome": "exited", "status": os.WEXITSTATUS(wait_status)}
    number = os.WTERMSIG(wait_status)
    if limited and number == signal.SIGALRM:
        return {"outcome": "walltime"}
    return {"outcome": "killed", "signal": number}


def die_with_parent(number: int) -> None:
    """Have the kernel send this process a signal when its parent dies (prctl(2), PR_SET_PDEATHSIG); only on Linux."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, int(number), 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass
