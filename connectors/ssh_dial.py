"""The socket under an ssh connection: TCP to the host, or the pipe of a ProxyCommand."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence

from sremote.connectors.errors import HostUnreachable, LineTimeout
from sremote.connectors.ssh_config import SshHost

STAGGER = 0.25
"""Seconds that one address has before the next is tried too: RFC 8305's Connection Attempt Delay."""
GIVE_UP = 60_000
"""Milliseconds that sent bytes may stay unacknowledged before the kernel ends the connection."""
PROXY_GRACE = 2.0
"""Seconds that a ProxyCommand has to end once its line was hung up."""


def dial(host: SshHost, timeout: float) -> socket.socket:
    """Connect to the first of the host's addresses that answers.

    Raises HostUnreachable for an unknown name or a refusal, LineTimeout after
    ``timeout`` seconds.
    """
    try:
        addresses = socket.getaddrinfo(host.host, host.port, host.family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise HostUnreachable(
            f"{host.name}: the name {host.host} has no address: {getattr(error, 'strerror', None) or error}",
            "Look at its spelling, at your network or VPN, and at HostName in ~/.ssh/config.",
        ) from error
    connection = _race(host, addresses, timeout)
    connection.setblocking(True)
    # Before paramiko gets it: the handshake alone takes three times as long without.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GIVE_UP)
    return connection


_Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str | int | bytes, ...]]


def _race(host: SshHost, addresses: Sequence[_Found], timeout: float) -> socket.socket:
    """Try the addresses in order, the next when one fails or is slow; the first that connects wins."""
    deadline = time.monotonic() + timeout
    waiting = list(addresses)
    failure: OSError | None = None
    with selectors.DefaultSelector() as racing:
        try:
            while waiting or racing.get_map():
                if waiting:
                    family, kind, protocol, _, place = waiting.pop(0)
                    try:
                        runner = socket.socket(family, kind, protocol)
                    except OSError as error:
                        failure = error
                        continue
                    runner.setblocking(False)
                    number = runner.connect_ex(place)
                    if number not in (0, errno.EINPROGRESS):
                        runner.close()
                        failure = OSError(number, os.strerror(number))
                        continue
                    racing.register(runner, selectors.EVENT_WRITE)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise LineTimeout(
                        f"{host.name}: {host.host} port {host.port} did not answer within {timeout:g} s",
                        "See whether the host is up, and whether a VPN, a jump host or another port is needed.",
                    )
                for key, _events in racing.select(min(STAGGER, left) if waiting else left):
                    runner = key.fileobj  # type: ignore[assignment]
                    racing.unregister(runner)
                    number = runner.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if number == 0:
                        return runner
                    runner.close()
                    failure = OSError(number, os.strerror(number))
        finally:
            for key in list(racing.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
    reason = failure.strerror if failure else "it has no address"
    raise HostUnreachable(
        f"{host.name}: {host.host} port {host.port}: {reason}",
        "See whether the host is up and its sshd runs on that port, and whether a VPN or a jump host is needed.",
    )


class ProxyProcess:
    """The ProxyCommand of a host, running; ``socket`` is its standard input and output."""

    def __init__(self, host: SshHost) -> None:
        assert host.proxy_command is not None
        self.command = host.proxy_command
        self.socket, theirs = socket.socketpair()
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        with theirs:
            # As ssh does: the user's shell, which the command replaces.
            self._process = subprocess.Popen(
                [os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {self.command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._messages,
                process_group=0,
            )

    @property
    def failure(self) -> str:
        """Its status and the last line that it said, where it has ended by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(0.5)
            self._messages.seek(0)
            lines = self._messages.read().decode(errors="replace").split("\n")
            said = next((line.strip() for line in reversed(lines) if line.strip()), "")
            return f"it ended with status {status}" + (f": {said}" if said else "")
        return ""

    def close(self) -> None:
        """Close its line and end it, as ssh does; kill it where it goes on."""
        self.socket.close()
        for number in (signal.SIGHUP, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PROXY_GRACE)
                break
        self._messages.close()
