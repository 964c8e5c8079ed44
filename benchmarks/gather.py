"""A thousand calls on one connection, at once and as a map, beside one after the other, over a line of 50 ms."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from benchmarks.place import Place
from benchmarks.proxy import slow_line, timed
from benchmarks.results import OURS, Row, at_least_times

CALLS = 1000
IN_A_ROW = 20
"""Calls one by one that are really made; a thousand take that many times longer."""
DELAY = 0.025
THREADS = 64


def measure(place: Place) -> Iterator[Row]:
    """Yield the seconds of each."""
    together, mapped, in_a_row = [], [], []
    with slow_line(place.server.port, DELAY) as port, place.connect(port) as client:

        def call(value: int) -> None:
            client.call("operator", "neg", [value])

        call(0)
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in range(1 if place.quick else 3):
                in_a_row.append(timed(lambda: [call(value) for value in range(IN_A_ROW)]) * CALLS / IN_A_ROW)
                together.append(timed(lambda: list(pool.map(call, range(CALLS)))))
                mapped.append(timed(lambda: list(client.map("operator", "neg", range(CALLS), show=False))))
    for what, samples in (("1,000 calls, client.map", mapped), ("1,000 calls, client.call in threads", together)):
        yield Row(
            f"{what}, over a 50 ms line",
            "s",
            {OURS: samples, "sremote, one by one": in_a_row},
            "20× faster than one by one",
            at_least_times(median(in_a_row) / median(samples), 20),
        )
