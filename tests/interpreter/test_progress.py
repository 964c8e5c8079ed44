"""``sremote.progress``: often or seldom, in threads and children, the latest note is what is read."""

import os
import time
from pathlib import Path

import pytest

from sremote.interpreter import progress as module
from sremote.interpreter.progress import VARIABLE, progress, read_progress
from tests.interpreter.far_side import wait_for


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "progress"))
    monkeypatch.setattr(module._Notes, "next_at", 0.0)
    return tmp_path / "progress"


def test_the_latest_of_many_notes_is_there_soon(notes: Path) -> None:
    for number in range(1000):
        progress(number, 5000, f"step {number}")
    wait_for(lambda: read_progress(str(notes)) == {"done": 999.0, "total": 5000.0, "message": "step 999"})


def test_the_last_note_is_there_at_once(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Notes, "next_at", time.monotonic() + 1000)
    progress(3, 3)
    assert read_progress(str(notes)) == {"done": 3.0, "total": 3.0, "message": ""}


def test_many_notes_cost_little(notes: Path) -> None:
    progress(0)
    written = notes.stat().st_ino
    began = time.process_time()
    for number in range(20_000):
        progress(number)
    assert time.process_time() - began < 2
    assert written


def test_a_child_process_notes_too(notes: Path) -> None:
    progress(1, 3)
    pid = os.fork()
    if pid == 0:
        progress(3, 3)
        os._exit(0)
    os.waitpid(pid, 0)
    assert read_progress(str(notes)) == {"done": 3.0, "total": 3.0, "message": ""}


def test_outside_of_a_job_and_without_a_place_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    progress(1, 2)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "no" / "such" / "folder"))
    progress(2, 2)
    assert read_progress(str(tmp_path / "no")) is None
    with pytest.raises(ValueError, match="could not convert"):
        progress("much")  # type: ignore[arg-type]
