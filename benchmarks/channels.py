"""A channel beside execnet's, both through the ssh program: messages there and back, one way, and bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import sremote
from benchmarks.place import Place
from benchmarks.proxy import timed
from benchmarks.results import OURS, Row, at_least_times, interleaved

ROUND_TRIPS = 200
ITEMS = 2000
CHUNK = 1 << 20
CHUNKS = 32
ECHO = "for item in channel: channel.send(item)"
COUNT = """
for wanted in channel:
    for _ in range(wanted):
        channel.receive()
    channel.send(wanted)
"""
GIVE = """
for wanted, item in channel:
    for _ in range(wanted):
        channel.send(item)
"""


def measure(place: Place) -> Iterator[Row]:
    """Yield the rates of a channel, each beside execnet's on the same link in the same round."""
    import execnet

    with contextlib.ExitStack() as stack:
        address = f"openssh://{place.server.name}"
        client = stack.enter_context(sremote.connect(address, config_file=place.server.config_file))
        session = stack.enter_context(client.session())
        group = execnet.Group()
        stack.callback(group.terminate, timeout=5)
        gateway = group.makegateway(f"ssh={place.server.name}//python=python3")
        for what, unit, source, work, rounds in (
            ("channel, messages there and back", "1/s", ECHO, _there_and_back, 40),
            ("channel, messages one way", "1/s", COUNT, _one_way, 20),
            ("channel, 1 MiB values to the host", "MB/s", COUNT, _to_the_host, 12),
            ("channel, 1 MiB values from the host", "MB/s", GIVE, _from_the_host, 12),
        ):
            ours, theirs = session.remote_exec(source), gateway.remote_exec(source)
            contenders: dict[str, Callable[[], float]] = {
                OURS: lambda work=work, channel=ours: work(channel),  # type: ignore[misc]
                "execnet": lambda work=work, channel=theirs: work(channel),  # type: ignore[misc]
            }
            samples = interleaved(place.rounds(rounds), contenders)
            ours.close()
            theirs.close()
            ratio = median(samples[OURS]) / median(samples["execnet"])
            yield Row(what, unit, samples, "not below execnet", at_least_times(ratio, 1))


def _there_and_back(channel: Any) -> float:
    def work() -> None:
        for number in range(ROUND_TRIPS):
            channel.send(number)
            if channel.receive() != number:
                raise RuntimeError("a wrong answer")

    return ROUND_TRIPS / timed(work)


def _one_way(channel: Any) -> float:
    def work() -> None:
        channel.send(ITEMS)
        for number in range(ITEMS):
            channel.send(number)
        channel.receive()

    return ITEMS / timed(work)


def _to_the_host(channel: Any) -> float:
    content = bytes(CHUNK)

    def work() -> None:
        channel.send(CHUNKS)
        for _ in range(CHUNKS):
            channel.send(content)
        channel.receive()

    return CHUNKS * CHUNK / 1e6 / timed(work)


def _from_the_host(channel: Any) -> float:
    content = bytes(CHUNK)

    def work() -> None:
        channel.send((CHUNKS, content))
        for _ in range(CHUNKS):
            channel.receive()

    return CHUNKS * CHUNK / 1e6 / timed(work)
