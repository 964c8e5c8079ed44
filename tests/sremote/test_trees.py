"""``client.push`` and ``client.pull``: files and folders as they are."""

import io
import os
import stat
import tarfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest

from sremote import trees
from sremote.errors import FileMissing, HostError, PermissionRefused, UsageError

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
        with pytest.raises(HostError, match="cannot write .*File exists"):
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
        assert peak < 16 << 20


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


class TestHostileArchives:
    """A host may send any archive; nothing is written outside the folder that was asked for."""

    @pytest.mark.parametrize(
        "members",
        [
            [("../escaped", "file")],
            [("/tmp/../{outside}/escaped", "file")],
            [("door", "-> {outside}"), ("door/escaped", "file")],
            [("door", "-> ."), ("door/way", "-> {outside}"), ("door/way/escaped", "file")],
            [("door", "-> {outside}"), ("door/escaped", "-> x")],
            [("door", "= {outside}/kept"), ("door", "file")],
        ],
    )
    def test_nothing_escapes(self, client, tmp_path, monkeypatch, members):
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "kept").write_text("kept")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, what in members:
                member = tarfile.TarInfo(name.format(outside=outside))
                if what != "file":
                    member.type = tarfile.SYMTYPE if what.startswith("->") else tarfile.LNKTYPE
                    member.linkname = what[2:].strip().format(outside=outside)
                tar.addfile(member)
        script = f"import sys; open(sys.argv[2], 'wb').write({archive.getvalue()!r}); print('folder')"
        monkeypatch.setattr(trees, "_PACK", script)
        with suppress(HostError):
            client.pull("whatever", tmp_path / "target")
        assert [path.name for path in outside.iterdir()] == ["kept"]
        assert (outside / "kept").read_text() == "kept"
        assert not (tmp_path / "escaped").exists()

    def test_a_cut_archive_is_an_error(self, client, tmp_path, monkeypatch):
        script = "import sys; open(sys.argv[2], 'wb').write(b'x' * 700); print('folder')"
        monkeypatch.setattr(trees, "_PACK", script)
        with pytest.raises(HostError, match="was not unpacked"):
            client.pull("whatever", tmp_path / "target")

    def test_set_user_id_bits_are_dropped(self, client, far, tmp_path):
        (far / "program").touch()
        (far / "program").chmod(0o4755)
        client.pull(str(far), tmp_path / "back")
        assert stat.S_IMODE((tmp_path / "back" / "program").stat().st_mode) == 0o755
