"""pytest-xdist over sremote: ``PYTEST_PLUGINS=xdist_plugin pytest -n 2``, with this file's folder on PYTHONPATH.

xdist is written for execnet.  This plugin gives it sremote.execnet under that name, before it looks.  Then ``--tx``
takes sremote's ways, too: ``--tx ssh=user@host``, ``--tx host=socket://machine:port``.  A worker needs no plugin.

Run as a program, it shows that: two workers on this machine, or one on the host that is given.  pytest and
pytest-xdist must be there: see sremote install.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import sremote
import sremote.execnet

sys.modules["execnet"] = sremote.execnet

TESTS = """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_that_numbers_have_squares(number):
    assert number * number >= 0
"""


def main() -> int:
    """Run a few tests in workers."""
    host = sys.argv[1] if len(sys.argv) > 1 else None
    if host is not None:
        with sremote.connect(host) as client:
            print("the worker runs on", client.host.name)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_PLUGINS": "xdist_plugin"}
    with tempfile.TemporaryDirectory() as suite:
        (Path(suite) / "test_squares.py").write_text(TESTS)
        workers = ["-n", "2"] if host is None else ["--dist", "load", "--tx", f"host={host}", "--rsyncdir", suite]
        options = ["-q", "-p", "no:cacheprovider", *workers]
        command = [sys.executable, "-m", "pytest", *options, suite]
        done = subprocess.run(command, cwd=suite, env=environment, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
