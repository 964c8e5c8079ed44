"""What open connections cost that nobody uses: memory and wake-ups on the client, for each host."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.place import Place
from benchmarks.results import OURS, Row, Verdict, at_most

HOSTS = 16
SECONDS = 12
"""Less than the 15 s of silence after which ssh asks for a sign of life."""
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
        if "ctxt_switches" in line
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
print(grown / hosts / 1e6, wakeups() - begun - 1)  # its own sleep is one
for client in clients:
    client.close()
"""


def measure(place: Place) -> Iterator[Row]:
    """Yield a row for memory and one for wake-ups."""
    keys = {"key_file": str(place.server.key_file), "known_hosts": str(place.server.known_hosts)}
    options = json.dumps([place.address(), keys, HOSTS, SECONDS])
    memory, wakeups = [], []
    for _ in range(1 if place.quick else 3):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, options],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        grown, count = done.stdout.split()
        memory.append(float(grown))
        wakeups.append(float(count))
    yield Row(
        "memory of an idle connection", "MB", {OURS: memory}, "under 3 MB", at_most(median(memory), 3, "MB")
    )
    count = median(wakeups)
    yield Row(
        f"wake-ups of {HOSTS + 1} idle connections in {SECONDS} s",
        "wake-ups",
        {OURS: wakeups},
        "none",
        Verdict(count < 1, f"{count:.0f}"),
    )
