"""Calls a second to a living process, beside the peers and beside a bare echo over the same channel."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from statistics import median

from benchmarks import peers
from benchmarks.echo import BareEcho
from benchmarks.place import Place
from benchmarks.proxy import timed
from benchmarks.results import OURS, Row, at_least_times, interleaved

CALLS = 100
BARE = "bare pickle echo, same channel"


def measure(place: Place) -> Iterator[Row]:
    """Yield the rates of ``session.call``, twice: beside the peers, and beside what the channel can carry."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(place.connect())
        session = stack.enter_context(client.session())
        # The same ssh connection, not another like it.
        echo = stack.enter_context(BareEcho(client.host.connector))
        calls: dict[str, Callable[[int], int]] = {
            OURS: lambda value: session.call("operator", "neg", [value]),
            BARE: echo.call,
        }
        for kind in peers.ALL:
            peer = kind(place)
            stack.callback(peer.close)
            calls[peer.name] = peer.call
        samples = interleaved(place.rounds(100), {name: _rate(call) for name, call in calls.items()})
    medians = {name: median(values) for name, values in samples.items()}
    best = max((name for name in medians if name not in (OURS, BARE)), key=medians.__getitem__)
    yield Row(
        "session.call, calls a second",
        "1/s",
        {name: values for name, values in samples.items() if name != BARE},
        f"2× the best peer ({best})",
        at_least_times(medians[OURS] / medians[best], 2),
    )
    yield Row(
        "session.call beside the bare channel",
        "1/s",
        {name: samples[name] for name in (OURS, BARE)},
        "70 % of the bare echo",
        at_least_times(medians[OURS] / medians[BARE], 0.7),
    )


def _rate(call: Callable[[int], int]) -> Callable[[], float]:
    def work() -> None:
        for value in range(CALLS):
            if call(value) != -value:
                raise RuntimeError("a wrong answer")

    return lambda: CALLS / timed(work)
