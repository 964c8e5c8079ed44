"""The far side's look at an environment and at what pip there would use."""

import json
import os
import sys
from pathlib import Path

import pytest

from sremote.interpreter import inspection
from tests.kit.packages import package_index


@pytest.fixture(autouse=True)
def no_settings_of_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def test_the_answer_is_the_last_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspection.main([str(tmp_path), "default", "no"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["python"]["version"] == list(sys.version_info[:3])
    assert answer["environment"] is None
    assert answer["index"] is None


def test_an_environment_that_sremote_did_not_make_has_no_generation(tmp_path: Path) -> None:
    (tmp_path / "env" / "default").mkdir(parents=True)
    found = inspection.environment_facts(str(tmp_path), "default")
    assert found == {"generation": None, "works": False, "record": None, "installed": {}}


@pytest.mark.parametrize("record", ["", "{", "[]", '{"format": 2}'])
def test_a_record_that_is_damaged_or_of_another_format_is_none(tmp_path: Path, record: str) -> None:
    generation = tmp_path / "env" / ".default-1"
    generation.mkdir(parents=True)
    (generation / "sremote.json").write_text(record)
    (tmp_path / "env" / "default").symlink_to(".default-1")
    found = inspection.environment_facts(str(tmp_path), "default")
    assert found is not None
    assert found["generation"] == ".default-1"
    assert found["record"] is None


def test_distributions_are_named_as_packaging_does(tmp_path: Path) -> None:
    (tmp_path / "lib" / "python3.11" / "site-packages" / "My_Tool.x-1.0.dist-info").mkdir(parents=True)
    assert inspection.distributions(str(tmp_path)) == {"my-tool-x": "1.0"}


def test_an_index_that_answers_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with package_index(tmp_path) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        assert inspection.index_facts() == {"url": url, "failure": None}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9/simple", "refused"),
        ("file:///nowhere/at/all", "no such folder"),
        ("gopher://example.org", "not an address of an index"),
    ],
)
def test_an_index_that_does_not_answer_is_not_reached(monkeypatch: pytest.MonkeyPatch, url: str, reason: str) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", url)
    assert reason in str(inspection.index_facts()["failure"])


def test_a_folder_may_be_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", tmp_path.as_uri())
    assert inspection.index_facts()["failure"] is None


def test_pips_configuration_may_name_the_index_or_forbid_it(client_home: Path) -> None:
    file = client_home / ".config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True)
    file.write_text("[global]\nindex-url = https://me:secret@example.org/simple\n")
    assert inspection.configured_index() == "https://me:secret@example.org/simple"
    file.write_text("[global]\nno-index = true\n")
    assert inspection.index_facts() == {"url": None, "failure": "pip's configuration there says no-index"}


def test_a_broken_configuration_of_pip_is_passed_over(client_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (client_home / "pip.conf").write_text("index-url")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(client_home / "pip.conf"))
    assert inspection.configured_index() == inspection.INDEX


def test_a_password_is_not_reported() -> None:
    assert inspection.without_password("https://me:secret@example.org/simple") == "https://example.org/simple"


def test_folders_that_other_users_cannot_pass_are_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert str(tmp_path) in inspection.closed_folders(str(tmp_path / "new" / "root"))
