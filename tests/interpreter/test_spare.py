"""The process that a server forks ahead of the next call."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import sremote


@pytest.fixture
def client() -> Iterator[sremote.Client]:
    with sremote.connect("local:") as client:
        yield client


def children(pid: int) -> set[int]:
    return {int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def spare_of(server: int) -> int:
    """Return the server's one waiting child."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if len(found := children(server)) == 1:
            (pid,) = found
            if f"({server})" not in (status := Path(f"/proc/{pid}/stat").read_text()) and status.split()[2] == "S":
                return pid
        time.sleep(0.01)
    raise AssertionError("no process waits")


def test_it_becomes_the_process_of_the_next_call(client: sremote.Client) -> None:
    server = client.call("os", "getppid")
    spare = spare_of(server)
    assert client.call("os", "getpid") == spare


def test_each_call_still_has_a_process_of_its_own(client: sremote.Client) -> None:
    assert len({client.call("os", "getpid") for _ in range(10)}) == 10


def test_a_call_runs_though_the_spare_process_was_killed(client: sremote.Client) -> None:
    spare = spare_of(client.call("os", "getppid"))
    os.kill(spare, signal.SIGKILL)
    while Path(f"/proc/{spare}/stat").read_text().split()[2] != "Z":
        time.sleep(0.01)
    assert client.call("operator", "neg", [5]) == -5


def test_it_ends_with_its_server(client: sremote.Client) -> None:
    server = client.call("os", "getppid")
    spare = spare_of(server)
    os.kill(server, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{spare}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{spare}").exists()


def test_what_it_rehearses_leaves_no_trace_in_the_call(client: sremote.Client, client_home: Path) -> None:
    spare_of(client.call("os", "getppid"))
    client.call("builtins", "print", ["hello"], echo=False)
    assert client.last_response is not None
    assert (client.last_response.stdout, client.last_response.stderr) == ("hello\n", "")
