"""Folders with any name, without space, or that may not be written."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interpreter.far_side import FarSide, by_name, read_response

STRANGE = "a b'\"$HOME`id`\\\n\N{SNOWMAN}\n"
"""A folder's name with all that a shell or Python could trip over, up to a newline at its end."""


@pytest.fixture
def strange_side(far_side: FarSide) -> FarSide:
    """A far side whose interpreter and jobs are in a folder with a strange name."""
    folder = far_side.folder / STRANGE
    copy = shutil.copytree(far_side.script.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return FarSide(far_side.python, folder, copy / "interpreter.sh")


def test_folders_may_have_any_name(strange_side: FarSide) -> None:
    assert strange_side.do("give", STRANGE).result() == STRANGE
    directory = strange_side.put(strange_side.request(by_name("deeds", "give"), [5]))
    assert strange_side.execute("--job", directory).returncode == 0
    assert strange_side.response(directory).result() == 5


def test_the_interpreter_runs_from_its_own_folder(far_side: FarSide) -> None:
    source, response = far_side.folder / "request", far_side.folder / "response"
    source.write_bytes(far_side.request(by_name("deeds", "give"), [5]).to_bytes())
    script = far_side.script
    far_side.script = Path("interpreter.sh")
    assert far_side.execute(source, response, cwd=script.parent).returncode == 0
    assert read_response(response).result() == 5


def test_a_request_may_be_named_by_a_relative_path(far_side: FarSide) -> None:
    (far_side.folder / "request").write_bytes(far_side.request(by_name("deeds", "give"), [5]).to_bytes())
    assert far_side.execute("request", "new/response", cwd=far_side.folder).returncode == 0
    assert read_response(far_side.folder / "new" / "response").result() == 5


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small file system with these options; skips where this user may not."""
    places = []

    def mount_there(options: str) -> Path:
        place = tmp_path / f"mounted-{len(places)}"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip("needs root, to mount a small file system")
        places.append(place)
        return place

    yield mount_there
    for place in places:
        subprocess.run(["umount", place], check=True)


@pytest.mark.root
def test_a_response_that_does_not_fit_on_the_disk_is_told_without_the_value(
    this_side: FarSide, mount: Callable[[str], Path]
) -> None:
    this_side.folder = mount("size=256k")
    directory = this_side.put(this_side.request(by_name("operator", "mul"), ["x", 1 << 20]))
    assert this_side.execute("--job", directory).returncode == 0
    with pytest.raises(OSError, match="the function ran, but its response cannot be written: No space left on device"):
        this_side.response(directory).result()


@pytest.mark.root
def test_a_full_disk_is_told_and_nothing_is_run(this_side: FarSide, mount: Callable[[str], Path]) -> None:
    count = this_side.folder / "count"
    this_side.folder = mount("size=256k")
    directory = this_side.put(this_side.request(by_name("deeds", "note"), [str(count)]))
    with open(this_side.folder / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    done = this_side.execute("--job", directory)
    assert done.returncode == 75
    assert b"No space left on device" in done.stderr
    assert not count.exists()


@pytest.mark.root
def test_a_disk_that_fills_up_while_the_function_runs_is_told(this_side: FarSide, mount: Callable[[str], Path]) -> None:
    this_side.folder = mount("size=256k")
    directory = this_side.put(this_side.request(by_name("deeds", "fill"), [str(this_side.folder / "filler")]))
    done = this_side.execute("--job", directory)
    assert done.returncode == 75
    assert b"cannot be written: No space left on device" in done.stderr


@pytest.mark.root
def test_a_read_only_file_system_is_told(this_side: FarSide, mount: Callable[[str], Path]) -> None:
    count = this_side.folder / "count"
    this_side.folder = mount("size=256k")
    directory = this_side.put(this_side.request(by_name("deeds", "note"), [str(count)]))
    os.rename(f"{directory}.new", directory)
    subprocess.run(["mount", "-o", "remount,ro", this_side.folder], check=True)
    done = this_side.execute("--job", directory)
    assert done.returncode == 75
    assert b"Read-only file system" in done.stderr
    assert not count.exists()


def test_a_response_whose_folder_cannot_be_made_is_told(this_side: FarSide) -> None:
    (this_side.folder / "file").write_text("in the way")
    done = this_side.execute("/no/request", this_side.folder / "file" / "response")
    assert done.returncode == 75
    assert done.stderr.startswith(b"sremote: ")
    assert b"Not a directory" in done.stderr
