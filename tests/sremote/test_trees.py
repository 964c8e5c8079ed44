"""``client.push`` and ``client.pull``: files and folders as they are."""

import os
import stat
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import pytest

from sremote import tree_line
from sremote.errors import FileMissing, HostError, PermissionRefused, UsageError
from sremote.interpreter import frames, tree_frames

NAMES = ["plain", "with space", "ü€😀", "new\nline", "-n", "$HOME", "'quote\""]


@pytest.fixture
def far(tmp_path_factory) -> Path:
    """A folder of the host, which is on this machine."""
    return tmp_path_factory.mktemp("far")


@pytest.fixture
def tree(tmp_path) -> Path:
    """A folder with everything that a folder may hold."""
    root = tmp_path / "tree"
    (root / "empty").mkdir(parents=True)
    (root / "private").mkdir(mode=0o700)
    (root / "private" / "secret").write_text("x")
    (root / "private" / "secret").chmod(0o400)
    (root / "program").write_text("#!/bin/sh\n")
    (root / "program").chmod(0o750)
    for name in NAMES:
        (root / name).write_bytes(os.urandom(10))
    (root / "inside").symlink_to("private/secret")
    (root / "dangling").symlink_to("nowhere")
    (root / "outside").symlink_to("/etc/hostname")
    (root / "upwards").symlink_to("../../elsewhere")
    return root


def listing(root: Path) -> dict[str, object]:
    """What is below ``root``: kind, permissions and content of each."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = f"folder {stat.S_IMODE(path.stat().st_mode):o}"
        else:
            found[name] = (f"{stat.S_IMODE(path.stat().st_mode):o}", path.read_bytes())
    return found


class TestFolders:
    @pytest.mark.matrix
    def test_a_folder_goes_there_and_comes_back_as_it_was(self, client, tree, far, tmp_path):
        client.push(tree, f"{far}/there")
        assert listing(far / "there") == listing(tree)
        client.pull(f"{far}/there", tmp_path / "back")
        assert listing(tmp_path / "back") == listing(tree)

    def test_a_folder_behind_a_link_is_copied_itself(self, client, tree, far, tmp_path):
        (tmp_path / "link").symlink_to(tree)
        client.push(tmp_path / "link", f"{far}/there")
        assert listing(far / "there") == listing(tree)
        (far / "link").symlink_to(far / "there")
        client.pull(f"{far}/link", tmp_path / "back")
        assert listing(tmp_path / "back") == listing(tree)

    def test_what_is_there_already_stays_beside_it(self, client, tree, far, tmp_path):
        for place in (far / "there", tmp_path / "back"):
            place.mkdir()
            (place / "older").write_text("kept")
            (place / "program").write_text("replaced")
        client.push(tree, f"{far}/there")
        assert listing(far / "there") == {**listing(tree), "older": ("644", b"kept")}
        client.pull(f"{far}/there", tmp_path / "back")
        assert listing(tmp_path / "back") == {**listing(tree), "older": ("644", b"kept")}

    def test_parents_are_made(self, client, tree, far, tmp_path):
        client.push(tree, f"{far}/a/b")
        client.pull(f"{far}/a/b", tmp_path / "c" / "d")
        assert listing(tmp_path / "c" / "d") == listing(tree)

    def test_pipes_are_left_out(self, client, far, tmp_path):
        os.mkfifo(far / "pipe")
        (far / "file").write_text("x")
        client.pull(str(far), tmp_path / "back")
        assert list(listing(tmp_path / "back")) == ["file"]

    def test_a_file_in_the_place_of_a_folder_is_an_error(self, client, tree, far, tmp_path):
        (far / "file").touch()
        (tmp_path / "file").touch()
        with pytest.raises(HostError, match=r"cannot write .*File exists"):
            client.push(tree, f"{far}/file")
        with pytest.raises(UsageError, match="is here already, and is not a folder"):
            client.pull(str(far), tmp_path / "file")

    def test_nothing_else_is_left_on_the_host(self, client, tree, far, tmp_path):
        client.push(tree, f"{far}/there")
        client.pull(f"{far}/there", tmp_path / "back")
        assert not list(Path(client.host.probe().root, "jobs").glob("*.tar*"))


class TestFiles:
    @pytest.mark.parametrize("name", NAMES)
    def test_a_file_goes_there_and_comes_back(self, client, far, tmp_path, name):
        (tmp_path / name).write_bytes(b"\0\xff" * 1000)
        client.push(tmp_path / name, f"{far}/{name}")
        client.pull(f"{far}/{name}", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"\0\xff" * 1000

    @pytest.mark.parametrize("mode", [0o600, 0o755, 0o444])
    def test_permissions_are_kept(self, client, far, tmp_path, mode):
        (tmp_path / "file").touch(mode)
        (tmp_path / "file").chmod(mode)
        client.push(tmp_path / "file", f"{far}/file")
        client.pull(f"{far}/file", tmp_path / "back")
        assert stat.S_IMODE((far / "file").stat().st_mode) == mode
        assert stat.S_IMODE((tmp_path / "back").stat().st_mode) == mode

    def test_a_relative_path_starts_at_home(self, client, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", client.host.probe().home)  # where local: is
        (tmp_path / "file").write_text("x")
        client.push(tmp_path / "file", "in-home/file")
        client.pull("~/in-home/file", tmp_path / "back")
        assert (tmp_path / "back").read_text() == "x"
        assert Path(client.host.probe().home, "in-home", "file").exists()

    def test_it_goes_into_a_folder_under_its_own_name(self, client, far, tmp_path):
        (tmp_path / "file").write_text("x")
        client.push(tmp_path / "file", f"{far}/")
        (tmp_path / "into").mkdir()
        client.pull(f"{far}/file", tmp_path / "into")
        assert (tmp_path / "into" / "file").read_text() == "x"

    def test_a_file_behind_a_link_is_copied_itself(self, client, far, tmp_path):
        (tmp_path / "file").write_text("x")
        (tmp_path / "link").symlink_to("file")
        client.push(tmp_path / "link", f"{far}/there")
        assert (far / "there").read_text() == "x"
        assert not (far / "there").is_symlink()

    def test_a_large_file_needs_no_memory_of_its_size(self, client, far, tmp_path):
        with (tmp_path / "large").open("wb") as file:
            file.truncate(64 << 20)
        tracemalloc.start()
        client.push(tmp_path / "large", f"{far}/large")
        client.pull(f"{far}/large", tmp_path / "back")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (tmp_path / "back").stat().st_size == 64 << 20
        assert peak < 32 << 20  # of which 16 are what a line may hold


class TestRefusals:
    def test_a_missing_file_here_is_a_usage_error(self, client, far, tmp_path):
        with pytest.raises(UsageError, match="nothing: no such file or folder here"):
            client.push(tmp_path / "nothing", f"{far}/x")

    def test_a_missing_file_there_is_named(self, client, tmp_path):
        with pytest.raises(FileMissing, match=r"no such file or folder: /no/such/file"):
            client.pull("/no/such/file", tmp_path / "x")
        assert not (tmp_path / "x").exists()

    def test_a_file_there_that_cannot_be_read_leaves_nothing_here(self, ssh_client, tmp_path):
        with pytest.raises(HostError, match="cannot read /proc/self/mem: Input/output error"):
            ssh_client.pull("/proc/self/mem", tmp_path / "x")
        assert list(tmp_path.iterdir()) == []

    def test_a_file_here_that_cannot_be_read_leaves_nothing_there(self, ssh_client, far):
        with pytest.raises(UsageError, match="cannot read /proc/self/mem"):
            ssh_client.push("/proc/self/mem", f"{far}/x")
        assert list(far.iterdir()) == []

    def test_a_place_there_that_cannot_be_written_is_named(self, client, tree):
        with pytest.raises(PermissionRefused, match="cannot write /sys/x"):
            client.push(tree / "plain", "/sys/x")
        with pytest.raises(PermissionRefused, match="cannot write /sys/x"):
            client.push(tree, "/sys/x")

    def test_a_place_here_that_cannot_be_written_is_named(self, client, far):
        (far / "file").touch()
        with pytest.raises(UsageError, match="cannot write /sys/x"):
            client.pull(f"{far}/file", "/sys/x/file")
        with pytest.raises(UsageError, match="cannot write /sys/x"):
            client.pull(str(far), "/sys/x")


class TestHostileHosts:
    """A host may send anything; nothing is written outside the folder that was asked for."""

    @pytest.mark.parametrize(
        "entries",
        [
            [("../escaped", "f")],
            [("{outside}/escaped", "f")],
            [("a/../../escaped", "f")],
            [("door", "l", "{outside}"), ("door/escaped", "f")],
            [("door", "l", "{outside}"), ("door", "d"), ("door/escaped", "f")],
            [("door", "l", "."), ("door/way", "l", "{outside}"), ("door/way/escaped", "f")],
            [("door", "l", "{outside}"), ("door/escaped", "l", "x")],
            [("door", "l", "{outside}/kept"), ("door", "f")],
            [("", "l", "{outside}"), ("escaped", "f")],
        ],
    )
    def test_nothing_escapes(self, client, tmp_path, monkeypatch, entries):
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "kept").write_text("kept")
        entries = [tuple(text.format(outside=outside) for text in entry) for entry in entries]
        say(monkeypatch, tmp_path, *tree_frames_of(entries))
        with suppress(HostError, UsageError):
            client.pull("whatever", tmp_path / "target")
        assert [path.name for path in outside.iterdir()] == ["kept"]
        assert (outside / "kept").read_text() == "kept"
        assert not (tmp_path / "escaped").exists()

    def test_nothing_is_written_through_a_link_that_is_here_already(self, client, far, tmp_path):
        (far / "door").mkdir()
        (far / "door" / "file").touch()
        outside = tmp_path / "outside"
        outside.mkdir()
        (tmp_path / "target").mkdir()
        (tmp_path / "target" / "door").symlink_to(outside)
        with pytest.raises(UsageError, match=r"cannot write .*target/door: File exists"):
            client.pull(str(far), tmp_path / "target")
        assert list(outside.iterdir()) == []

    def test_a_cut_tree_is_an_error(self, client, tmp_path, monkeypatch):
        say(monkeypatch, tmp_path, b"x" * 700)
        with pytest.raises(HostError, match="was not unpacked"):
            client.pull("whatever", tmp_path / "target")

    def test_a_file_that_was_damaged_on_its_way_is_an_error(self, client, tmp_path, monkeypatch):
        *frames, end = tree_frames_of([("file", "f")])
        damaged = frames[-1][:-1] + b"?"
        say(monkeypatch, tmp_path, *frames[:-1], damaged, end)
        with pytest.raises(UsageError, match=r"cannot write .*target/file: its checksum is wrong"):
            client.pull("whatever", tmp_path / "target")
        assert list((tmp_path / "target").iterdir()) == []

    def test_a_frame_that_unpacks_to_gigabytes_is_refused(self, client, tmp_path, monkeypatch):
        packed = zlib.compress(bytes(64 << 20))
        say(monkeypatch, tmp_path, frames.pack(tree_frames.PACKED, 0, packed))
        with pytest.raises(HostError, match="a packed frame is larger than it may be"):
            client.pull("whatever", tmp_path / "target")

    def test_set_user_id_bits_are_dropped(self, client, far, tmp_path):
        (far / "program").touch()
        (far / "program").chmod(0o4755)
        client.pull(str(far), tmp_path / "back")
        assert stat.S_IMODE((tmp_path / "back" / "program").stat().st_mode) == 0o755


def tree_frames_of(entries: list[tuple[str, ...]]) -> list[bytes]:
    """Return the frames of a sender that lists a folder with ``entries`` and sends all its files."""
    listed = [] if entries[0][0] == "" else [tree_frames.Entry(b"", b"d", 0o755, 0, 0, b"")]
    listed += [
        tree_frames.Entry(path.encode(), kind.encode(), 0o644, 0, 3, "".join(target).encode())
        for path, kind, *target in entries
    ]
    found = [
        frames.pack(tree_frames.LIST, 0, b"".join(map(tree_frames.pack_entry, listed))),
        frames.pack(tree_frames.LISTED, len(listed), b"1"),
    ]
    content = zlib.crc32(b"abc").to_bytes(4, "big") + b"abc"
    found += [frames.pack(tree_frames.LAST, at, content) for at, entry in enumerate(listed) if entry.kind == b"f"]
    return [*found, frames.pack(tree_frames.FINISH, 0, b"")]


def say(monkeypatch: pytest.MonkeyPatch, folder: Path, *data: bytes) -> None:
    """Let the far side of each copy say ``data``, whatever it is told."""
    said = folder / "said"
    said.write_bytes(b"".join(data))
    monkeypatch.setattr(tree_line, "far_command", lambda *_: ["sh", "-c", 'cat "$0"; cat >/dev/null', str(said)])
