"""A queue of 100,000 empty tasks: adding them, working them off with two workers, asking how it is, what is left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.place import Place
from benchmarks.proxy import timed
from benchmarks.results import OURS, Row, Verdict, at_most, number
from sremote import Client, Queue, Task

TASKS = 100_000
WORKERS = 2
RATE = 2000


def measure(place: Place) -> Iterator[Row]:
    """Yield how long it takes over loopback ssh; a round is a queue of its own."""
    added: list[float] = []
    rates: list[float] = []
    inodes: list[float] = []
    asked: dict[str, list[float]] = {OURS: [], "all pending": [], "all finished": []}
    working, pending, finished = asked.values()
    with place.connect() as client:
        client.call("os", "getpid")
        for round_number in range(place.rounds(4)):
            queue = client.queue(f"benchmark-{round_number}")
            tasks = [Task.call("operator", "pos", [task]) for task in range(TASKS)]
            added.append(timed(lambda queue=queue, tasks=tasks: queue.add_many(tasks)))
            pending.append(timed(queue.status))
            seconds = timed(lambda queue=queue: _work(queue, working, place.connect()))
            rates.append(TASKS / seconds)
            finished.append(timed(queue.status))
            inodes.append(_inodes(client, queue) / (TASKS / 100))
            queue.delete()
    yield Row(f"queue.add_many of {TASKS:,} tasks", "s", {OURS: added}, "at most 5 s", at_most(median(added), 5, "s"))
    yield Row(
        f"empty Python tasks a second, {WORKERS} workers",
        "1/s",
        {OURS: rates},
        f"at least {RATE:,}",
        Verdict(median(rates) >= RATE, f"{number(median(rates))} a second"),
    )
    slowest = max(median(samples) for samples in asked.values())
    yield Row(
        f"queue.status of {TASKS:,} tasks, while two workers work", "s", asked, "at most 1 s", at_most(slowest, 1, "s")
    )
    yield Row(
        "inodes of a finished queue",
        "for each 100 tasks",
        {OURS: inodes},
        "at most 1",
        at_most(median(inodes), 1, "for each 100 tasks"),
    )


def _work(queue: Queue, asked: list[float], watcher: Client) -> None:
    """Work the queue off, from the request until its workers have ended; ask meanwhile how it is."""
    over = threading.Event()

    def watch() -> None:
        with watcher:
            watched = watcher.queue(queue.name)
            while not over.wait(1.0):
                asked.append(timed(watched.status))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        if queue.work(WORKERS) != TASKS:
            raise RuntimeError("tasks are left")
    finally:
        over.set()
        watching.join()


def _inodes(client: Client, queue: Queue) -> int:
    """Return how many files and folders a queue is on the host, which is this machine."""
    folder = Path(client.host.probe().root, "queues", queue.name)
    return 1 + sum(1 for _ in folder.rglob("*"))
