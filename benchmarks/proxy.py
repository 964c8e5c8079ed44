"""A slow line: a loopback proxy in a process of its own, so that it does not share the client's interpreter lock.

    python -m benchmarks.proxy PORT DELAY

passes what it gets to PORT on 127.0.0.1, each direction late by DELAY seconds, and
prints the port that it listens on.  It ends with its standard input.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit.proxy import DelayingProxy


@contextmanager
def slow_line(target: int, delay: float) -> Iterator[int]:
    """Give the port of a proxy to ``target`` whose round trip takes twice ``delay`` seconds."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__, str(target), str(delay)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


def round_trips(target: int, measure: Callable[[int], float], *, delay: float = 0.1, rounds: int = 5) -> float:
    """Count the round trips that something takes.

    ``measure`` gets a port that leads to ``target``, and returns the seconds that it
    took over it.  The count is what a slow line adds, in round trips of that line: so
    the machine's own speed does not matter.  Of the rounds the quickest counts, as
    what else the machine does can only add to it.
    """
    with slow_line(target, 0.0) as near, slow_line(target, delay) as far:
        times = [(measure(near), measure(far)) for _ in range(rounds)]
        return (min(slow for _, slow in times) - min(quick for quick, _ in times)) / (2 * delay)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that ``work`` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    with DelayingProxy(int(sys.argv[1]), float(sys.argv[2])) as proxy:
        print(proxy.port, flush=True)
        sys.stdin.read()
