"""What a host is."""

import os
import platform
import shutil
from pathlib import Path

import pytest

from sremote.interpreter.facts import facts


def test_a_host_tells_what_it_is(tmp_path: Path, client_home: Path) -> None:
    found = facts(str(tmp_path))
    assert found["home"] == str(client_home)
    assert found["version"] == [int(part) for part in platform.python_version_tuple()]
    assert (found["implementation"], found["machine"]) == ("cpython", platform.machine())
    assert found["root"] == str(tmp_path)
    assert found["cores"] >= 1
    assert found["memory"] > 1 << 20
    assert 0 < found["free_bytes"] <= shutil.disk_usage(tmp_path).total


def test_the_file_system_is_that_of_the_folder() -> None:
    assert facts("/proc")["file_system"] == "proc"


@pytest.mark.parametrize(
    ("commands", "scheduler"),
    [([], None), (["sbatch"], "slurm"), (["qsub"], "pbs"), (["qsub", "qconf"], "sge"), (["bsub"], "lsf")],
)
def test_the_scheduler_is_known_by_its_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: list[str], scheduler: str | None
) -> None:
    for name in commands:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert facts("/")["scheduler"] == scheduler


def test_a_user_without_a_name_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("HOME", os.sep)
    assert facts("/")["user"] == "somebody"
