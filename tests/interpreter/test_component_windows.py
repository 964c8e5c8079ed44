"""Windows: where a login session's end would kill them, they are started outside of it."""

import os
import subprocess
from pathlib import Path

import pytest

from sremote.interpreter import component_windows
from sremote.interpreter.component_windows import Window, open_windows
from tests.kit.sessions import session_folders


@pytest.mark.parametrize("kind", ["screen", "tmux", ""])
def test_a_session_is_started_in_a_scope_of_its_own_where_logging_out_would_end_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for systemd-run notes that it was asked; what it starts is real."""
    stand_in = tmp_path / "systemd-run"
    stand_in.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(component_windows, "is_in_session", lambda: True)
    monkeypatch.setattr(component_windows, "lingers", lambda: True)
    with session_folders() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        for number in range(2):
            window = Window(f"w{number}", ["sh", "-c", f"echo > {tmp_path}/ran{number}"])
            open_windows(kind, "scoped", [window], zombie=True, commands=str(tmp_path / "commands"))
        while not all((tmp_path / f"ran{number}").exists() for number in range(2)):
            subprocess.run(["sleep", "0.02"], check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == (2 if kind == "" else 1), "a window of a session that is there needs no scope"
    assert asked[0].startswith("--user --scope ")
