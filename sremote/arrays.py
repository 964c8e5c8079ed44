"""A map that a batch system carries out: one array of jobs, each with a chunk of the items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sremote.errors import LineError
from sremote.index import JobRecord
from sremote.interpreter.wire import Header, Message
from sremote.job_handle import Job
from sremote.response import Response

if TYPE_CHECKING:
    from sremote.client import Client
    from sremote.submission import Wishes
    from sremote.surroundings import Surroundings

MOST_ELEMENTS = 32
"""Elements that an array has unless the user says more; each begins with a wait in the queue."""
_REFRESH = 15.0
"""Seconds after which all elements are looked at, and not only the one whose turn it is."""


def responses(
    client: Client,
    add_target: Callable[[Message], Header],
    chunks: Sequence[Sequence[Sequence[Any]]],
    workers: int | None,
    wishes: Wishes,
    surroundings: Surroundings,
) -> Iterator[Response]:
    """Have a function called for all items of all chunks by one array of jobs; yield a response for each chunk.

    Up to ``workers`` of its elements run at once (default: as the batch system likes).
    When the caller has had enough, the others are stopped.  Nothing is left then.
    """
    requests = []
    for chunk in chunks:
        request = Message({"each": True})
        target = add_target(request)
        array = client.complete(request, target, [[list(item) for item in chunk]], {}, wishes, surroundings)
        requests.append(request)
    jobs = client.host_jobs
    records = jobs.submit_array(array, requests, wishes, workers)
    try:
        for position, record in enumerate(records):
            yield _await(client, record, records[position + 1 :])
    finally:
        with suppress(LineError):
            rest = [each for each in map(jobs.index.get, [record.id for record in records]) if each is not None]
            going_on = [record for record in rest if not record.status.state.ended]
            if going_on:
                jobs.cancel(going_on)
                jobs.cancel_array(going_on)
            jobs.forget([array, *(record.id for record in records)])


def _await(client: Client, record: JobRecord, others: Sequence[JobRecord]) -> Response:
    """Wait for one job's response; see meanwhile that the others come to run."""
    job = Job(record, client)
    while not job.wait(_REFRESH).state.ended:
        with suppress(LineError):
            found = [client.host_jobs.index.get(other.id) for other in others]
            client.host_jobs.refresh([other for other in found if other is not None])
    return job.response()
