"""What old calls and clients have left on a host, and its removal."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from sremote.interpreter.leftovers import leftovers, remove
from sremote.interpreter.processes import describe_process, this_process


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with one of everything that can be left, and the job that looks."""
    jobs, interpreter = tmp_path / "jobs", tmp_path / "interpreter"
    for name in ("finished", "running", "looking", "dead", "elsewhere", "unclaimed", "old.new", "young.new"):
        (jobs / name).mkdir(parents=True)
        (jobs / name / "request").write_bytes(bytes(100))
    (jobs / "finished" / "response").write_bytes(bytes(50))
    me = this_process()
    for name, process in (
        ("running", describe_process(os.getppid())),
        ("looking", me),
        ("dead", {**me, "started": "1"}),
        ("elsewhere", {**me, "host": "other.example"}),
    ):
        (jobs / name / "claim").mkdir()
        (jobs / name / "claim" / "owner").write_text(json.dumps(process))
    for name in ("current", "previous", ".previous.partial"):
        (interpreter / name).mkdir(parents=True)
    (interpreter / "dill-0123.zip").write_bytes(b"")
    (interpreter / "dill-0123.zip.partial").write_bytes(b"")
    long_ago = time.time() - 3600
    for path in (jobs / "old.new", interpreter / ".previous.partial", interpreter / "dill-0123.zip.partial"):
        for inner in (*path.glob("*"), path):
            os.utime(inner, (long_ago, long_ago))
    return tmp_path


def test_all_that_could_go_is_named_with_its_state(root: Path) -> None:
    found = {entry["path"]: (entry["kind"], entry["state"]) for entry in leftovers(str(root), "current")}
    assert found == {
        "jobs/finished": ("job", "finished"),
        "jobs/running": ("job", "running"),
        "jobs/dead": ("job", "dead"),
        "jobs/elsewhere": ("job", "unknown"),
        "jobs/unclaimed": ("job", "unclaimed"),
        "jobs/old.new": ("partial", "unclaimed"),
        "interpreter/previous": ("interpreter", "old"),
        "interpreter/.previous.partial": ("partial", "unclaimed"),
        "interpreter/dill-0123.zip.partial": ("partial", "unclaimed"),
    }


def test_size_files_and_age_are_told(root: Path) -> None:
    found = {entry["path"]: entry for entry in leftovers(str(root), "current")}
    assert found["jobs/finished"]["files"] == 3
    assert 150 <= found["jobs/finished"]["bytes"] < 150 + (1 << 20)
    assert found["jobs/finished"]["age"] < 600 < found["jobs/old.new"]["age"]


def test_what_is_named_is_removed_but_for_jobs_that_may_be_running(root: Path) -> None:
    paths = [entry["path"] for entry in leftovers(str(root), "current")]
    assert set(paths) - set(remove(str(root), paths)) == {"jobs/running", "jobs/elsewhere"}
    assert sorted(path.name for path in (root / "jobs").iterdir()) == ["elsewhere", "looking", "running", "young.new"]
    assert sorted(path.name for path in (root / "interpreter").iterdir()) == ["current", "dill-0123.zip"]


@pytest.mark.parametrize("path", ["env/default", "jobs", "jobs/", "jobs/..", "jobs/../env", "jobs/a/b", "/etc", ""])
def test_nothing_else_can_be_removed(root: Path, path: str) -> None:
    with pytest.raises(ValueError, match="is not a leftover"):
        remove(str(root), [path])


def test_where_nothing_was_ever_run_there_is_nothing(root: Path) -> None:
    shutil.rmtree(root / "jobs")
    shutil.rmtree(root / "interpreter")
    assert leftovers(str(root), "current") == []


def test_a_queue_that_was_half_made_or_half_deleted_could_go_and_a_queue_could_not(tmp_path: Path) -> None:
    for name in (".night.0123.gone", ".night.0123.new", "night"):
        (tmp_path / "queues" / name).mkdir(parents=True)
    long_ago = time.time() - 3600
    os.utime(tmp_path / "queues" / ".night.0123.gone", (long_ago, long_ago))

    assert [entry["path"] for entry in leftovers(str(tmp_path), "current")] == ["queues/.night.0123.gone"]
    assert remove(str(tmp_path), ["queues/.night.0123.gone"]) == ["queues/.night.0123.gone"]
    with pytest.raises(ValueError, match="'queues/night' is a queue"):
        remove(str(tmp_path), ["queues/night"])
