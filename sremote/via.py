"""Hosts that are reached through another one: what leads to them runs there, in a session.

``local:`` is another process over there, ``openssh://host`` and ``ssh://host`` the ssh
program over there with what it finds there (keys, known hosts, configuration),
``command:`` any program over there, and ``socket://host:port`` a connection made from
there.
"""

from __future__ import annotations

import shlex
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sremote.connectors.address import Address
from sremote.connectors.base import DEFAULT_CONNECT_TIMEOUT, Connector, Process
from sremote.connectors.errors import ConnectionLost, HostError, HostUnreachable, LineTimeout, UsageError
from sremote.connectors.openssh_errors import error_of
from sremote.connectors.shell import command_line
from sremote.connectors.socket import SocketConnector
from sremote.connectors.stream import StreamConnector
from sremote.interpreter.socket_address import DEFAULT_PORT, is_loopback
from sremote.relay import RelayedProcess, relayed_connection
from sremote.session import Session

if TYPE_CHECKING:
    from sremote.client import Client

_SSH_FAILED = 255


class Way:
    """A host on the way, and the session with it; that of a client is made when it is needed, and made again.

    With ``owned`` the client is closed, too, when the way is.
    """

    def __init__(self, near: Client | Session, *, owned: bool = False) -> None:
        self._near = near
        self._owned = owned
        self._session = near if isinstance(near, Session) else None
        self._making = threading.Lock()

    @property
    def name(self) -> str:
        """How messages call the host on the way."""
        return self._near.host.where

    def session(self) -> Session:
        """Return a session that is open.  Raises ConnectionLost where the one that was given has ended."""
        with self._making:
            if self._session is None or not self._session.is_open:
                if isinstance(self._near, Session):
                    raise ConnectionLost(f"{self.name}: the session there has ended")
                self._near.host.connector.connect()
                self._session = self._near.session(echo=False)
            return self._session

    def close(self) -> None:
        """End what was made for this way."""
        with self._making:
            if not isinstance(self._near, Session):
                if self._session is not None:
                    self._session.close()
                    self._session = None
                if self._owned:
                    self._near.close()


class ViaConnector(StreamConnector):
    """A host that a command on another one reaches; ``options`` are more words for ssh."""

    scheme = "via"

    def __init__(
        self,
        address: Address,
        way: Way,
        *,
        connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(address, connect_timeout=connect_timeout)
        self._way = way
        self._ssh = address.scheme in ("ssh", "openssh")
        self._prefix = self._ssh_words(options) if self._ssh else shlex.split(address.rest)
        self.noisy = bool(self._prefix)
        self._tried = False

    @property
    def name(self) -> str:
        return f"{self.address} via {self._way.name}"

    def connect(self) -> None:
        """Run one command, to see that it can be reached; at once where that has been seen."""
        self._way.session()
        if not self._prefix or self._tried:
            return
        by_hand = f"Try by hand, on {self._way.name}: {shlex.join(self._prefix)} true"
        try:
            done = self.execute(["true"], timeout=self.connect_timeout)
        except LineTimeout:
            raise HostUnreachable(f"{self.name}: no answer within {self.connect_timeout:g} s", by_hand) from None
        except HostError as error:
            raise HostUnreachable(error.message, by_hand) from error
        if done.status != 0:
            said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise HostUnreachable(f"{self.name}: {said or f'exit status {done.status}'}", by_hand)
        self._tried = True

    def close(self) -> None:
        self._tried = False
        self._way.close()

    def open(self, argv: Sequence[str]) -> Process:
        command = [*self._prefix, command_line(argv)] if self._ssh else [*self._prefix, *argv]
        kind = _SshProcess if self._ssh else RelayedProcess
        return kind(self._way.session(), command, self.name)

    def _ssh_words(self, options: Sequence[str]) -> list[str]:
        address = self.address
        words = ["ssh", "-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={self.connect_timeout:.0f}", *options]
        words += ["-p", str(address.port)] if address.port else []
        words += ["-l", address.user] if address.user else []
        return [*words, "--", address.host]


class _SshProcess(RelayedProcess):
    """What ssh carries from the host on the way; its own words are on standard error."""

    def __init__(self, session: Session, argv: Sequence[str], name: str) -> None:
        super().__init__(session, argv, name)
        self._words = b""

    def read_stderr(self, size: int = 1 << 17) -> bytes:
        data = super().read_stderr(size)
        self._words = (self._words + data)[-4096:]
        return data

    def outcome(self, status: int) -> int:
        if status == _SSH_FAILED:
            raise error_of(self._name, self._words.decode(errors="replace"))
        return status


class ViaSocketConnector(SocketConnector):
    """A ``sremote serve`` whose port another host connects to; ``options`` are those of ``socket:``."""

    def __init__(self, address: Address, way: Way, **options: Any) -> None:
        super().__init__(address, **options)
        self._way = way
        if not (options.get("tls", True) or options.get("insecure") or is_loopback(address.host)):
            raise UsageError(
                f"{self.name}: without TLS, whoever is on the way from {way.name} can read what passes",
                "Leave out tls=False, or give insecure=True.",
            )

    @property
    def name(self) -> str:
        return f"{self.address} via {self._way.name}"

    def close(self) -> None:
        super().close()
        self._way.close()

    def _dial(self) -> socket.socket:
        port = self.address.port or DEFAULT_PORT
        return relayed_connection(self._way.session(), self.address.host, port, self.connect_timeout, self.name)


_KINDS: dict[str, Callable[..., Connector]] = {
    **dict.fromkeys(("local", "ssh", "openssh", "command"), ViaConnector),
    "socket": ViaSocketConnector,
}


def via_connector(address: Address, way: Way, **options: object) -> Connector:
    """Return an unconnected connector to a host that ``way`` leads to.

    Raises UsageError where none of that scheme can go through another host, or it
    does not take such an option.
    """
    kind = _KINDS.get(address.scheme)
    if kind is None:
        raise UsageError(
            f"{address}: there is no way through another host with {address.scheme!r}",
            f"Those that have one: {', '.join(sorted(_KINDS))}.",
        )
    try:
        return kind(address, way, **options)
    except TypeError as error:
        raise UsageError(f"{address}: {error}", "See docs/channels.md for the options through another host.") from error
