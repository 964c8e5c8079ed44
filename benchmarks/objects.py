"""Calls a second of functions and methods over there, beside the peers that have such, all through the ssh program."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import sremote
from benchmarks import peers
from benchmarks.place import Place
from benchmarks.proxy import timed
from benchmarks.results import OURS, Row, at_least_times, interleaved
from sremote.objects import define_common

CALLS = 200
SOURCE = "class Negator({}):\n    def negated(self, value):\n        return -value\n"


def measure(place: Place) -> Iterator[Row]:
    """Yield the rates of calls of functions and of methods."""
    define_common(SOURCE.format("ServerObject"))
    with contextlib.ExitStack() as stack:
        config = {"config_file": str(place.server.config_file)}
        client = stack.enter_context(sremote.connect(f"openssh://{place.server.name}", control_master=False, **config))
        remote = stack.enter_context(client.objects(echo=False))
        negator = remote.Negator()
        functions: dict[str, Callable[[int], int]] = {OURS: remote.operator.neg}
        methods: dict[str, Callable[[int], int]] = {OURS: negator.negated}
        for kind, make in ((peers.Rpyc, _rpyc_negator), (peers.EasyCluster, _easycluster_negator)):
            peer = kind(place)
            stack.callback(peer.close)
            functions[peer.name] = peer.call
            methods[peer.name] = make(peer).negated
        for what, calls in (("function", functions), ("method", methods)):
            samples = interleaved(place.rounds(40), {name: _rate(call) for name, call in calls.items()})
            medians = {name: median(values) for name, values in samples.items()}
            best = max((name for name in medians if name != OURS), key=medians.__getitem__)
            yield Row(
                f"remote objects, calls of a {what} a second",
                "1/s",
                samples,
                f"the best peer ({best})",
                at_least_times(medians[OURS] / medians[best], 1),
            )


def _rpyc_negator(peer: Any) -> Any:
    peer._connection.execute(SOURCE.format("object"))
    return peer._connection.eval("Negator()")


def _easycluster_negator(peer: Any) -> Any:
    import easycluster

    easycluster.define_common(SOURCE.format("ServerObject"))
    peer._client.update_definitions()
    return peer._client.Negator()


def _rate(call: Callable[[int], int]) -> Callable[[], float]:
    def work() -> None:
        for value in range(CALLS):
            if call(value) != -value:
                raise RuntimeError("a wrong answer")

    return lambda: CALLS / timed(work)
