"""The far side of an installation: an environment changes as a whole, or not at all."""

import errno
import io
import json
import os
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from sremote.interpreter import installation
from sremote.interpreter.installation import Refusal, install


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root whose environment ``default`` is one generation, made by hand."""
    generation = tmp_path / "env" / ".default-first"
    (generation / "bin").mkdir(parents=True)
    (generation / "lib").mkdir()
    (generation / "lib" / "module.py").write_text("1")
    (generation / "lib64").symlink_to("lib")
    (generation / "bin" / "python").symlink_to(sys.executable)
    (generation / "bin" / "tool").write_text(f"#!{generation}/bin/python\n")
    (generation / "bin" / "tool").chmod(0o755)
    (generation / "sremote.json").write_text("{}")
    (tmp_path / "env" / "default").symlink_to(".default-first")
    return tmp_path


def send(monkeypatch: pytest.MonkeyPatch, **plan: object) -> None:
    """Put a bundle with a plan on standard input."""
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        whole = {"python": None, "active": ".default-first", "pip": [], "index": False, "record": {"new": True}}
        archive.writestr("plan.json", json.dumps(whole | plan))
    bundle.seek(0)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=bundle))


def generations(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "env").glob(".*"))


def test_a_change_is_a_new_generation_and_the_one_before_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send(monkeypatch)
    install(str(root), "default")
    active = os.readlink(root / "env" / "default")
    assert active != ".default-first"
    assert generations(root) == sorted([".default-first", active])
    assert json.loads((root / "env" / "default" / "sremote.json").read_text()) == {"new": True}
    assert (root / "env" / ".default-first" / "sremote.json").read_text() == "{}"


def test_files_that_do_not_change_are_shared_between_generations(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send(monkeypatch)
    install(str(root), "default")
    old, new = root / "env" / ".default-first", root / "env" / "default"
    assert (old / "lib" / "module.py").samefile(new / "lib" / "module.py")
    assert os.readlink(new / "lib64") == "lib"
    assert os.readlink(new / "bin" / "python") == sys.executable


def test_files_are_copied_where_the_file_system_has_no_hard_links(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    send(monkeypatch)
    install(str(root), "default")
    copied = root / "env" / "default" / "bin" / "tool"
    assert not copied.samefile(root / "env" / ".default-first" / "bin" / "tool")
    assert os.access(copied, os.X_OK)


def test_scripts_name_the_lasting_place(root: Path) -> None:
    generation = root / "env" / ".default-first"
    (generation / "bin" / "binary").write_bytes(b"\0" + str(generation).encode())
    installation.point_scripts(str(generation), str(root / "env" / "default"))
    tool = generation / "bin" / "tool"
    assert tool.read_text() == f"#!{root}/env/default/bin/python\n"
    assert os.access(tool, os.X_OK)
    assert (generation / "bin" / "binary").read_bytes() == b"\0" + str(generation).encode()


def test_only_the_active_generation_and_the_one_before_are_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send(monkeypatch)
    install(str(root), "default")
    second = os.readlink(root / "env" / "default")
    send(monkeypatch, active=second)
    install(str(root), "default")
    assert generations(root) == sorted([second, os.readlink(root / "env" / "default")])


def test_what_was_abandoned_goes_after_a_day_and_other_environments_stay(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (".default-fresh", ".default-stale", ".work-stale", ".default-x-stale", ".other-stale"):
        (root / "env" / name).mkdir()
        if name.endswith("stale"):
            os.utime(root / "env" / name, (0, 0))
    send(monkeypatch)
    install(str(root), "default")
    assert set(generations(root)) >= {".default-fresh", ".default-x-stale", ".other-stale"}
    assert not {".default-stale", ".work-stale"} & set(generations(root))


def test_two_who_change_it_at_once_do_not_undo_each_other(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send(monkeypatch, active=".default-earlier")
    with pytest.raises(Refusal) as refusal:
        install(str(root), "default")
    assert refusal.value.kind == "changed"
    assert generations(root) == [".default-first"]


def test_a_folder_in_the_way_is_left_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "env" / "mine").mkdir()
    send(monkeypatch, active=None)
    with pytest.raises(Refusal, match="mine is in the way"):
        install(str(root), "mine")
    assert (root / "env" / "mine").is_dir()


def test_a_program_that_fails_leaves_everything_as_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send(monkeypatch, pip=[["anything"]])
    with pytest.raises(Refusal) as refusal:
        install(str(root), "default")
    assert refusal.value.kind == "pip"
    assert "pip.zip" in refusal.value.output
    assert generations(root) == [".default-first"]
    assert os.readlink(root / "env" / "default") == ".default-first"


def test_a_program_that_finds_the_disk_full_is_told_apart(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal) as refusal:
        installation._run(["sh", "-c", "echo '[Errno 28] No space left on device'; exit 2"], str(root), {}, "pip")
    assert refusal.value.kind == "full"
