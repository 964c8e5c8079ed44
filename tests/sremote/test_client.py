"""A client leaves nothing behind, whatever became of its calls."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sremote
from sremote.connectors.base import Capability
from sremote.errors import NotInstalled, RemoteExit, RemoteKilled, SremoteError, ValueRefused, WalltimeExceeded
from sremote.host import Host
from tests.kit.clients import connect_to


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    return tmp_path / "root" / "jobs"


@pytest.fixture(params=["streams", "files"])
def own_client(request, sshd, tmp_path) -> Iterator[sremote.Client]:
    """A client with a root of its own; then one that has the three verbs only."""
    root = str(tmp_path / "root")
    made = connect_to(sshd, root=root)
    if request.param == "files":
        made.host.connector.capabilities &= ~Capability.STREAM
        made = sremote.Client(Host(made.host.connector, root=root))
    with made as client:
        yield client


class TestNothingIsLeft:
    def test_of_many_calls(self, own_client, jobs):
        for number in range(10):
            assert own_client.call("operator", "neg", [number]) == -number
        assert len(os.listdir(jobs)) <= 1
        own_client.close()
        assert os.listdir(jobs) == []

    def test_of_calls_from_many_threads(self, own_client, jobs):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda number: own_client.call("operator", "neg", [number]), range(12)))
        own_client.close()
        assert os.listdir(jobs) == []

    @pytest.mark.parametrize(
        ("module", "function", "arguments", "error"),
        [
            ("operator", "truediv", [1, 0], ZeroDivisionError),
            ("os", "_exit", [1], RemoteExit),
            ("signal", "raise_signal", [signal.SIGKILL.value], RemoteKilled),
            ("random", "Random", [], ValueRefused),
            ("no_such_module", "f", [], NotInstalled),
            ("operator", "neg", [object()], ValueRefused),
        ],
    )
    def test_of_calls_that_fail(self, own_client, jobs, module, function, arguments, error):
        own_client.call("operator", "neg", [1])
        with pytest.raises(error):
            own_client.call(module, function, arguments)
        own_client.close()
        assert os.listdir(jobs) == []

    def test_of_a_call_that_is_stopped(self, own_client, jobs):
        with pytest.raises(WalltimeExceeded):
            own_client.call("time", "sleep", [60], timeout=0.5)
        own_client.close()
        assert os.listdir(jobs) == []

    def test_of_commands_and_their_input(self, own_client, jobs):
        assert own_client.run(["wc", "-c"], stdin=b"x" * 1000).stdout.strip() == b"1000"
        own_client.close()
        assert os.listdir(jobs) == []

    def test_of_an_interrupted_program(self, tmp_path, jobs):
        script = textwrap.dedent(
            f"""
            import sremote
            with sremote.connect("local:", root={str(tmp_path / "root")!r}) as client:
                client.call("os", "system", ["echo $$ >{tmp_path}/pid; exec sleep 60"])
            """
        )
        with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as program:
            wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
            program.send_signal(signal.SIGINT)
        assert program.returncode != 0
        wait_for(lambda: not Path("/proc", (tmp_path / "pid").read_text().strip()).exists())
        wait_for(lambda: os.listdir(jobs) == [])

    def test_of_processes_once_it_is_closed(self, own_client):
        own_client.call("operator", "neg", [1])
        pid = own_client.call("os", "getppid")
        own_client.close()
        wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_a_closed_client_opens_again_with_the_next_call(own_client):
    own_client.call("operator", "neg", [1])
    own_client.close()
    assert own_client.call("operator", "neg", [1]) == -1


def test_closing_twice_is_fine(own_client):
    own_client.close()
    own_client.close()


def test_a_failure_names_the_host_and_the_job(own_client):
    with pytest.raises(SremoteError) as caught:
        own_client.call("no_such_module", "f")
    assert own_client.host.name.rstrip(":") in str(caught.value)
    assert own_client.last_response.id in str(caught.value)


def test_jobs_are_named_by_time_and_chance(own_client):
    ids = set()
    for _ in range(3):
        own_client.call("operator", "neg", [1])
        ids.add(own_client.last_response.id)
    assert len(ids) == 3
    assert all(job_id[8] == "T" and len(job_id) == 32 for job_id in ids)
