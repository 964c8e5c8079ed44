"""The way to an ssh server, one step at a time: the name, the port, the host's key, the sign-in."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

from sremote.connectors.check import Check, State
from sremote.connectors.errors import HostKeyError, HostUnreachable, LineError, LineTimeout
from sremote.interpreter.errors import SremoteError


def check_ssh(
    connect: Callable[[], None], host: str, port: int, *, timeout: float, through: str | None = None
) -> Iterator[Check]:
    """Try the way, one step after the other; the first that fails is the last.

    ``host`` and ``port`` are those that ~/.ssh/config leads to, ``connect`` signs
    in there, ``timeout`` is in seconds.  ``through`` is the jump host or proxy
    command that only knows the way; the first two steps are skipped then.
    """
    if through is not None:
        for name in ("name resolves", "port answers"):
            yield Check(name, State.SKIPPED, f"the way is through {through}")
    else:
        for check in _check_port(host, port, timeout):
            yield check
            if check.state is State.FAILED:
                return
    try:
        connect()
    except HostKeyError as error:
        yield Check.of_error("host key known", error)
    except (HostUnreachable, LineTimeout) as error:
        yield Check.of_error("connection", error)
    except SremoteError as error:
        if isinstance(error, LineError):
            yield Check("host key known", State.OK, "it is the one in known_hosts")
        yield Check.of_error("sign-in works", error)
    else:
        yield Check("host key known", State.OK, "it is the one in known_hosts")
        yield Check("sign-in works", State.OK, "signed in")


def _check_port(host: str, port: int, timeout: float) -> Iterator[Check]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        yield Check(
            "name resolves",
            State.FAILED,
            f"{host} has no address: {getattr(error, 'strerror', None) or error}",
            "Look at the name's spelling, your network or VPN, and HostName in ~/.ssh/config.",
            HostUnreachable.exit_status,
        )
        return
    yield Check("name resolves", State.OK, f"{host} is {', '.join(dict.fromkeys(str(item[4][0]) for item in found))}")
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.settimeout(timeout)
            banner = connection.recv(256)
    except OSError as error:
        yield Check(
            "port answers",
            State.FAILED,
            f"port {port} of {host}: {error.strerror or error}",
            "See whether the host is up, whether a VPN or a jump host is needed, and which port its sshd has.",
            HostUnreachable.exit_status,
        )
        return
    said = banner.split(b"\n")[0].decode("ascii", "replace").strip()
    yield Check("port answers", State.OK, f"port {port} says {said!r}")
