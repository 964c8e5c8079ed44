"""What open connections cost that nobody uses: memory and wake-ups on the client, for each host."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.place import Place
from benchmarks.results import OURS, Row, Verdict, at_most, number

HOSTS = 16
SECONDS = 15
"""The silence after which a sign of life is asked for: each connection does so once in that time."""
_PROGRAM = """
import json, sys, time
from pathlib import Path
import sremote

address, options, hosts, seconds = json.loads(sys.argv[1])

def memory():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private"))

def wakeups():
    return sum(
        int(line.split()[1])
        for status in Path("/proc/self/task").glob("*/status")
        for line in status.read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches")
    )

clients = []
def connect():
    client = sremote.connect(address, **options)
    client.call("operator", "neg", [5])
    clients.append(client)

connect()
before = memory()
for _ in range(hosts):
    connect()
grown = memory() - before
time.sleep(1)
begun = wakeups()
time.sleep(seconds)
print(grown / hosts / 1e6, (wakeups() - begun - 1) / (hosts + 1))  # its own sleep is one
for client in clients:
    client.close()
"""


def measure(place: Place) -> Iterator[Row]:
    """Yield a row for memory and one for wake-ups."""
    keys = {"key_file": str(place.server.key_file), "known_hosts": str(place.server.known_hosts)}
    rounds = 1 if place.quick else 3
    plain = [_run(place, keys) for _ in range(rounds)]
    silent = [_run(place, {**keys, "keepalive": 0}) for _ in range(rounds)]
    memory = [grown for grown, _ in plain]
    yield Row("memory of an idle connection", "MB", {OURS: memory}, "under 3 MB", at_most(median(memory), 3, "MB"))
    count = median(wakeups for _, wakeups in silent)
    yield Row(
        f"wake-ups of an idle connection in {SECONDS} s",
        "wake-ups",
        {OURS: [wakeups for _, wakeups in plain], "sremote, keepalive=0": [wakeups for _, wakeups in silent]},
        "none but the sign of life",
        Verdict(count < 1 / HOSTS, f"{number(count)} beside the sign of life"),
    )


def _run(place: Place, options: dict[str, object]) -> tuple[float, float]:
    """Return the megabytes and the wake-ups of a connection."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps([place.address(), options, HOSTS, SECONDS])],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    grown, wakeups = done.stdout.split()
    return float(grown), float(wakeups)
