"""Which wheels fit a host's Python, which requirements are met, and what pip's failures mean."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sremote.errors import HostUnreachable, NotInstalled, UsageError
from sremote.requirements import read_wanted
from sremote.target import Target, target_of
from sremote.virtualenv_bundle import pip_zip, virtualenv_zip
from sremote.wheels import failure, last_words
from tests.kit.pythons import Python, installed_pythons

INSPECTION = Path(__file__).parents[3] / "interpreter" / "inspection.py"


@functools.cache
def target(python: str) -> Target:
    command = [python, str(INSPECTION), "/nowhere", "default", "no"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return target_of(json.loads(done.stdout)["python"])


def facts(**given: object) -> dict[str, object]:
    markers = {"implementation_name": "cpython", "python_version": "3.11"}
    return {"version": [3, 11, 2], "soabi": "cpython-311-x", "markers": markers, "libc": "", **given}


@pytest.mark.parametrize("python", installed_pythons(), ids=str)
def test_the_tags_of_a_python_are_those_that_its_own_pip_says(python: Python, cache: Path, tmp_path: Path) -> None:
    there = target(str(python.path))
    pip = tmp_path / "pip.zip"
    pip.write_bytes(pip_zip(there))
    script = "import sys; sys.path.insert(0, sys.argv[1])\nfrom pip._vendor.packaging.tags import sys_tags\n"
    command = [python.path, "-c", script + "print(*sys_tags())", pip]
    own = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    tags = {str(tag) for tag in there.tags()}
    # Newer lists have this one more, for a Python older than they are.
    assert tags - own <= {f"cp3{python.minor}-none-any"}
    assert own <= tags


@pytest.mark.parametrize(
    ("platform", "libc", "wheel", "fits"),
    [
        ("linux-x86_64", "glibc 2.17", "manylinux_2_17_x86_64", True),
        ("linux-x86_64", "glibc 2.17", "manylinux2014_x86_64", True),
        ("linux-x86_64", "glibc 2.17", "manylinux1_x86_64", True),
        ("linux-x86_64", "glibc 2.17", "manylinux_2_28_x86_64", False),
        ("linux-x86_64", "glibc 2.17", "musllinux_1_1_x86_64", False),
        ("linux-x86_64", "musl 1.2", "musllinux_1_1_x86_64", True),
        ("linux-x86_64", "musl 1.2", "manylinux_2_17_x86_64", False),
        ("linux-aarch64", "glibc 2.36", "manylinux_2_17_aarch64", True),
        ("linux-aarch64", "glibc 2.36", "manylinux_2_17_x86_64", False),
        ("linux-ppc64le", "", "linux_ppc64le", True),
        ("macosx-12.6-arm64", "", "macosx_11_0_arm64", True),
        ("macosx-12.6-arm64", "", "macosx_13_0_arm64", False),
        ("freebsd-13.2-RELEASE-amd64", "", "freebsd_13_2_release_amd64", True),
    ],
)
def test_wheels_fit_a_platform(platform: str, libc: str, wheel: str, fits: bool) -> None:
    there = target_of(facts(platform=platform, libc=libc))
    assert there.fits(f"it-1.0-cp311-cp311-{wheel}.whl") is fits
    assert there.fits("it-1.0-py3-none-any.whl")


@pytest.mark.parametrize(
    ("name", "soabi", "abi"),
    [
        ("cpython", "cpython-36m-x86_64-linux-gnu", "cp36m"),
        ("cpython", "cpython-313t-x86_64-linux-gnu", "cp313t"),
        ("cpython", "", "cp311"),
        ("pypy", "pypy310-pp73-x86_64-linux-gnu", "pypy310_pp73"),
    ],
)
def test_the_abi_is_read_off_what_the_python_says(name: str, soabi: str, abi: str) -> None:
    there = facts(platform="linux-x86_64", soabi=soabi, markers={"implementation_name": name})
    assert target_of(there).abi == abi


def test_a_file_that_is_no_wheel_fits_nothing() -> None:
    assert not target(sys.executable).fits("it.tar.gz")


@pytest.mark.parametrize("python", [python for python in installed_pythons() if python.minor in (6, 9)], ids=str)
def test_an_old_python_gets_a_virtualenv_that_it_can_run_and_that_is_kept(
    python: Python, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = target(str(python.path))
    bundle = tmp_path / "virtualenv.zip"
    bundle.write_bytes(virtualenv_zip(there))
    script = "import sys; sys.path.insert(0, sys.argv[1])\nimport virtualenv; print(virtualenv.__version__)"
    subprocess.run([python.path, "-I", "-c", script, bundle], check=True)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert virtualenv_zip(there) == bundle.read_bytes()


@pytest.mark.parametrize(
    ("text", "installed", "requested", "met"),
    [
        ("hammer", {}, [], False),
        ("hammer", {"hammer": "1.0"}, [], True),
        ("Hammer>=1", {"hammer": "1.0"}, [], True),
        ("hammer>1", {"hammer": "1.0"}, [], False),
        ("hammer", {"hammer": "1.0rc1"}, [], True),
        ("hammer[steel]", {"hammer": "1.0"}, [], False),
        ("hammer[steel]", {"hammer": "1.0"}, ["hammer[steel]"], True),
        ("hammer @ https://example.org/hammer-1.0.zip", {"hammer": "1.0"}, [], False),
    ],
)
def test_a_requirement_is_met(text: str, installed: dict[str, str], requested: list[str], met: bool) -> None:
    (line,) = read_wanted([text]).lines
    assert line.is_met(installed, requested) is met


def test_a_requirements_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.txt cannot be read: No such file"):
        read_wanted(requirements=[tmp_path / "none.txt"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a\n??\n", r":2: '\?\?' is not a requirement"),
        ("--upgrade\n", r":1: the option --upgrade cannot be used here"),
        ("./nowhere\n", r":1: there is no \./nowhere on this machine"),
        ("-r 'x\n", r":1: No closing quotation"),
    ],
)
def test_a_wrong_line_of_a_requirements_file_is_named(tmp_path: Path, content: str, reason: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(content)
    with pytest.raises(UsageError, match=reason):
        read_wanted(requirements=[file])


def test_options_of_a_requirements_file_reach_pip_and_variables_are_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    file = tmp_path / "requirements.txt"
    file.write_text("--index-url https://me:${TOKEN}@example.org/simple\nhammer==1 --hash=sha256:00\n")
    wanted = read_wanted(requirements=[file])
    assert wanted.options == ["--index-url https://me:s3cret@example.org/simple"]
    assert wanted.lines[0].text == "hammer==1 --hash=sha256:00"


def test_files_that_name_each_other_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\nhammer\n")
    (tmp_path / "b.txt").write_text("-r a.txt\nnail\n")
    assert [line.text for line in read_wanted(requirements=[tmp_path / "a.txt"]).lines] == ["nail", "hammer"]


def test_a_password_in_a_url_is_not_recorded() -> None:
    (line,) = read_wanted(["hammer @ https://me:s3cret@example.org/hammer.whl"]).lines
    assert line.shown == "hammer @ https://example.org/hammer.whl"


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("ERROR: No matching distribution found for x", "No matching distribution found for x"),
        ("ERROR: Cannot install a and b\nERROR: ResolutionImpossible: for help", "Cannot install a and b"),
        (
            "  ╰─> [2 lines of output]\n      Traceback\n      KeyError: 1\n      [end of output]\nerror: x",
            "KeyError: 1",
        ),
        ("note\nERROR: Package 'x' requires a different Python", "Package 'x' requires a different Python"),
        ("", "pip gave no reason"),
    ],
)
def test_the_most_telling_line_of_pip_is_found(output: str, words: str) -> None:
    assert last_words(output) == words


def test_a_dead_network_and_a_missing_package_are_told_apart() -> None:
    missing = "ERROR: Could not find a version (from versions: none)\nERROR: No matching distribution found for x"
    assert isinstance(failure(missing, "", "here"), NotInstalled)
    dead = "WARNING: Retrying after connection broken by 'NewConnectionError'\n" + missing
    assert isinstance(failure(dead, "", "here"), HostUnreachable)
