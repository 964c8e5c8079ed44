"""A numpy array of 100 MB there and back, beside the same bytes over the same channel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy

from benchmarks.place import Place
from benchmarks.proxy import timed
from benchmarks.results import OURS, Row, at_least_times, at_most, interleaved

SIZE = 100_000_000
BARE = "the same bytes, bare"
CALL = "sremote, client.call"
_MIRROR = """
import sys
data = bytearray(int(sys.argv[1]))
view = memoryview(data)
stdin = open(0, "rb", buffering=0, closefd=False)
while True:
    rest = view
    while rest:
        count = stdin.readinto(rest[:1 << 17])
        if not count:
            sys.exit()
        rest = rest[count:]
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
"""
_PEAK = """
import json, sys
from pathlib import Path
import numpy, sremote

address, options, size, what = json.loads(sys.argv[1])
status = Path("/proc/self/status")

def memory(field):
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field)) * 1024

with sremote.connect(address, **options) as client:
    array = numpy.ones(size // 8)
    call = client.call if what == "client.call" else client.session().call
    call("numpy", "asarray", [array[:8]])
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak counts from now on
    before = memory("VmRSS")
    call("numpy", "asarray", [array])
    print((memory("VmHWM") - before) / size)
"""


def measure(place: Place) -> Iterator[Row]:
    """Yield the rate, and the memory that it takes on the client."""
    array = numpy.random.default_rng(0).random(SIZE // 8)
    raw = memoryview(array).cast("B")
    with (
        place.connect(python=sys.executable, preload=["numpy"]) as client,
        client.session(preload=["numpy"]) as session,
    ):
        process = client.host.connector.start(["python3", "-c", _MIRROR, str(SIZE)])

        def mirror() -> None:
            process.write(raw)
            missing = SIZE
            while missing:
                missing -= len(process.read())

        def call() -> None:
            client.call("numpy", "asarray", [array])

        def session_call() -> None:
            session.call("numpy", "asarray", [array])

        client.call("numpy", "asarray", [array[:8]])
        samples = interleaved(place.rounds(10), {OURS: _rate(session_call), CALL: _rate(call), BARE: _rate(mirror)})
        process.kill()
    for name, what in ((OURS, "session.call"), (CALL, "client.call")):
        yield Row(
            f"100 MB array there and back, {what}",
            "MB/s",
            {OURS: samples[name], BARE: samples[BARE]},
            "90 % of the bare bytes",
            at_least_times(median(samples[name]) / median(samples[BARE]), 0.9),
        )
    for what in ("session.call", "client.call"):
        peaks = [_peak(place, what) for _ in range(3)]
        yield Row(
            f"100 MB array: memory that {what} takes on the client",
            "× the array",
            {OURS: peaks},
            "at most 1.2×, the value's own memory with it",
            at_most(median(peaks), 1.2, "×"),
        )


def _rate(work: Callable[[], None]) -> Callable[[], float]:
    return lambda: 2 * SIZE / timed(work) / 1e6


def _peak(place: Place, what: str) -> float:
    keys = {"key_file": str(place.server.key_file), "known_hosts": str(place.server.known_hosts)}
    options = json.dumps([place.address(), {**keys, "python": sys.executable}, SIZE, what])
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, options],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)
