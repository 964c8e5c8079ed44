"""Hosts in network namespaces: machines of their own as far as the network can tell."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.kit.requirements import need_program


@contextmanager
def network_namespace(number: int) -> Iterator[tuple[str, str]]:
    """Give a namespace's name and its address, which this machine reaches; ``number`` tells those of a test apart.

    Skips where making one is not allowed.
    """
    ip = need_program("ip", "iproute2")
    name = f"sremote-{os.getpid()}-{number}"
    net = (2 * os.getpid() + number) % 250  # other tests may have some, too
    ours, theirs = f"10.213.{net}.1", f"10.213.{net}.2"
    link = f"sr{os.getpid() % 100000}-{number}"

    def run(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([ip, *words], capture_output=True, check=False)

    if run("netns", "add", name).returncode:
        pytest.skip("making a network namespace needs root")
    try:
        for words in (
            f"link add {link} type veth peer name eth0 netns {name}",
            f"addr add {ours}/24 dev {link}",
            f"link set {link} up",
            f"-n {name} addr add {theirs}/24 dev eth0",
            f"-n {name} link set eth0 up",
            f"-n {name} link set lo up",
        ):
            done = run(*words.split())
            if done.returncode:
                pytest.skip(f"no network namespace here: {done.stderr.decode().strip()}")
        yield name, theirs
    finally:
        run("link", "del", link)
        run("netns", "del", name)
