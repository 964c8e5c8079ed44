"""A real Slurm for these tests, one for each process that runs them: leave it as it was."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

import sremote
from tests.interpreter.far_side import wait_for
from tests.kit.slurm import Slurm, slurm_cluster


@pytest.fixture(scope="session")
def running_slurm() -> Iterator[Slurm]:
    """A running Slurm."""
    with slurm_cluster() as slurm:
        yield slurm


@pytest.fixture
def slurm(running_slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """The shared Slurm, which this process and ``local:`` find; without jobs afterwards."""
    for name, value in running_slurm.environment.items():
        monkeypatch.setenv(name, value)
    yield running_slurm
    running_slurm.clear()


@pytest.fixture
def client(slurm: Slurm, tmp_path: Path) -> Iterator[sremote.Client]:
    """A client of this machine, from where the Slurm is reached."""
    with sremote.connect("local:", root=str(tmp_path / "root")) as client:
        yield client


@dataclasses.dataclass
class Place:
    """What a test looks at on the file system that the nodes share."""

    ledger: Path
    """Every run of ``work`` adds a line: its process id."""
    gate: Path
    """``work`` returns once it is there."""
    jobs: Path

    @property
    def runs(self) -> list[int]:
        """The processes in which ``work`` has run."""
        return [int(line) for line in self.ledger.read_text().split()] if self.ledger.exists() else []

    def await_run(self) -> int:
        """Wait until it runs; return its process."""
        return int(wait_for(lambda: self.runs)[0])

    def submit(self, client: sremote.Client, **resources: object) -> sremote.Job:
        """Submit ``work``."""
        return client.batch("slurm", **resources).submit_function(work, str(self.ledger), str(self.gate))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "ledger", tmp_path / "gate", tmp_path / "root" / "jobs")


def work(ledger: str, gate: str) -> str:
    """Note that it runs, wait for the gate, and return."""
    import os
    import time

    with open(ledger, "a") as file:
        file.write(f"{os.getpid()}\n")
    print("at work", flush=True)
    while not os.path.exists(gate):
        time.sleep(0.01)
    return "done"
