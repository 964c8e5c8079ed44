"""A real Slurm for these tests, one for each process that runs them: leave it as it was."""

from collections.abc import Iterator

import pytest

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
