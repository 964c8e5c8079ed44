"""Work that a batch system does: submitted once, awaited by the file that it leaves."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from sremote.connectors.base import Connector
from sremote.connectors.batch import BatchJob, BatchScript, BatchState, BatchSystem
from sremote.connectors.errors import (
    ConnectionLost,
    FileMissing,
    HostError,
    HostUnreachable,
    LineError,
    LineTimeout,
    SchedulerAway,
)

log = logging.getLogger("sremote")

_PASSING = (ConnectionLost, HostUnreachable, LineTimeout, SchedulerAway)
_TRIES = 4
EXIT_ELSEWHERE = 75
"""What a job of ours ends with where another one, of the same script, has the work: sysexits.h's EX_TEMPFAIL."""


@dataclass(frozen=True)
class Patience:
    """How a batch system is waited for; all in seconds."""

    not_found_for: float = 20.0
    """For so long a job that was submitted may be missing from what the batch system tells."""
    first_pause: float = 0.2
    longest_pause: float = 10.0
    """Pauses between two questions double from the first to the longest."""
    late_file: float = 10.0
    """For so long a file may be late after the job that wrote it has ended: file servers are."""
    elsewhere_for: float = 3600.0
    """For so long a second job of the same work may be waited for, once this one has ended and left it to that."""
    away_for: float = 300.0
    """For so long the gateway may give no answer."""

    def pauses(self) -> Iterator[float]:
        pause = self.first_pause
        while True:
            yield pause
            pause = min(pause * 2, self.longest_pause)


def submit_once(batch: BatchSystem, script: BatchScript, patience: Patience) -> str:
    """Submit a script and return the batch system's id of it.

    Where no answer came, a job of that name is looked for, and only where none shows up
    is the script sent again.  Its name must be its own.  Raises what the last try raised.
    """
    for last in [False] * (_TRIES - 1) + [True]:
        try:
            return batch.submit(script)
        except HostUnreachable:
            if last:
                raise
        except (ConnectionLost, LineTimeout, SchedulerAway) as error:
            log.info("%s: no answer to the submission of %s; looking for it", batch.name, script.name)
            found = _find(batch, script.name, patience)
            if found is not None:
                return found.id
            if last:
                raise error
    raise AssertionError


def fetch_when_there(
    connector: Connector, batch: BatchSystem, job: str, path: str, patience: Patience, timeout: float | None
) -> bytes:
    """Wait for the file that a job leaves when it is done, and return its content.

    Raises LineTimeout after ``timeout`` seconds, HostError where the job ended without
    leaving it, and a LineError where the gateway gives no answer for long.
    """
    target = io.BytesIO()
    await_file(connector, batch, job, path, target, patience, timeout)
    return target.getvalue()


def await_file(
    connector: Connector,
    batch: BatchSystem,
    job: str,
    path: str,
    target: BinaryIO,
    patience: Patience,
    timeout: float | None,
) -> None:
    """As ``fetch_when_there``, into a file."""
    began = time.monotonic()
    answered, ended_at = began, None
    state: BatchJob | None = None
    for pause in patience.pauses():
        now = time.monotonic()
        try:
            # The file is the truth; what the batch system says may be old.
            if state is None or state.state is not BatchState.QUEUED:
                try:
                    connector.get(path, target)
                    return
                except FileMissing:
                    pass
            if ended_at is None:
                state = batch.jobs([job]).get(job)
                answered = time.monotonic()
                if state is not None and state.state.ended:
                    ended_at, state_now = now, state
                    log.debug("%s: job %s: %s", connector.name, job, state_now.state.value)
                    continue
        except _PASSING as error:
            if now - answered > patience.away_for:
                raise
            log.info("%s: %s", connector.name, error.message)
        elsewhere = state is not None and state.exit_status == EXIT_ELSEWHERE
        late = patience.elsewhere_for if elsewhere else patience.late_file
        if ended_at is not None and now - ended_at > late:
            raise _without_result(connector, state, job, path)
        if state is None and now - began > patience.not_found_for and now - answered <= patience.not_found_for:
            raise HostError(
                f"{connector.name}: {batch.name} knows no job {job}, and {path} is not there",
                "It may have been removed by the site; look at the queue.",
            )
        if timeout is not None and now - began + pause > timeout:
            raise LineTimeout(
                f"{connector.name}: job {job} had not ended after {timeout:g} s; it may be waiting or running there",
                "Give it a longer timeout, or look at the queue.",
            )
        time.sleep(pause)


def cancel_quietly(batch: BatchSystem, job: str) -> None:
    """Cancel a job that nobody waits for any more, as far as that goes."""
    try:
        batch.cancel([job])
    except (LineError, HostError) as error:
        log.info("%s: could not cancel job %s: %s", batch.name, job, error.message)


def _find(batch: BatchSystem, name: str, patience: Patience) -> BatchJob | None:
    """Look for a job by its name until it shows up, or it should have."""
    end = time.monotonic() + patience.not_found_for
    for pause in patience.pauses():
        try:
            found = batch.find(name)
            if found is not None:
                return found
        except _PASSING as error:
            log.info("%s: %s", batch.name, error.message)
        if time.monotonic() + pause > end:
            return None
        time.sleep(pause)
    raise AssertionError


def _without_result(connector: Connector, state: BatchJob | None, job: str, path: str) -> HostError:
    how, why = ("ended", "") if state is None else (state.state.value, state.reason)
    status = "" if state is None or state.exit_status is None else f" with status {state.exit_status}"
    reason = f" ({why})" if why else ""
    return HostError(
        f"{connector.name}: job {job} {how}{status}{reason} and left no {path}",
        f"What it printed is in the file 'batch' of {path.rpartition('/')[0]} there.",
    )
