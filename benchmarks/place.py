"""Where it is measured: an ssh server on this machine, and a home of the benchmark's own."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sremote
from sremote.connectors.address import parse_address
from sremote.connectors.ssh import SshConnector
from tests.kit.sshd import SshServer, ssh_server


@dataclass(frozen=True)
class Place:
    """A running ssh server and how to reach it; ``folder`` is for what a row needs to keep."""

    server: SshServer
    folder: Path
    ssh: Path
    """An ssh program that knows the server by its name."""
    quick: bool
    """Whether fewer and smaller rounds are enough."""

    def rounds(self, full: int) -> int:
        """Return how many rounds to measure, of ``full`` in a thorough run."""
        return max(3, full // 4) if self.quick else full

    def connect(self, port: int | None = None, **options: Any) -> sremote.Client:
        """Connect to the server, or to it by way of a proxy's port."""
        return sremote.connect(self.address(port), **self._keys(), **options)

    def connector(self, port: int | None = None) -> SshConnector:
        """Return a bare connector, connected."""
        connector = SshConnector(parse_address(self.address(port)), **self._keys())
        connector.connect()
        return connector

    def address(self, port: int | None = None) -> str:
        """Return user@127.0.0.1:port, whose key is known to the client then."""
        if port is None:
            return self.server.address
        with self.server.known_hosts.open("a") as file:
            file.writelines(self.server.known_hosts_line(key, f"[127.0.0.1]:{port}") for key in self.server.host_keys)
        return f"{self.server.user}@127.0.0.1:{port}"

    def ssh_options(self) -> list[str]:
        """Return what the ssh program needs to know of the server."""
        return ["-F", str(self.server.config_file)]

    def _keys(self) -> dict[str, Any]:
        return {"key_file": self.server.key_file, "known_hosts": self.server.known_hosts}


@contextmanager
def prepared_place(*, quick: bool) -> Iterator[Place]:
    """Start the server, and keep the user's own ssh files and agent out of it."""
    # Not in memory: what a job keeps is flushed to a disk, as it is on a host.
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=os.environ.get("BENCHMARK_FOLDER")) as name:
        folder = Path(name)
        (folder / "home").mkdir()
        for variable in ("SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY"):
            os.environ.pop(variable, None)
        os.environ.update(
            HOME=str(folder / "home"), XDG_RUNTIME_DIR=str(folder), XDG_CONFIG_HOME=str(folder / "config")
        )
        with ssh_server(folder / "server", python=Path(sys.base_prefix, "bin", "python3")) as server:
            yield Place(server, folder, _ssh_program(folder, server), quick)


def _ssh_program(folder: Path, server: SshServer) -> Path:
    """Put an ssh on PATH that knows the server, and compresses nothing: peers ask for that, and it slows them down."""
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
case $1 in -C) shift ;; esac
exec {shutil.which("ssh")} -F {server.config_file} "$@"
"""
    )
    program.chmod(0o755)
    os.environ["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    return program
