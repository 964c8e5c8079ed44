"""Round trips, counted over a line that is slow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from benchmarks.place import Place
from benchmarks.proxy import round_trips, timed
from benchmarks.results import OURS, Row, Verdict

BESIDE = 0.25
"""What the count of a fraction of a second's work may be off by."""


def measure(place: Place) -> Iterator[Row]:
    """Yield a row for each kind of call."""
    port = place.server.port
    roots = itertools.count()

    def connect(near: int) -> float:
        return timed(lambda: place.connect(near).close())

    def warm(near: int) -> float:
        with place.connect(near) as client:
            client.call("operator", "neg", [5])
            return timed(lambda: client.call("operator", "neg", [5]))

    def first(near: int) -> float:
        with place.connect(near) as client:
            return timed(lambda: client.call("operator", "neg", [5]))

    def bare(near: int) -> float:
        with place.connect(near, root=f"bare-{next(roots)}") as client:
            return timed(lambda: client.call("operator", "neg", [5]))

    rounds = place.rounds(24)
    with place.connect() as client:
        client.call("operator", "neg", [5])
    yield _row("round trips of a warm call", round_trips(port, warm, rounds=rounds), 1)
    yield _row("round trips of a first call, after the handshake", round_trips(port, first, rounds=rounds), 1)
    yield _row("round trips of first contact with a bare host", round_trips(port, bare, rounds=rounds), 3)
    yield Row("round trips of the handshake", "round trips", {OURS: [round_trips(port, connect, rounds=rounds)]})


def _row(what: str, count: float, limit: int) -> Row:
    verdict = Verdict(count < limit + BESIDE, f"{count:.2f} of {limit}")
    return Row(what, "round trips", {OURS: [count]}, f"at most {limit}", verdict)
