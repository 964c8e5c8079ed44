"""Versions compare on the far side as pip compares them."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from sremote.interpreter.requirements import installed_version, matches, unmet

releases = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
stages = st.sampled_from(["", "", "", "a1", "b2", "rc1", ".dev3"])
versions = st.builds(lambda release, stage: release + stage, releases, stages)
clauses = st.builds(
    lambda operator, version: operator + version, st.sampled_from(["==", "!=", ">=", "<=", ">", "<"]), releases
) | st.builds(lambda operator, release: f"{operator}{release}.*", st.sampled_from(["==", "!="]), releases)


@given(versions, st.lists(clauses, max_size=3).map(",".join))
def test_a_version_meets_what_packaging_says_it_meets(version: str, specifier: str) -> None:
    # ">1" does not take 1.post1 nor "<1" take 1a1 in PEP 440; the far side's order is plain there.
    if any(clause[0] == "<" and clause[1] != "=" for clause in specifier.split(",") if clause):
        version = Version(version).base_version
    assert matches(version, specifier) == SpecifierSet(specifier).contains(version, prereleases=True)


@pytest.mark.parametrize(
    ("version", "specifier", "met"),
    [
        ("1.26.4", "~=1.26.0", True),
        ("1.27", "~=1.26.0", False),
        ("2.0", "~=1.26", False),
        ("1.0+cu121", "==1.0", True),
        ("1.0.post1", ">=1.0", True),
        ("v2", ">=1", True),
        ("1.0-local", "===1.0-local", True),
        ("1.0", "===1", False),
        ("anything", "", True),
        ("1", " >= 1 , < 2 ", True),
    ],
)
def test_the_rarer_specifiers_work(version: str, specifier: str, met: bool) -> None:
    assert matches(version, specifier) is met


def test_a_distribution_a_module_and_python_itself_have_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "versioned.py").write_text("__version__ = '1.5'\n")
    (tmp_path / "versionless.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installed_version("pytest") == pytest.__version__
    assert installed_version("python") == ".".join(map(str, sys.version_info[:3]))
    assert installed_version("versioned") == "1.5"
    assert installed_version("versionless") == ""
    assert installed_version("no_such_module") is None


def test_each_requirement_that_does_not_hold_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strange.py").write_text("__version__ = 'tip'\n")
    (tmp_path / "silent.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert unmet({"pytest": ">=1", "strange": "", "silent": ""}) == []
    assert unmet({"strange": ">=1", "silent": ">=1", "no_such_module": "", "python": "<3"}) == [
        "strange is tip, not >=1",
        "silent is of unknown version, not >=1",
        "no_such_module is not installed",
        f"python is {'.'.join(map(str, sys.version_info[:3]))}, not <3",
    ]
