"""A host that answers nonsense about jobs is told; nothing of it is trusted, and nothing is written elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sremote
from sremote.errors import FormatError

GOOD = {"state": "running", "reason": "", "source": "process", "attempt": 1}


@pytest.fixture
def job() -> Iterator[sremote.Job]:
    """A job that has ended, which this index has not seen."""
    with sremote.connect("local:") as client:
        job = client.submit_command(["true"], outputs=["*.txt"])
        yield job


def answer(job: sremote.Job, monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
    monkeypatch.setattr(job._jobs, "ask", lambda *_: found)


@pytest.mark.parametrize(
    "found",
    [
        {},
        [],
        {"ID": None},
        {"ID": {}},
        {"ID": GOOD | {"state": "fine"}},
        {"ID": GOOD | {"state": 3}},
        {"ID": GOOD | {"attempt": "x"}},
        {"ID": GOOD | {"pulse": {"cpu_seconds": "much"}}},
        {"ID": GOOD | {"seconds": []}},
    ],
    ids=str,
)
def test_a_damaged_answer_is_told(job: sremote.Job, monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
    answer(job, monkeypatch, {job.id: found["ID"]} if isinstance(found, dict) and "ID" in found else found)
    with pytest.raises(FormatError, match="is damaged"):
        job.status()
    assert job.last_status.state == "QUEUED"


def test_progress_that_is_none_is_left_out(job: sremote.Job, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(job, monkeypatch, {job.id: GOOD | {"progress": {"done": "all", "total": None, "message": 3}}})
    assert job.status().progress is None


@pytest.mark.parametrize("name", ["../escaped.txt", "/tmp/escaped.txt", "a/../../escaped.txt"])
def test_outputs_stay_in_the_folder_that_they_are_for(
    job: sremote.Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    answer(job, monkeypatch, [name])
    with pytest.raises(FormatError, match="would not stay"):
        job.pull(into=tmp_path / "results")
    assert not (tmp_path / "results").exists()
