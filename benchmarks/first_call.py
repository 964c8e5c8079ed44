"""Connect and make a first call: cold, over loopback ssh, to one host and to sixteen at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from benchmarks import peers
from benchmarks.place import Place
from benchmarks.proxy import timed
from benchmarks.results import OURS, Row, at_least_times, interleaved

HOSTS = 16


def measure(place: Place) -> Iterator[Row]:
    """Yield a row for one host and one for many."""

    def ours() -> Callable[[], object]:
        client = place.connect()
        client.call("operator", "neg", [5])
        return client.close

    def theirs(kind: type[peers.Peer]) -> Callable[[], Callable[[], object]]:
        def connect() -> Callable[[], object]:
            peer = kind(place)
            peer.call(5)
            return peer.close

        return connect

    ours()()  # the interpreter is there from now on
    ways = {OURS: ours, **{kind.name: theirs(kind) for kind in peers.ALL}}
    samples = interleaved(place.rounds(15), {name: _one(way) for name, way in ways.items()})
    yield Row(
        "connect and first call, 1 host",
        "ms",
        samples,
        "faster than execnet",
        at_least_times(median(samples["execnet"]) / median(samples[OURS]), 1),
    )
    samples = interleaved(place.rounds(7), {OURS: _many(ours), "execnet in threads": _many(ways["execnet"])})
    yield Row(
        f"connect and first call, {HOSTS} hosts at once",
        "ms",
        samples,
        "faster than execnet in threads",
        at_least_times(median(samples["execnet in threads"]) / median(samples[OURS]), 1),
    )


def _one(way: Callable[[], Callable[[], object]]) -> Callable[[], float]:
    def measured() -> float:
        closers: list[Callable[[], object]] = []
        seconds = timed(lambda: closers.append(way()))
        closers[0]()
        return seconds * 1000

    return measured


def _many(way: Callable[[], Callable[[], object]]) -> Callable[[], float]:
    def measured() -> float:
        closers: list[Callable[[], object]] = []
        with ThreadPoolExecutor(HOSTS) as pool:
            seconds = timed(lambda: closers.extend(pool.map(lambda _: way(), range(HOSTS))))
            list(pool.map(lambda close: close(), closers))
        return seconds * 1000

    return measured
