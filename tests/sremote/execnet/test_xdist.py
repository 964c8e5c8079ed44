"""pytest-xdist, a program written for execnet, over sremote's gateways."""

import os
import subprocess
import sys
from pathlib import Path

from tests.kit.sshd import SshServer

EXAMPLES = Path(__file__).parents[3] / "examples"
SUITE = """
import os
import sys
import pytest

def test_runs_in_a_process_of_sremote():
    assert "sremote_interpreter.channel_exec" in sys.modules

@pytest.mark.parametrize("number", range(6))
def test_with_its_number(number, record_property):
    record_property("worker", os.environ["PYTEST_XDIST_WORKER"])
    assert number != 5

def test_that_prints():
    print("printed in a worker")
    assert os.getcwd() == "nowhere"
"""


def run_pytest(folder: Path, *options: str) -> str:
    """Run a small suite over sremote; return what pytest printed."""
    folder.mkdir()
    (folder / "test_numbers.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, str(folder)]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES), "PYTEST_PLUGINS": "xdist_plugin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1, done.stdout
    assert "2 failed, 6 passed" in done.stdout
    assert "printed in a worker" in done.stdout
    assert "assert 5 != 5" in done.stdout
    return done.stdout


def test_two_workers_share_the_tests(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    run_pytest(tmp_path / "suite", "-n", "2", f"--junitxml={report}")
    written = report.read_text()
    assert 'name="worker" value="gw0"' in written
    assert 'name="worker" value="gw1"' in written


def test_a_worker_over_ssh_gets_the_tests_by_rsync(sshd: SshServer, tmp_path: Path) -> None:
    spec = f"ssh=-F {sshd.config_file} {sshd.name}//python={sys.executable}//chdir={tmp_path / 'there'}"
    suite = tmp_path / "suite"
    out = run_pytest(suite, "--dist", "load", "--tx", spec, "--rsyncdir", str(suite))
    assert (tmp_path / "there" / "suite" / "test_numbers.py").exists()
    assert f"{tmp_path / 'there'}" in out
