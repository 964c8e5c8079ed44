"""A call's surroundings: what a request asks for is what the function finds."""

import os
from pathlib import Path
from typing import Any

from tests.interpreter.far_side import FarSide


def found(far_side: FarSide, **surroundings: Any) -> dict[str, Any]:
    """Return what a function finds around it."""
    result: dict[str, Any] = far_side.do("surroundings", surroundings=surroundings).result()
    return result


def test_variables_are_set(far_side: FarSide) -> None:
    env = found(far_side, env={"GREETING": "hello \N{SNOWMAN}\n$HOME", "LANG": "fr"})["env"]
    assert (env["GREETING"], env["LANG"]) == ("hello \N{SNOWMAN}\n$HOME", "fr")


def test_defaults_are_set_where_there_is_nothing(far_side: FarSide) -> None:
    far_side.environment["PRESENT"] = "there"
    env = found(far_side, env={"GIVEN": "given"}, env_default={"PRESENT": "x", "GIVEN": "x", "ABSENT": "default"})[
        "env"
    ]
    assert (env["PRESENT"], env["GIVEN"], env["ABSENT"]) == ("there", "given", "default")


def test_folders_are_appended_to_path(far_side: FarSide) -> None:
    far_side.environment["PATH"] = "/usr/bin:/bin"
    assert found(far_side, path=["/opt/a b", "/opt/c"])["env"]["PATH"] == "/usr/bin:/bin:/opt/a b:/opt/c"


def test_the_working_directory_is_home_unless_another_is_given(far_side: FarSide, tmp_path: Path) -> None:
    far_side.environment["HOME"] = str(tmp_path)
    inner = tmp_path / "in side"
    inner.mkdir()
    assert found(far_side)["cwd"] == str(tmp_path)
    assert found(far_side, cwd="~/in side")["cwd"] == str(inner)
    assert found(far_side, cwd="/")["cwd"] == "/"


def test_modules_in_the_working_directory_can_be_imported_but_hide_no_others(far_side: FarSide, tmp_path: Path) -> None:
    assert found(far_side, cwd=str(tmp_path))["path"][-1] == str(tmp_path)


def test_the_login_environment_is_that_of_a_login_shell(far_side: FarSide, tmp_path: Path) -> None:
    far_side.environment.update(HOME=str(tmp_path), SHELL="/bin/sh", TAKEN="no")
    profile = "echo noise; export FROM_PROFILE='two\nlines' TAKEN=yes WANTED=profile\n"
    (tmp_path / ".profile").write_text(profile)
    env = found(far_side, login_env=True, env={"WANTED": "request"})["env"]
    assert (env["FROM_PROFILE"], env["TAKEN"], env["WANTED"]) == ("two\nlines", "yes", "request")
    assert "FROM_PROFILE" not in found(far_side)["env"]


def test_a_login_shell_of_another_family_is_read_through_sh(far_side: FarSide, tmp_path: Path) -> None:
    shell = tmp_path / "fish"
    shell.write_text("#!/bin/sh\necho this is not POSIX; exit 1\n")
    shell.chmod(0o755)
    (tmp_path / ".profile").write_text("export FROM_PROFILE=yes\n")
    far_side.environment.update(HOME=str(tmp_path), SHELL=str(shell))
    assert found(far_side, login_env=True)["env"]["FROM_PROFILE"] == "yes"


def test_what_is_sremotes_own_does_not_show(far_side: FarSide) -> None:
    assert "SREMOTE_PYTHON" not in found(far_side)["env"]


def test_a_host_without_path_or_home_still_finds_both(far_side: FarSide) -> None:
    for name in ("PATH", "HOME"):
        del far_side.environment[name]
    job = far_side.run("sh", "-c", "pwd")
    assert job.stdout.strip() == os.path.realpath(os.path.expanduser(f"~{os.environ.get('USER', 'root')}"))
