"""An installation that other users of a host share, and how they find it."""

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import sremote
from sremote.connection import open_host
from sremote.discovery import find_location
from sremote.errors import FormatError, NotInstalled
from sremote.host import Host
from sremote.hosts import HostSettings
from sremote.installer import InstallReport, install
from tests.sremote.install.looking import steps, tree


class Site:
    """A shared installation with hammer, which also is the application tools, and the home of who made it."""

    def __init__(self, home: Path, folder: Path, wheel: Path) -> None:
        self.home = home
        self.folder = folder
        self.wheel = wheel
        self.host = open_host(HostSettings("local:"))
        self.report = self.install()

    def install(self) -> InstallReport:
        # One in a home directory would be closed to other users.
        python = shutil.which("python3", path="/usr/local/bin:/usr/bin")
        if python is None:
            pytest.skip("needs a Python that all users may run: apt-get install python3")
        return install(
            self.host, packages=[str(self.wheel)], python=python, shared=str(self.folder), application="tools"
        )


@pytest.fixture(scope="module")
def made_site(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory(prefix="public-") as public:
        patch.setenv("HOME", str(home))
        os.chmod(public, 0o755)
        yield Site(home, Path(public, "sremote"), packages / "hammer-1.0-py3-none-any.whl")


@pytest.fixture
def site(made_site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("HOME", str(made_site.home))
    return made_site


def test_the_steps_of_sharing_are_reported(site: Site) -> None:
    assert steps(site.report) == dict.fromkeys(
        ["interpreter", "environment", "packages", "sharing", "location"], True
    ) | {"python": False}


def test_all_users_may_read_all_of_it_and_change_none(site: Site) -> None:
    for path in [site.folder, *site.folder.rglob("*")]:
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            assert mode & 0o044 == 0o044, path
            assert not mode & 0o022, path
        if stat.S_ISDIR(mode):
            assert mode & 0o011 == 0o011, path


@pytest.mark.root
def test_another_user_can_use_it(site: Site) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    python = site.folder / "env" / "default" / "bin" / "python"
    source = "import hammer; print(hammer.VERSION)"
    done = subprocess.run([python, "-c", source], user=65534, cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == "1.0\n"


def test_no_jobs_are_kept_in_it(site: Site) -> None:
    assert sorted(path.name for path in site.folder.iterdir()) == ["env", "interpreter", "location.json"]


def test_the_second_time_nothing_changes(site: Site) -> None:
    before = tree(site.folder)
    assert not site.install().changed
    assert tree(site.folder) == before


def test_its_location_is_found_by_the_folder(site: Site) -> None:
    found = find_location(site.host.connector, "tools", root=str(site.folder))
    assert (found.installation, found.environment) == (str(site.folder), "default")


def test_its_location_is_found_by_the_applications_name(site: Site) -> None:
    found = find_location(site.host.connector, "tools")
    assert (found.installation, found.root) == (str(site.folder), ".sremote")


def test_an_application_may_have_an_installation_of_ones_own(installed_host: Host, client_home: Path) -> None:
    file = client_home / ".sremote" / "location.json"
    file.write_text('{"format": 1, "applications": {"other": {"environment": "other"}}}')
    install(installed_host, application="tools")
    assert json.loads(file.read_text())["applications"] == {
        "other": {"environment": "other"},
        "tools": {"installation": str(client_home / ".sremote"), "environment": "default"},
    }
    assert not install(installed_host, application="tools").changed


def test_a_damaged_location_file_is_not_written_over(installed_host: Host, client_home: Path) -> None:
    file = client_home / ".sremote" / "location.json"
    file.write_text("{")
    with pytest.raises(FormatError, match=r"location\.json is not JSON"):
        install(installed_host, application="tools")
    assert file.read_text() == "{"


def test_a_folder_that_others_cannot_pass_is_named(host: Host, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    report = install(host, shared=str(closed / "sremote"), dry_run=True)
    assert [note for note in report.notes if str(closed) in note]


class TestAClientOfTheApplication:
    @pytest.fixture
    def client(self, site: Site) -> Iterator[sremote.Client]:
        with sremote.connect("local:", application="tools") as client:
            yield client

    def test_uses_the_shared_environment_and_interpreter(self, site: Site, client: sremote.Client) -> None:
        assert client.call("hammer", "__name__.upper") == "HAMMER"
        assert client.host.probe().interpreter.startswith(str(site.folder))

    def test_keeps_its_jobs_in_the_users_own_folder(self, site: Site, client: sremote.Client) -> None:
        client.run(["true"])
        assert client.facts().root == str(site.home / ".sremote")
        assert sorted(path.name for path in site.folder.iterdir()) == ["env", "interpreter", "location.json"]

    def test_starts_in_the_folders_that_the_location_names(self, site: Site, client_home: Path) -> None:
        file = site.home / ".sremote" / "location.json"
        found = json.loads(file.read_text())
        (site.home / "runs").mkdir(exist_ok=True)
        found["applications"]["elsewhere"] = {**found["applications"]["tools"], "working": "runs", "temporary": "runs"}
        file.write_text(json.dumps(found))
        with sremote.connect("local:", application="elsewhere") as client:
            assert client.call("os", "getcwd") == os.path.realpath(site.home / "runs")
            assert client.call("os", "getenv", ["TMPDIR"]) == str(site.home / "runs")

    def test_hears_of_an_application_that_nobody_installed(self, site: Site) -> None:
        with pytest.raises(NotInstalled, match="knows no application 'unknown'; those there: tools"):
            sremote.connect("local:", application="unknown")


def test_a_client_uses_what_it_has_just_installed(client_home: Path, packages: Path) -> None:
    with sremote.connect("local:") as client:
        with pytest.raises(NotInstalled):
            client.call("hammer", "__name__.upper")
        client.install(packages=[str(packages / "hammer-1.0-py3-none-any.whl")])
        assert client.call("hammer", "__name__.upper") == "HAMMER"
