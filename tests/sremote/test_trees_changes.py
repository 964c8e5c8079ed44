"""What ``client.push`` and ``client.pull`` send again, and what they do to what is there already."""

import os
import random
import stat
from pathlib import Path

import pytest

from sremote import Client
from sremote.errors import UsageError
from tests.sremote.test_trees import NAMES, listing

HOUR = 3600 * 10**9


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A small folder on this machine."""
    folder = tmp_path / "here"
    (folder / "inner").mkdir(parents=True)
    (folder / "one").write_text("one")
    (folder / "inner" / "two").write_text("two")
    (folder / "link").symlink_to("one")
    return folder


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Where copies go: on the host, which is this machine."""
    return tmp_path / "there"


@pytest.fixture(params=["push", "pull"])
def copy(request: pytest.FixtureRequest, ssh_client: Client):
    """Copies one way, then the other."""
    if request.param == "push":
        return lambda source, target, **how: ssh_client.push(source, str(target), **how)
    return lambda source, target, **how: ssh_client.pull(str(source), target, **how)


class TestWhatDiffers:
    def test_what_is_the_same_is_not_sent_again(self, copy, here, there):
        assert (copy(here, there).files, copy(here, there).files) == (2, 0)
        assert copy(here, there).unchanged == 2

    def test_content_of_the_same_size_and_time_is_found_to_differ(self, copy, here, there):
        copy(here, there)
        before = (here / "one").stat()
        (here / "one").write_text("ONE")
        os.utime(here / "one", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert copy(here, there).files == 1
        assert (there / "one").read_text() == "ONE"

    def test_a_file_of_another_time_and_the_same_content_is_not_sent_but_gets_the_time(self, copy, here, there):
        copy(here, there)
        os.utime(here / "one", ns=(HOUR, HOUR))
        assert copy(here, there).files == 0
        assert (there / "one").stat().st_mtime_ns == HOUR

    def test_changed_permissions_are_copied_without_the_content(self, copy, here, there):
        copy(here, there)
        (here / "one").chmod(0o600)
        (here / "inner").chmod(0o700)
        assert copy(here, there).files == 0
        assert listing(there) == listing(here)

    def test_always_copy_sends_everything(self, copy, here, there):
        copy(here, there)
        assert copy(here, there, always_copy=True).files == 2

    def test_a_single_file_is_not_sent_again(self, copy, here, there):
        assert copy(here / "one", there).files == 1
        assert copy(here / "one", there).files == 0

    def test_a_changed_link_is_changed(self, copy, here, there):
        copy(here, there)
        (here / "link").unlink()
        (here / "link").symlink_to("inner/two")
        copy(here, there)
        assert listing(there) == listing(here)

    def test_times_are_kept(self, copy, here, there):
        for name in ("one", "inner/two", "inner", "."):
            os.utime(here / name, ns=(HOUR, HOUR + 123))
        os.utime(here / "link", ns=(HOUR, HOUR), follow_symlinks=False)
        copy(here, there)
        assert [(there / name).stat().st_mtime_ns for name in ("one", "inner/two", "inner", ".")] == [HOUR + 123] * 4
        assert (there / "link").lstat().st_mtime_ns == HOUR

    def test_any_change_arrives(self, copy, here, there):
        chance = random.Random(1)
        names = [f"{folder}{name}" for folder in ("", "inner/") for name in NAMES]
        for _ in range(8):
            for name in chance.sample(names, 4):
                path = here / name
                if path.is_symlink() or path.exists():
                    path.unlink()
                what = chance.choice(["file", "file", "link", "none"])
                if what == "file":
                    path.write_bytes(chance.randbytes(chance.choice([0, 3, 5000, 300_000])))
                    path.chmod(chance.choice([0o400, 0o644, 0o755]))
                elif what == "link":
                    path.symlink_to(chance.choice(names))
            copy(here, there, delete=True)
            assert listing(there) == listing(here)


class TestWhatIsThere:
    def test_a_read_only_folder_is_written_into_and_stays_read_only(self, copy, here, there):
        (here / "inner").chmod(0o500)
        copy(here, there)
        (here / "inner" / "two").chmod(0o600)
        (here / "inner" / "two").write_text("changed")
        copy(here, there)
        assert listing(there) == listing(here)

    def test_a_file_in_the_place_of_a_link_replaces_it_and_not_what_it_leads_to(self, copy, here, there):
        there.mkdir()
        (there.parent / "kept").write_text("kept")
        (there / "one").symlink_to(there.parent / "kept")
        copy(here, there)
        assert (there.parent / "kept").read_text() == "kept"
        assert listing(there) == listing(here)

    def test_delete_removes_what_the_source_does_not_have(self, copy, here, there, tmp_path):
        (there / "old" / "deep").mkdir(parents=True)
        (there / "old" / "deep" / "file").touch()
        (there / "dangling").symlink_to("nowhere")
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "kept").touch()
        (there / "out").symlink_to(tmp_path / "outside")
        copy(here, there, delete=True)
        assert listing(there) == listing(here)
        assert (tmp_path / "outside" / "kept").exists()

    def test_a_shared_folder_stays_one(self, copy, here, there):
        (there / "inner").mkdir(parents=True)
        (there / "inner").chmod(0o2775)
        (here / "inner").chmod(0o755)
        copy(here, there)
        assert stat.S_IMODE((there / "inner").stat().st_mode) == 0o2755


class TestManyAndLarge:
    def test_five_thousand_files(self, ssh_client, tmp_path, there):
        here = tmp_path / "many"
        for folder in range(50):
            (here / str(folder)).mkdir(parents=True)
            for number in range(100):
                (here / str(folder) / f"{number:0100}").write_text(f"{folder} {number}")
        assert ssh_client.push(here, str(there)).files == 5000
        assert ssh_client.pull(str(there), tmp_path / "back").files == 5000
        assert listing(tmp_path / "back") == listing(here)
        assert ssh_client.push(here, str(there)).files == 0

    @pytest.mark.parametrize("size", [0, 1, 131_058, 131_059, 131_060, 131_072, 1_000_000])
    def test_files_of_all_sizes(self, copy, tmp_path, there, size):
        (tmp_path / "file").write_bytes(os.urandom(size))
        assert copy(tmp_path / "file", there).files == 1
        assert there.read_bytes() == (tmp_path / "file").read_bytes()
        assert copy(tmp_path / "file", there).files == 0

    def test_names_that_are_not_text(self, copy, here, there):
        os.mkdir(os.fsencode(here) + b"/\xff\xfe")
        with open(os.fsencode(here) + b"/\xff\xfe/\x80", "w") as file:
            file.write("x")
        copy(here, there)
        assert listing(there) == listing(here)

    @pytest.mark.matrix
    def test_every_python_over_there_can_do_it(self, far_client, here, there, tmp_path):
        for name in NAMES:
            (here / name).write_text(name)
        assert far_client.push(here, str(there)).files == 2 + len(NAMES)
        assert far_client.push(here, str(there), compress=True).files == 0
        far_client.pull(str(there), tmp_path / "back", compress=True)
        assert listing(tmp_path / "back") == listing(here)


class TestProgress:
    def test_it_ends_with_all_bytes_done(self, copy, here, there):
        told = []
        copy(here, there, progress=told.append)
        assert (told[-1].files, told[-1].bytes, told[-1].bytes_done) == (2, 6, 6)

    def test_what_need_not_be_sent_is_done_too(self, copy, here, there):
        copy(here, there)
        told = []
        copy(here, there, progress=told.append)
        assert (told[-1].bytes, told[-1].bytes_done) == (6, 6)

    def test_an_unknown_option_is_a_usage_error(self, copy, here, there):
        with pytest.raises(UsageError, match="there is no option 'dry'"):
            copy(here, there, dry=True)
