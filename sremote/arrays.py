"""A map that a batch system carries out: one array of jobs, each with a chunk of the items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sremote.bars import bars
from sremote.errors import LineError, UsageError
from sremote.executor import chunks_of
from sremote.index import JobRecord
from sremote.interpreter.wire import Header, Message
from sremote.job_handle import Job
from sremote.job_status import Progress
from sremote.response import Response

if TYPE_CHECKING:
    from sremote.client import Client
    from sremote.submission import Wishes
    from sremote.surroundings import Surroundings

MOST_ELEMENTS = 32
"""Elements that an array has unless the user says more; each begins with a wait in the queue."""
_REFRESH = 15.0
"""Seconds after which all elements are looked at, and not only the one whose turn it is."""


class ArrayMap:
    """One map; made by ``Client.map``.

    Up to ``workers`` of the array's elements run at once (default: as the batch system
    likes), each on ``chunk`` items.  ``rows`` are the arguments of each call.
    """

    def __init__(
        self, client: Client, rows: Sequence[Sequence[Any]], wishes: Wishes, workers: int | None, chunk: int | None
    ) -> None:
        for name, number in (("workers", workers), ("chunk", chunk)):
            if number is not None and number < 1:
                raise UsageError(f"{name} is {number}, which is not a whole number from 1")
        self._client = client
        self._jobs = client._host_jobs
        self._rows = rows
        self._wishes = wishes
        self._workers = workers
        self._most = chunk or max(1, -(-len(rows) // (workers or MOST_ELEMENTS)))
        self._array = ""
        self._records: list[JobRecord] = []

    def submit(self, add_target: Callable[[Message], Header], surroundings: Surroundings) -> None:
        """Submit the array.  Raises as ``Client.submit``."""
        requests = []
        header = self._client._surroundings(surroundings)
        for part in chunks_of(self._rows, self._most):
            request = Message({"each": True})
            items = [[list(row) for row in part]]
            target = add_target(request)
            self._array = self._client._complete(request, target, items, {}, self._wishes.walltime, header)
            requests.append(request)
        if requests:
            self._records = self._jobs.submit_array(self._array, requests, self._wishes, self._workers)

    def values(self, show: bool) -> Iterator[Any]:
        """Yield the values in their order; when the caller has had enough, stop the rest and leave nothing of it."""
        done = 0
        try:
            with bars(wanted=show) as shown:
                for position in range(len(self._records)):
                    for value in self._await(position).results():
                        done += 1
                        yield value
                    if shown is not None:
                        shown.show(self._wishes.label, Progress(done, len(self._rows), ""))
        finally:
            with suppress(LineError):
                self._end()

    def _await(self, position: int) -> Response:
        """Wait for one element's response; see meanwhile that the later ones come to run."""
        job = Job(self._records[position], self._client)
        while not job.wait(_REFRESH).state.ended:
            with suppress(LineError):
                self._jobs.refresh(self._unfinished(position + 1))
        return job.response()

    def _unfinished(self, position: int = 0) -> list[JobRecord]:
        found = [self._jobs.index.get(record.id) for record in self._records[position:]]
        return [record for record in found if record is not None and not record.status.state.ended]

    def _end(self) -> None:
        left = self._unfinished()
        if left:
            self._jobs.cancel_array(left)
        if self._records:
            self._jobs.forget([self._array, *(record.id for record in self._records)])
