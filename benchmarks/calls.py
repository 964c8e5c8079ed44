"""Calls on an open connection, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import sremote
from benchmarks.place import Place
from benchmarks.proxy import timed
from benchmarks.results import OURS, Row, at_most

CALLS = 100


def measure(place: Place) -> Iterator[Row]:
    """Yield the time of ``client.call``, which makes a job directory, forks and flushes to disk."""
    with place.connect() as over_ssh, sremote.connect("local:") as here:
        samples: dict[str, list[float]] = {OURS: [], "sremote, local:": []}
        for _ in range(place.rounds(8)):
            for name, client in zip(samples, (over_ssh, here), strict=True):
                client.call("operator", "neg", [5])
                calls = [timed(lambda client=client: client.call("operator", "neg", [5])) for _ in range(CALLS)]
                samples[name].append(median(calls) * 1000)
    yield Row("client.call, open connection", "ms", samples, "at most 3 ms", at_most(median(samples[OURS]), 3, "ms"))
