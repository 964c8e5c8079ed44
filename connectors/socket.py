"""``socket://host:port`` is a host where ``sremote serve`` runs: one TCP port, a key that both ends have, TLS."""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sremote.connectors.address import Address
from sremote.connectors.base import DEFAULT_CONNECT_TIMEOUT, Process
from sremote.connectors.errors import (
    ConnectionLost,
    HostKeyError,
    HostUnreachable,
    LineTimeout,
    SignInRefused,
    UsageError,
)
from sremote.connectors.socket_line import SocketLine
from sremote.connectors.stream import StreamConnector
from sremote.interpreter.errors import FormatError
from sremote.interpreter.socket_address import DEFAULT_PORT, is_loopback
from sremote.interpreter.socket_handshake import NotProved, Talk, prove_to_server
from sremote.interpreter.socket_key import Key, KeyFileError, read_key, show_fingerprint
from sremote.interpreter.socket_layer import Layer, Plain, Tls, client_context
from sremote.interpreter.socket_records import KEEPALIVE

_FINGERPRINT = re.compile(r"(?:sha256:)?([0-9a-fA-F:]{64,95})$")
log = logging.getLogger("sremote.connectors")


class SocketConnector(StreamConnector):
    """A host whose port ``sremote serve`` listens on.

    ``key_file`` is the file that the server has too, or ``key`` the key itself.  With
    TLS the server's certificate must be the one in the key file, or have the
    ``fingerprint`` that is given.  ``tls=False`` goes to this machine only, unless
    ``insecure``.  After ``keepalive`` seconds of silence a sign of life is asked for;
    after three times as many the line has dropped.
    """

    scheme = "socket"
    noisy = False

    def __init__(
        self,
        address: Address,
        *,
        key_file: str | Path | None = None,
        key: str | None = None,
        fingerprint: str | None = None,
        tls: bool = True,
        insecure: bool = False,
        keepalive: float = KEEPALIVE,
        connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    ) -> None:
        super().__init__(address, connect_timeout=connect_timeout)
        if not address.host:
            raise UsageError(f"{str(address)!r} names no host", "Write it as socket://host:port.")
        if (key_file is None) == (key is None):
            raise UsageError(
                f"{self.name}: it takes a key, which the server has too",
                "Give the file with key_file, such as: --option key_file=secret.key",
            )
        self._key_file = None if key_file is None else Path(key_file).expanduser()
        self._key = None if key is None else Key(key.encode())
        self._pinned = None if fingerprint is None else _fingerprint(fingerprint)
        self._tls = tls
        self._insecure = insecure
        self._keepalive = keepalive
        self._line: SocketLine | None = None
        self._connecting = threading.Lock()

    def connect(self) -> None:
        with self._connecting:
            if self._line is not None:
                if self._line.failure is None:
                    return
                self._line.close()
                self._line = None
            self._line = self._reach(self._read_key())

    def close(self) -> None:
        with self._connecting:
            line, self._line = self._line, None
            if line is not None:
                line.close()

    def open(self, argv: Sequence[str]) -> Process:
        line = self._line
        if line is None:
            raise ConnectionLost(f"{self.name}: not connected", "Call connect() first.")
        return line.open([os.fsencode(word) for word in argv])

    def _read_key(self) -> Key:
        if self._key is not None:
            return self._key
        try:
            return read_key(str(self._key_file))
        except KeyFileError as error:
            raise UsageError(f"{self.name}: {error.message}", error.remedy) from error

    def _reach(self, key: Key) -> SocketLine:
        deadline = time.monotonic() + self.connect_timeout
        connection = self._dial()
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            layer: Layer = Tls(client_context()) if self._tls else Plain()
            talk = Talk(connection, layer, deadline)
            self._check_way(connection, layer, talk, key)
            reader, writer, first = prove_to_server(talk, layer, key.secret)
        except BaseException as error:
            connection.close()
            raise self._handshake_error(error) from error
        log.info("%s: signed in", self.name)
        return SocketLine(connection, layer, reader, writer, first, name=self.name, keepalive=self._keepalive)

    def _dial(self) -> socket.socket:
        place = (self.address.host, self.address.port or DEFAULT_PORT)
        try:
            return socket.create_connection(place, self.connect_timeout)
        except TimeoutError:
            raise HostUnreachable(
                f"{self.name}: {place[0]} port {place[1]} did not answer within {self.connect_timeout:g} s",
                "See whether the host is up, and whether a firewall is in between.",
            ) from None
        except (OSError, UnicodeError) as error:
            raise HostUnreachable(
                f"{self.name}: {place[0]} port {place[1]}: {getattr(error, 'strerror', None) or error}",
                "See whether the name is right and whether the server runs there: sremote serve --key FILE",
            ) from error

    def _check_way(self, connection: socket.socket, layer: Layer, talk: Talk, key: Key) -> None:
        """See that nobody else can read what passes, and that it is the right server."""
        talk.shake()
        if not self._tls:
            if not (self._insecure or is_loopback(connection.getpeername()[0])):
                raise UsageError(
                    f"{self.name}: without TLS, whoever is on the way can read what passes",
                    "Leave out tls=False, use an ssh tunnel, or give insecure=True.",
                )
            return
        pinned = self._pinned or key.fingerprint
        shown = show_fingerprint(layer.certificate)
        if pinned is None:
            raise HostKeyError(
                f"{self.name}: it shows the certificate {shown}, and nothing says whether that is right",
                "Compare it with what the server printed, then give it as the option 'fingerprint'.",
            )
        if pinned != layer.certificate:
            raise HostKeyError(
                f"{self.name}: it shows the certificate {shown}, not the expected {show_fingerprint(pinned)}",
                "Either the server has a new key file, or another machine answers in its place. Ask its owner.",
            )

    def _handshake_error(self, error: BaseException) -> BaseException:
        where = f"{self.name}: port {self.address.port or DEFAULT_PORT}"
        if isinstance(error, UsageError | HostKeyError):
            return error
        if isinstance(error, NotProved):
            return SignInRefused(f"{self.name}: {error.message}", "Give the key file that the server was started with.")
        if isinstance(error, TimeoutError):
            return LineTimeout(
                f"{where} took the connection and did not answer within {self.connect_timeout:g} s",
                "Something else may be listening there.",
            )
        if isinstance(error, ssl.SSLError):
            return HostUnreachable(
                f"{where} does not speak TLS as it should: {error.reason or error}",
                "See whether it is the port of sremote serve; one started with --no-tls needs the option tls=false.",
            )
        if isinstance(error, EOFError | ConnectionError):
            return HostUnreachable(
                f"{where} hung up before the sign-in was over",
                "See whether both ends use TLS, and what the server's log says; it may have too many connections.",
            )
        if isinstance(error, FormatError | OSError):
            return HostUnreachable(f"{where}: {error}", "See whether it is the port of sremote serve.")
        return error


def _fingerprint(text: str) -> bytes:
    found = _FINGERPRINT.match(text.strip())
    digits = found[1].replace(":", "") if found else ""
    if len(digits) != 64:
        raise UsageError(
            f"{text!r} is not a fingerprint", "It is sha256: and 64 hex digits, as sremote serve prints it."
        )
    return bytes.fromhex(digits)
