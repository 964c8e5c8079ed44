"""Many clients at once, and files larger than anybody's memory, through a gateway in a process of its own.

With SREMOTE_LONG_TESTS=1 it takes minutes: real clients call for 60 s, and the file has 2 GB.
"""

import hashlib
import json
import os
import re
import resource
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sremote
from sremote.connectors.address import parse_address
from sremote.connectors.newt import NewtConnector
from tests.kit.program import PROGRAM

LONG = os.environ.get("SREMOTE_LONG_TESTS") == "1"
CLIENTS = 200
SECONDS = 60.0
FILE_SIZE = 2 << 30 if LONG else 200 << 20
MEMORY = 48 << 20
"""Bytes by which the gateway may grow: a window, a few pieces of a file, and what the allocator keeps."""


@dataclass
class Served:
    """A gateway that runs in a process of its own."""

    process: subprocess.Popen[str]
    address: str
    options: dict[str, Any]

    def connector(self) -> NewtConnector:
        return NewtConnector(parse_address(self.address), **self.options)

    def peak(self) -> int:
        """Return the most bytes of memory that it has had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) << 10


@pytest.fixture
def served(client_home: Path) -> Iterator[Served]:
    # Without TLS in the short form: 200 handshakes in one client take longer than all else.
    words = [PROGRAM, "gateway", "--port", "0", "--machine", "lab", "--json", *([] if LONG else ["--no-tls"])]
    with (client_home / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        options = {"fingerprint": said["fingerprint"], "password_file": said["token_file"]}
        yield Served(process, said["address"], options)
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert "Traceback" not in (client_home / "log").read_text()


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("many_descriptors")
def test_two_hundred_clients_at_once_each_get_their_own_answers(served: Served, tmp_path: Path) -> None:
    (make_calls if LONG else run_commands)(served, tmp_path / "made")


def run_commands(served: Served, folder: Path) -> None:
    """Each has a session of its own and runs one command, which fails where it is run twice."""
    folder.mkdir()

    def work(number: int) -> tuple[int, bytes, bytes]:
        with served.connector() as connector:
            script = f'mkdir {folder}/{number} && read line && echo "$line" && echo {number} >&2'
            done = connector.execute(["sh", "-c", script], stdin=b"%d\n" % number, timeout=100)
        return done.status, done.stdout, done.stderr

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(work, range(CLIENTS)))

    assert answers == [(0, b"%d\n" % number, b"%d\n" % number) for number in range(CLIENTS)]
    assert len(list(folder.iterdir())) == CLIENTS


def make_calls(served: Served, folder: Path) -> None:
    """Each client calls for a minute; each call makes a folder, which fails where it is run twice."""
    folder.mkdir()
    with ExitStack() as stack, ThreadPoolExecutor(CLIENTS) as pool:

        def connect(_: int) -> sremote.Client:
            client = stack.enter_context(sremote.connect(served.address, **served.options))
            client.call("math", "sqrt", [1])
            return client

        clients = list(pool.map(connect, range(CLIENTS)))
        end = time.monotonic() + SECONDS

        def work(number: int) -> int:
            made = 0
            while time.monotonic() < end:
                name = f"{folder}/{number}-{made}"
                assert clients[number].call("os", "mkdir", [name]) is None
                assert clients[number].call("posixpath", "basename", [name]) == f"{number}-{made}"
                made += 1
            return made

        counts = list(pool.map(work, range(CLIENTS)))

    assert len(list(folder.iterdir())) == sum(counts)
    assert min(counts) > 0
    print(f"{2 * sum(counts)} calls of {CLIENTS} clients in {SECONDS:.0f} s; the gateway had {served.peak() >> 20} MB")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_file_larger_than_the_memory_goes_both_ways(served: Served, tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.write(b"begin")
        file.truncate(FILE_SIZE)
    with served.connector() as connector:
        connector.put(b"warm", str(tmp_path / "small"))
        connector.read(str(tmp_path / "small"))
        before = served.peak()

        started = time.monotonic()
        with source.open("rb") as file:
            connector.put(file, str(tmp_path / "there"))
        put = time.monotonic() - started
        sink = Sink()
        started = time.monotonic()
        connector.get(str(tmp_path / "there"), sink)  # type: ignore[arg-type]
        got = time.monotonic() - started

    with source.open("rb") as file:
        assert sink.checked.hexdigest() == hashlib.file_digest(file, "sha256").hexdigest()
    assert sink.size == FILE_SIZE
    assert served.peak() - before < MEMORY
    size = FILE_SIZE >> 20
    print(
        f"{size} MB: put {size / put:.0f} MB/s, got {size / got:.0f} MB/s, memory +{(served.peak() - before) >> 20} MB"
    )


class Sink:
    """A file that keeps only its checksum."""

    def __init__(self) -> None:
        self.checked = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.checked.update(data)
        self.size += len(data)
        return len(data)
