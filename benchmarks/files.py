"""Files and trees there and back, beside rsync over a ControlMaster and tar through the same channel."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from benchmarks.place import Place
from benchmarks.proxy import round_trips, timed
from benchmarks.results import OURS, Row, Verdict, at_least_times, interleaved
from benchmarks.round_trips import BESIDE

SMALL_FILES = 2000
RSYNC = "rsync over a ControlMaster"
TAR = "tar, same channel"
_CHUNK = 1 << 17


def measure(place: Place) -> Iterator[Row]:
    """Yield rows for one big file, many small ones and trees that hardly differ."""
    big = place.folder / "big"
    block = os.urandom(1 << 20)
    megabytes = 100 if place.quick else 500
    with big.open("wb") as file:
        for number in range(megabytes):
            file.write(number.to_bytes(4, "big") + block[4:])
    small = place.folder / "small"
    for number in range(SMALL_FILES):
        folder = small / str(number % 20)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(number)).write_bytes(number.to_bytes(4, "big") + block[: number % 8000])
    master = place.folder / "master"
    subprocess.run([place.ssh, "-MNf", "-S", master, place.server.name], check=True)
    try:
        yield from _Trees(place, master).rows(big, small, megabytes)
    finally:
        subprocess.run([place.ssh, "-S", master, "-O", "exit", place.server.name], check=True, capture_output=True)
        shutil.rmtree(place.server.home / "sent", ignore_errors=True)
    yield from _counts(place, small)


class _Trees:
    def __init__(self, place: Place, master: Path) -> None:
        self._place = place
        self._shell = f"{place.ssh} -S {master}"
        self._fresh = itertools.count()
        self._client = place.connect()
        self._client.call("operator", "neg", [5])
        self._here = place.folder / "got"
        self._there = place.server.home / "sent"
        self._there.mkdir()
        self._here.mkdir()

    def rows(self, big: Path, small: Path, megabytes: int) -> Iterator[Row]:
        with self._client:
            rounds = self._place.rounds(8)
            yield self._row(f"push one file of {megabytes} MB", interleaved(rounds, self._pushes(big)))
            yield self._row(f"pull one file of {megabytes} MB", interleaved(rounds, self._pulls(big)))
            pushes = {**self._pushes(small), TAR: lambda: self._tar_up(small)}
            yield from self._both(f"push {SMALL_FILES:,} small files", interleaved(rounds, pushes))
            pulls = {**self._pulls(small), TAR: lambda: self._tar_down(small)}
            yield from self._both(f"pull {SMALL_FILES:,} small files", interleaved(rounds, pulls))
            yield self._row(f"push {SMALL_FILES:,} files, unchanged", interleaved(rounds, self._unchanged(small)))

    def _row(self, what: str, samples: dict[str, list[float]], beside: str = RSYNC, factor: float = 1) -> Row:
        ratio = median(samples[beside]) / median(samples[OURS])
        goal = f"not slower than {beside}" if factor == 1 else f"{factor:.0%} of {beside}"
        return Row(what, "s", {name: samples[name] for name in (OURS, beside)}, goal, at_least_times(ratio, factor))

    def _both(self, what: str, samples: dict[str, list[float]]) -> Iterator[Row]:
        yield self._row(what, samples)
        yield self._row(what, samples, TAR, 0.8)

    def _pushes(self, source: Path) -> dict[str, Callable[[], float]]:
        def ours() -> float:
            target = f"sent/{next(self._fresh)}"
            return timed(lambda: self._client.push(source, target))

        def rsync() -> float:
            return self._rsync(source, f"{self._place.server.name}:sent/{next(self._fresh)}")

        return {OURS: self._clean(ours), RSYNC: self._clean(rsync)}

    def _pulls(self, source: Path) -> dict[str, Callable[[], float]]:
        def ours() -> float:
            return timed(lambda: self._client.pull(str(source), self._here / str(next(self._fresh))))

        def rsync() -> float:
            return self._rsync(f"{self._place.server.name}:{source}", self._here / str(next(self._fresh)))

        return {OURS: self._clean(ours), RSYNC: self._clean(rsync)}

    def _unchanged(self, source: Path) -> dict[str, Callable[[], float]]:
        self._client.push(source, "sent/ours")
        self._rsync(source, f"{self._place.server.name}:sent/rsync")
        return {
            OURS: lambda: timed(lambda: self._client.push(source, "sent/ours")),
            RSYNC: lambda: self._rsync(source, f"{self._place.server.name}:sent/rsync"),
        }

    def _rsync(self, source: Path | str, target: Path | str) -> float:
        folder = "/" if Path(str(source).rpartition(":")[2]).is_dir() else ""
        command = ["rsync", "-a", "-e", self._shell, f"{source}{folder}", str(target)]
        return timed(lambda: subprocess.run(command, check=True))

    def _tar_up(self, source: Path) -> float:
        target = self._there / str(next(self._fresh))
        target.mkdir()

        def work() -> None:
            process = self._client.host.connector.start(["tar", "-xf", "-", "-C", str(target)])
            with subprocess.Popen(["tar", "-cf", "-", "-C", source, "."], stdout=subprocess.PIPE) as tar:
                assert tar.stdout is not None
                while data := tar.stdout.read(_CHUNK):
                    process.write(data)
            process.close_stdin()
            process.wait()
            process.kill()

        return self._clean(lambda: timed(work))()

    def _tar_down(self, source: Path) -> float:
        target = self._here / str(next(self._fresh))
        target.mkdir()

        def work() -> None:
            process = self._client.host.connector.start(["tar", "-cf", "-", "-C", str(source), "."])
            with subprocess.Popen(["tar", "-xf", "-", "-C", target], stdin=subprocess.PIPE) as tar:
                assert tar.stdin is not None
                while data := process.read():
                    tar.stdin.write(data)
            process.kill()

        return self._clean(lambda: timed(work))()

    def _clean(self, work: Callable[[], float]) -> Callable[[], float]:
        """Remove what a round has made, and let the disk rest, before the next one's clock starts."""

        def measured() -> float:
            seconds = work()
            for folder in (self._there, self._here):
                shutil.rmtree(folder)
                folder.mkdir()
            os.sync()
            return seconds

        return measured


def _counts(place: Place, small: Path) -> Iterator[Row]:
    """Count the round trips of trees that hardly differ, on an open connection."""
    fresh = itertools.count()

    def unchanged(port: int) -> float:
        with place.connect(port) as client:
            client.push(small, "counted")
            return timed(lambda: client.push(small, "counted"))

    def added(port: int) -> float:
        number = next(fresh)
        with place.connect(port) as client:
            client.push(small, "counted")
            for each in range(100):
                (small / f"new-{number}-{each}").write_text(f"{number} {each}")
            return timed(lambda: client.push(small, "counted"))

    for what, work, limit in (("an unchanged tree", unchanged, 3), ("100 new files", added, 4)):
        count = round_trips(place.server.port, work, rounds=place.rounds(12))
        verdict = Verdict(count < limit + BESIDE, f"{count:.2f} of {limit}")
        yield Row(f"round trips of {what}", "round trips", {OURS: [count]}, f"at most {limit}", verdict)
