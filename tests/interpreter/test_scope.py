"""Supervisors move to a scope of the user's own systemd where their session's end would kill them.

No systemd runs here, so ``systemd-run`` is a script that does what systemd-run(1) says:
it runs what stands behind ``--`` and ends as that does, or fails before.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sremote.interpreter import scope

PROGRAM = """
import sys
from sremote.interpreter import scope
scope.is_in_session = lambda: {session}
scope.lingers = lambda: {lingers}
scope.in_own_scope([sys.executable, "-c", "import os, sys; print(os.environ.get('SCOPE'), sys.argv[1:])"])
print("as it is")
"""


def run(folder: Path, script: str | None, *, session: bool = True, lingers: bool = True) -> str:
    program = PROGRAM.format(session=session, lingers=lingers)
    if script is not None:
        (folder / "systemd-run").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "systemd-run").chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:/usr/bin:/bin"} if script else {**os.environ, "PATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_it_goes_on_in_a_scope_where_the_user_may_linger(tmp_path: Path) -> None:
    script = 'case "$*" in "--user --scope "*) ;; *) exit 1;; esac; while [ "$1" != -- ]; do shift; done; shift; '
    assert run(tmp_path, script + 'SCOPE=own exec "$@"') == "own ['--supervise']\n"


def test_it_goes_on_as_it_is_where_systemd_refuses(tmp_path: Path) -> None:
    assert run(tmp_path, "echo refused >&2; exit 1") == "None ['--supervise']\n"


@pytest.mark.parametrize(("session", "lingers"), [(False, True), (True, False)])
def test_nothing_happens_where_it_need_not_or_cannot(tmp_path: Path, session: bool, lingers: bool) -> None:
    assert run(tmp_path, "exit 1", session=session, lingers=lingers) == "as it is\n"


def test_nothing_happens_without_systemd(tmp_path: Path) -> None:
    assert run(tmp_path, None) == "as it is\n"


def test_whether_this_user_lingers_can_be_told() -> None:
    assert scope.lingers() is False or os.path.exists(scope.runtime_folder())
    assert isinstance(scope.is_in_session(), bool)
