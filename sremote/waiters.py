"""Waits for many jobs of one host at once, with one thread and one request at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sremote.errors import HostKeyError, LineError, SignInRefused, SremoteError
from sremote.job_status import JobStatus

if TYPE_CHECKING:
    from sremote.index import JobRecord

Told = Callable[[JobStatus | SremoteError], object]
"""Is told how a job has ended, or why nobody can tell."""
Ask = Callable[[Sequence["JobRecord"], float], Mapping[str, JobStatus]]
"""Asks how jobs are, and may wait for news: ``HostJobs.refresh``."""

FIRST_ASK = 0.25
"""Seconds for which the first request may wait on the host; a job that is added meanwhile is looked at after it."""
LONGEST_ASK = 2.0
OUT_OF_TOUCH = 600.0
"""Seconds for which a host may not be reached before a wait gives up."""


def passes(error: LineError) -> bool:
    """Say whether what is wrong with the line may be over soon."""
    return not isinstance(error, HostKeyError | SignInRefused)


class Waiters:
    """Those who wait for jobs of a host; its thread lives as long as there are some."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._waiting: list[tuple[JobRecord, Told]] = []
        self._works = False

    def add(self, record: JobRecord, told: Told) -> None:
        """Have ``told`` called, in another thread, once a job has ended."""
        with self._lock:
            self._waiting.append((record, told))
            if not self._works:
                self._works = True
                threading.Thread(target=self._work, name=f"sremote waits for {record.host}", daemon=True).start()

    def _work(self) -> None:
        pause, in_touch, known = FIRST_ASK, time.monotonic(), 0
        while True:
            with self._lock:
                waiting = list(self._waiting)
                if not waiting:
                    self._works = False
                    return
            pause = FIRST_ASK if len(waiting) > known else min(pause * 1.5, LONGEST_ASK)
            try:
                answers = self._ask([record for record, _ in waiting], pause)
            except SremoteError as error:
                lasts = isinstance(error, LineError) and passes(error) and time.monotonic() - in_touch < OUT_OF_TOUCH
                if not lasts:
                    self._tell(waiting, dict.fromkeys((record.id for record, _ in waiting), error))
                time.sleep(pause)
                continue
            in_touch = time.monotonic()
            self._tell(waiting, {job_id: status for job_id, status in answers.items() if status.state.ended})
            known = len(self._waiting)

    def _tell(self, waiting: Sequence[tuple[JobRecord, Told]], news: Mapping[str, JobStatus | SremoteError]) -> None:
        for entry in waiting:
            record, told = entry
            if record.id in news:
                with self._lock:
                    self._waiting.remove(entry)
                told(news[record.id])
