"""``sremote install``: an environment is made, filled and changed, and is whole at every moment."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sremote.errors import HostFull, NotInstalled, PythonMissing, UsageError
from sremote.host import Host
from sremote.installer import install
from tests.kit.pythons import installed_pythons
from tests.sremote.install.looking import environment, run_in, steps, tree


def other_python() -> str:
    """Return a Python of this machine that is not the first one on PATH."""
    first = os.path.realpath(shutil.which("python3") or "")
    others = (str(python.path) for python in installed_pythons() if python.minor >= 11)
    return next(path for path in others if os.path.realpath(path) != first)


def test_a_package_is_installed_into_a_new_environment(host: Host) -> None:
    report = install(host, packages=["hammer"])
    assert run_in(environment(host), "import hammer; print(hammer.VERSION)") == "2.0"
    assert report.installed == {"hammer": "2.0"}
    assert report.differences == {"hammer": (None, "2.0")}
    assert steps(report) == {"python": False, "interpreter": True, "environment": True, "packages": True}


def test_an_environment_without_packages_is_a_few_files(host: Host) -> None:
    install(host)
    assert len(tree(environment(host).resolve())) < 20


def test_the_second_time_nothing_changes(installed_host: Host) -> None:
    before = tree(Path(installed_host.probe().root))
    report = install(installed_host, packages=["hammer==1.0", "oldblade"])
    assert not report.changed
    assert tree(Path(installed_host.probe().root)) == before


@pytest.mark.long
def test_what_was_installed_before_stays(installed_host: Host) -> None:
    report = install(installed_host, packages=["newblade"])
    assert report.installed == {"hammer": "1.0", "oldblade": "1.0", "newblade": "1.0"}
    assert report.differences == {"newblade": (None, "1.0")}


@pytest.mark.long
def test_another_version_takes_the_place_of_the_one_before(installed_host: Host) -> None:
    report = install(installed_host, packages=["hammer==2.0"])
    assert report.differences == {"hammer": ("1.0", "2.0")}
    assert "hammer 2.0 (was 1.0)" in [step.detail for step in report.steps]


@pytest.mark.long
def test_what_was_asked_for_before_limits_what_comes_later(installed_host: Host) -> None:
    with pytest.raises(NotInstalled, match="conflict"):
        install(installed_host, packages=["nail"])


def test_a_dry_run_says_what_would_happen_and_touches_nothing(host: Host, client_home: Path) -> None:
    report = install(host, packages=["hammer"], shared="shared", application="tools", dry_run=True)
    assert steps(report) == {
        "python": False,
        "interpreter": True,
        "environment": True,
        "packages": True,
        "sharing": False,
        "location": True,
    }
    assert "hammer" in [step.detail for step in report.steps]
    assert not (client_home / ".sremote").exists()
    assert not (client_home / "shared").exists()


def test_a_package_that_does_not_exist_leaves_nothing_behind(host: Host) -> None:
    with pytest.raises(NotInstalled, match=r"on local:: No matching distribution found for screwdriver"):
        install(host, packages=["screwdriver"])
    assert tree(Path(host.probe().root, "env")) == []


def test_a_failure_leaves_the_environment_as_it_was(installed_host: Host) -> None:
    before = tree(environment(installed_host).parent)
    with pytest.raises(NotInstalled):
        install(installed_host, packages=["newblade", "screwdriver"])
    assert tree(environment(installed_host).parent) == before


@pytest.mark.long
def test_a_program_of_a_package_runs_after_every_change(host: Host) -> None:
    install(host, packages=["hammer==1.0"])
    install(host, packages=["oldblade"])
    program = environment(host) / "bin" / "hammer"
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "hello from 1.0\n"
    assert program.read_text().startswith(f"#!{environment(host)}/bin/python")


def test_a_job_that_runs_keeps_the_environment_it_started_in(installed_host: Host) -> None:
    started = environment(installed_host).resolve()
    install(installed_host, packages=["hammer==2.0"])
    assert run_in(started, "import hammer; print(hammer.VERSION)") == "1.0"
    install(installed_host, packages=["newblade"])
    assert not started.exists()


@pytest.mark.long
def test_another_python_makes_the_environment_anew_with_all_that_was_in_it(installed_host: Host) -> None:
    report = install(installed_host, python=other_python())
    place = environment(installed_host)
    assert os.path.realpath(place / "bin" / "python") == os.path.realpath(other_python())
    assert report.installed == {"hammer": "1.0", "oldblade": "1.0"}
    assert not install(installed_host, packages=["hammer==1.0"]).changed


def test_an_environment_whose_python_has_gone_is_made_anew(installed_host: Host, tmp_path: Path) -> None:
    python = environment(installed_host) / "bin" / "python"
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    report = install(installed_host)
    assert "does not start" in next(step.detail for step in report.steps if step.name == "environment")
    assert run_in(environment(installed_host), "import hammer; print(hammer.VERSION)") == "1.0"


@pytest.mark.long
def test_a_damaged_record_makes_the_environment_anew(installed_host: Host) -> None:
    (environment(installed_host) / "sremote.json").write_text("{")
    report = install(installed_host)
    assert steps(report)["environment"]
    assert report.installed == {}


def test_a_folder_that_sremote_did_not_make_is_left_alone(host: Host) -> None:
    environment(host).mkdir(parents=True)
    with pytest.raises(UsageError, match="sremote did not make it"):
        install(host)
    assert tree(environment(host)) == []


@pytest.mark.long
def test_environments_of_several_names_stand_side_by_side(installed_host: Host) -> None:
    install(installed_host, environment="new", packages=["hammer==2.0"])
    assert run_in(environment(installed_host, "default"), "import hammer; print(hammer.VERSION)") == "1.0"
    assert run_in(environment(installed_host, "new"), "import hammer; print(hammer.VERSION)") == "2.0"


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_a_name_that_leads_elsewhere_is_refused(host: Host, name: str) -> None:
    with pytest.raises(UsageError, match="not a name for an environment"):
        install(host, environment=name)


@pytest.mark.long
def test_a_requirements_file_is_followed(host: Host, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("oldblade ; python_version >= '3'\nnewblade ; python_version < '3'\n")
    (tmp_path / "limits.txt").write_text("hammer<2\n")
    file = tmp_path / "requirements.txt"
    file.write_text("# tools\nhammer \\\n  >=1  # any\n-r more.txt\n-c limits.txt\n")
    assert install(host, requirements=[file]).installed == {"hammer": "1.0", "oldblade": "1.0"}
    assert not install(host, requirements=[file]).changed


def test_the_hosts_pip_settings_do_not_lead_an_installation_astray(
    installed_host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    install(installed_host, packages=["newblade"])
    assert run_in(environment(installed_host), "import newblade; print(newblade.VERSION)") == "1.0"


def test_progress_tells_the_steps(installed_host: Host) -> None:
    said: list[tuple[str, str]] = []
    install(installed_host, packages=["newblade"], progress=lambda step, text: said.append((step, text)))
    assert said[0] == ("python", "looking for a Python")
    assert any(text.startswith("Collecting newblade") for _, text in said)


def test_the_record_says_what_was_asked_for(installed_host: Host) -> None:
    record = json.loads((environment(installed_host) / "sremote.json").read_text())
    assert record["format"] == 1
    assert record["requested"] == {"hammer": "hammer==1.0", "oldblade": "oldblade"}


def test_a_missing_python_is_named(host: Host) -> None:
    with pytest.raises(PythonMissing, match="no-such-python"):
        install(host, python="no-such-python")


@pytest.fixture
def small_home(client_home: Path) -> Iterator[Path]:
    """A file system of 4 MiB in memory as the home directory's ``small``."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    place = client_home / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.root
def test_a_full_disk_leaves_the_environment_as_it_was(host: Host, small_home: Path, packages: Path) -> None:
    host = Host(host.connector, root=str(small_home))
    install(host)
    before = tree(small_home)
    (small_home / "ballast").write_bytes(bytes(os.statvfs(small_home).f_bavail * 4096 - 100_000))
    with pytest.raises(HostFull, match="no space is left"):
        install(host, packages=["hammer"])
    (small_home / "ballast").unlink()
    assert tree(small_home) == before
