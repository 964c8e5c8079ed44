"""The function that a launched job calls: it works on a queue with one worker or several."""

import json
import os
import signal
import sys
import time
from typing import Any, Dict, List, Optional

from .queue_perform import die_with_parent
from .queue_store import Store
from .queue_worker import Worker
from .queue_workers import about_this_process
from .wire import Header


def work(
    root: str,
    name: str,
    workers: int = 1,
    wait: bool = False,
    walltime: Optional[float] = None,
    job: Optional[str] = None,
) -> List[Header]:
    """Work on a queue with that many worker processes; return what each has done, see ``Worker.run``.

    They end when the queue has nothing to do, unless ``wait``, and in any case before
    ``walltime`` seconds are over.  ``job`` is the id of the job that this runs in; by
    default it is taken from the environment.
    """
    job = job or os.environ.get("SREMOTE_JOB")
    deadline = None if walltime is None else time.monotonic() + walltime
    if workers == 1:
        return [_work(root, name, wait, deadline, job)]
    children: Dict[int, int] = {}
    stopped: List[int] = []

    def stop(number: int, _: Any) -> None:
        stopped.append(number)
        for pid in list(children):
            os.kill(pid, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    sys.stdout.flush()
    sys.stderr.flush()
    for _ in range(workers):
        if not stopped:
            pid, answers = _start(root, name, wait, deadline, job)
            children[pid] = answers
    return [_hear(pid, children) for pid in list(children)]


def _work(root: str, name: str, wait: bool, deadline: Optional[float], job: Optional[str]) -> Header:
    return Worker(Store(root, name), about_this_process(job), wait=wait, deadline=deadline).run()


def _start(root: str, name: str, wait: bool, deadline: Optional[float], job: Optional[str]) -> "tuple[int, int]":
    """Fork a worker; return its process and where its answer is to be read."""
    answers, answer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(answer)
        return pid, answers
    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        die_with_parent(signal.SIGTERM)
        done = _work(root, name, wait, deadline, job)
        os.write(answer, json.dumps(done).encode())
        status = 0
    except BaseException as error:
        os.write(answer, json.dumps({"ended": "failed", "error": str(error)}).encode())
    finally:
        os._exit(status)


def _hear(pid: int, children: Dict[int, int]) -> Header:
    """Wait for a worker; return what it has done, or how it ended."""
    with open(children[pid], "rb") as file:
        content = file.read()
    del children[pid]  # from here on, its number may be another process's
    _, status = os.waitpid(pid, 0)
    if content:
        return json.loads(content.decode())  # type: ignore[no-any-return]
    return {"ended": "killed", "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}
