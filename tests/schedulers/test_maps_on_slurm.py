"""A map that a real Slurm carries out, as an array."""

import os
from pathlib import Path

import pytest

import sremote
from sremote import arrays, batch_jobs
from sremote.errors import HostError, RemoteExit, UsageError
from sremote.index import index
from tests.kit.slurm import Slurm
from tests.schedulers.conftest import Place

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_jobs, "PATIENCE", 0.0)
    monkeypatch.setattr(arrays, "_REFRESH", 1.0)


def names(slurm: Slurm) -> list[str]:
    """Return the names of all batch jobs, one for each element."""
    return slurm.run("squeue", "-h", "-r", "-t", "all", "-o", "%F %j").stdout.splitlines()


def test_a_map_is_one_array_and_leaves_nothing(client: sremote.Client, slurm: Slurm, place: Place) -> None:
    before = len(set(names(slurm)))

    values = list(client.map("operator", "neg", range(10), scheduler="slurm", chunk=3, workers=2))

    assert values == [-item for item in range(10)]
    assert len(set(names(slurm))) == before + 1
    assert len(names(slurm)) >= 4
    client.close()
    assert list(place.jobs.iterdir()) == []
    assert list((place.jobs.parent / "work").iterdir()) == []
    assert index().jobs() == []


def test_a_map_of_nothing_yields_nothing(client: sremote.Client) -> None:
    assert list(client.map("operator", "neg", [], scheduler="slurm")) == []


def test_a_map_yields_what_came_before_an_exception(client: sremote.Client) -> None:
    values = client.map("operator", "inv", [1, 2, "three", 4], scheduler="slurm", chunk=2)
    assert [next(values), next(values)] == [-2, -3]
    with pytest.raises(TypeError):
        next(values)


def test_a_map_that_nobody_wants_any_more_is_stopped(client: sremote.Client, slurm: Slurm) -> None:
    values = client.map("time", "sleep", [0, 1000, 1000, 1000], scheduler="slurm", chunk=1)
    assert next(values) is None

    values.close()  # type: ignore[attr-defined]

    slurm.clear()
    assert index().jobs() == []


def test_a_refused_map_leaves_nothing(client: sremote.Client) -> None:
    with pytest.raises(HostError, match="invalid partition"):
        client.map("operator", "neg", [1, 2], scheduler="slurm", resources={"queue": "nowhere"})
    assert index().jobs() == []


def test_a_map_without_workers_cannot_be(client: sremote.Client) -> None:
    with pytest.raises(UsageError, match="workers is 0"):
        client.map("operator", "neg", [1], scheduler="slurm", workers=0)


def test_elements_that_slurm_loses_are_submitted_again(client: sremote.Client, slurm: Slurm, tmp_path: Path) -> None:
    """The controller is killed before it has saved the array."""
    resources = {"extra": ["#SBATCH --hold"]}
    with slurm.forgetting():
        values = client.map("os", "getenv", ["SREMOTE_INDEX"] * 2, scheduler="slurm", chunk=1, resources=resources)
    for record in index().jobs():
        sremote.job(record.id).status()
        assert sremote.job(record.id).record.array is None
        slurm.run("scontrol", "release", sremote.job(record.id).record.batch_id or "", check=True)
    assert list(values) == [None, None]


def test_an_element_that_fails_says_so(client: sremote.Client) -> None:
    with pytest.raises(RemoteExit):
        list(client.map("sys", "exit", [3], scheduler="slurm"))


def test_an_executor_s_calls_are_batch_jobs(client: sremote.Client) -> None:
    with client.executor(2, scheduler="slurm") as executor:
        futures = [executor.submit(os.path.join, "a", str(number)) for number in range(2)]
        assert [future.result(60) for future in futures] == ["a/0", "a/1"]
    assert index().jobs() == []
