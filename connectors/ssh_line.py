"""The way to an ssh host, through the hosts that it leads over: each with its own key check and sign-in."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paramiko

from sremote.connectors.address import Address
from sremote.connectors.errors import HostKeyError, HostUnreachable, LineError, LineTimeout, UsageError
from sremote.connectors.ssh_config import SshConfig, SshHost, jump_address
from sremote.connectors.ssh_dial import ProxyProcess, dial
from sremote.connectors.ssh_known_hosts import HostKey, KnownHosts, algorithms_first, remember_host_key
from sremote.connectors.ssh_prompt import Prompt
from sremote.connectors.ssh_sign_in import sign_in
from sremote.connectors.ssh_transport import TunedTransport

JUMP_LIMIT = 8
"""Hosts on one way; more are a ProxyJump that leads back to itself."""


@dataclass(frozen=True)
class Journey:
    """What holds for every host on the way.

    ``timeout`` is the seconds that each may take to answer, and again to sign in;
    None leaves it to ConnectTimeout and to ``default_timeout``.
    """

    config: SshConfig
    default_timeout: float
    timeout: float | None = None
    keepalive: float = 15.0
    prompt: Prompt | None = None


class SshLine:
    """A signed-in connection to a host, and what it stands on: the lines to its jump hosts, a ProxyCommand."""

    def __init__(self, host: SshHost, transport: TunedTransport, close_way: Callable[[], None]) -> None:
        self.host = host
        self.transport = transport
        self._close_way = close_way

    def close(self) -> None:
        """Hang up, the host itself first."""
        self.transport.close()
        self._close_way()


def reach(
    address: Address,
    journey: Journey,
    *,
    accept_host_key: str | None = None,
    jumps: tuple[str, ...] = (),
    depth: int = 0,
) -> SshLine:
    """Reach a host and sign in.

    ``jumps`` replaces what the configuration says of the way.  ``accept_host_key``
    is the fingerprint of a key that is accepted, and remembered, where none is
    known.  Raises HostUnreachable, LineTimeout, HostKeyError or SignInRefused.
    """
    host = journey.config.host(address)
    if depth > JUMP_LIMIT:
        raise UsageError(f"{host.name}: its ProxyJump leads over more than {JUMP_LIMIT} hosts", "Mend ~/.ssh/config.")
    timeout = journey.timeout or host.connect_timeout or journey.default_timeout
    deadline = time.monotonic() + timeout
    proxy = None
    with contextlib.ExitStack() as way:
        if jumps or host.jumps:
            connection = _through_jump(host, jumps or host.jumps, journey, depth, timeout, way)
            deadline = time.monotonic() + timeout
        elif host.proxy_command:
            proxy = ProxyProcess(host)
            way.callback(proxy.close)
            connection = proxy.socket
        else:
            connection = dial(host, timeout)
            way.callback(connection.close)
        transport = TunedTransport(connection, timeout=max(1.0, deadline - time.monotonic()))
        way.callback(transport.close)
        known = KnownHosts(host)
        options = transport.get_security_options()
        options.key_types = algorithms_first(known.kinds, options.key_types)
        try:
            transport.start_client()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise _no_handshake(host, error, proxy, deadline, timeout) from error
        _check_key(host, transport, known, accept_host_key)
        transport.auth_timeout = timeout
        sign_in(transport, host, journey.prompt)
        transport.watch(max(0.0, journey.keepalive))
        return SshLine(host, transport, way.pop_all().close)
    raise AssertionError("an ExitStack of callbacks swallows nothing")


def _through_jump(
    host: SshHost,
    jumps: tuple[str, ...],
    journey: Journey,
    depth: int,
    timeout: float,
    way: contextlib.ExitStack,
) -> Any:
    """Reach the last of the jump hosts, and return a channel that it opens to ``host``."""
    *before, last = jumps
    try:
        line = reach(jump_address(last), journey, jumps=tuple(before), depth=depth + 1)
    except LineError as error:
        raise type(error)(f"{host.name}: on the way there, {error.message}", error.remedy) from error
    way.callback(line.close)
    try:
        channel = line.transport.open_channel("direct-tcpip", (host.host, host.port), ("127.0.0.1", 0), timeout=timeout)
    except (paramiko.SSHException, EOFError, OSError) as error:
        reason = error.text if isinstance(error, paramiko.ChannelException) else str(error) or "it hung up"
        raise HostUnreachable(
            f"{host.name}: the jump host {last} cannot reach {host.host} port {host.port}: {reason}",
            f"See whether the host is up, and whether {last} lets its users forward connections.",
        ) from error
    way.callback(channel.close)
    return channel


def _check_key(host: SshHost, transport: TunedTransport, known: KnownHosts, accepted: str | None) -> None:
    shown = transport.get_remote_server_key()
    key = HostKey(host.key_name, shown.get_name(), shown.asbytes())
    if accepted is not None and not known.kinds:
        if key.fingerprint != accepted:
            raise HostKeyError(
                f"{host.name}: its host key is {key}, not the accepted {accepted}",
                "Ask the host's administrators for the right fingerprint.",
            )
        remember_host_key(host, key)
        return
    known.check(key)


def _no_handshake(
    host: SshHost, error: Exception, proxy: ProxyProcess | None, deadline: float, timeout: float
) -> HostUnreachable | LineTimeout:
    late = time.monotonic() >= deadline
    if proxy and (failure := proxy.failure):
        return HostUnreachable(
            f"{host.name}: the ProxyCommand {proxy.command!r} gave no way: {failure}", "Try the command by hand."
        )
    where = f"the ProxyCommand {proxy.command!r}" if proxy else f"{host.host} port {host.port}"
    if late:
        return LineTimeout(
            f"{host.name}: {where} took the connection and did not answer within {timeout:g} s",
            "The host may be overloaded, or something that is not ssh is listening there.",
        )
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return HostUnreachable(
            f"{host.name}: {error}", "Its ssh server is too old for this connector; try openssh:// in its place."
        )
    return HostUnreachable(
        f"{host.name}: {where} does not speak ssh: {str(error) or 'it hung up'}",
        "See which port its sshd has; it may also refuse you for too many connections: wait a minute.",
    )
