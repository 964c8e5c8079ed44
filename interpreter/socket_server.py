"""The server at the far end of ``socket:``: one TCP port, a fresh process for each connection.

The parent only accepts and counts.  Each connection's own process shakes hands, and
nothing that arrives is acted upon before the other end has proved that it has the key.
Those that have not are few and have little time: where there are too many, the oldest
makes room.
"""

import os
import selectors
import signal
import socket
import ssl
import sys
import time
from typing import Callable, Dict, List, Optional

from .errors import SremoteError
from .socket_address import DEFAULT_PORT, ServerError, is_loopback, show_address, split_address
from .socket_command import harmless_signals
from .socket_connection import Connection
from .socket_handshake import HandshakeFailure, Talk, prove_to_client
from .socket_key import SHORTEST, Key, KeyFileError, show_fingerprint
from .socket_layer import Layer, Plain, Tls, server_context
from .socket_records import KEEPALIVE

HANDSHAKE_TIMEOUT = 10.0
"""Seconds that a connection has to prove itself."""
MOST_UNPROVED = 32
"""Connections that have not proved themselves, at once."""
MOST_CONNECTIONS = 256
_PROVED = b"\1"


class Settings:
    """How a server listens; ``say`` takes a line for its log."""

    def __init__(
        self,
        key: Key,
        host: str = "",
        port: int = DEFAULT_PORT,
        *,
        tls: bool = True,
        insecure: bool = False,
        keepalive: float = KEEPALIVE,
        say: Optional[Callable[[str], None]] = None,
    ) -> None:
        """Listen on ``host`` (a name or address; all of this machine's where it is empty) and ``port`` (0: a free one).

        Raises ServerError for a key that can be guessed, and for a server without ``tls``
        that others than this machine can reach, unless it is ``insecure``.
        """
        self.key = key
        self.keepalive = keepalive
        self.say = say or (lambda _: None)
        self.context: Optional[ssl.SSLContext] = None
        if len(key.secret) < SHORTEST:
            raise ServerError(
                "the key has fewer than {} characters, and anybody may try".format(SHORTEST),
                "Make one with: sremote serve --generate-key FILE",
            )
        if tls:
            self.context = _context(key)
        self.listeners = _listen(host, port)
        if not tls and not insecure:
            for listener in self.listeners:
                if not is_loopback(listener.getsockname()[0]):
                    self.close()
                    raise ServerError(
                        "without TLS, whoever is on the way can read what passes",
                        "Listen on 127.0.0.1 or [::1] only, or say --insecure.",
                    )

    @property
    def addresses(self) -> List[str]:
        """Where it listens, as ``host:port``."""
        return [show_address(listener.getsockname()) for listener in self.listeners]

    def close(self) -> None:
        """Listen no more."""
        for listener in self.listeners:
            listener.close()


class Server:
    """Accepts connections until it is stopped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._children: Dict[int, int] = {}
        """Processes of connections, each with the descriptor on which it tells that it has proved itself."""
        self._unproved: Dict[int, float] = {}
        """Those that have not, the oldest first, each with its deadline."""
        self._stopped = False
        self._selector = selectors.DefaultSelector()
        self._woken, self._wakeup = os.pipe()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then end the connections, whose commands go on as after any drop."""
        harmless_signals()
        for end in (self._woken, self._wakeup):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakeup)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._selector.register(self._woken, selectors.EVENT_READ)
        for listener in self._settings.listeners:
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ)
        while not self._stopped:
            for key, _ in self._selector.select(self._pause()):
                if isinstance(key.fileobj, socket.socket):
                    self._accept(key.fileobj)
                elif key.fd == self._woken:
                    os.read(self._woken, 4096)
                elif self._children.get(key.data) == key.fd:  # it may have been reaped meanwhile
                    self._note_proof(key.data, key.fd)
            self._reap()
            for pid in [pid for pid, deadline in self._unproved.items() if deadline < time.monotonic()]:
                self._drop(pid)
        self._settings.close()
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)

    def _stop(self, *_: object) -> None:
        self._stopped = True

    def _pause(self) -> Optional[float]:
        if not self._unproved:
            return None
        return max(0.0, min(self._unproved.values()) - time.monotonic())

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, address = listener.accept()
        except OSError:  # it has gone again, or there are no descriptors; then time helps
            return
        with connection:
            self._reap()
            if len(self._children) >= MOST_CONNECTIONS:
                self._settings.say(
                    "{}: refused, as there are {} connections".format(show_address(address), MOST_CONNECTIONS)
                )
                return
            if len(self._unproved) >= MOST_UNPROVED:
                self._drop(min(self._unproved, key=lambda pid: self._unproved[pid]))
            self._fork(connection, show_address(address))

    def _fork(self, connection: socket.socket, peer: str) -> None:
        proofs, proof = os.pipe()
        deadline = time.monotonic() + HANDSHAKE_TIMEOUT
        try:
            pid = os.fork()
        except OSError as error:
            self._settings.say("{}: no process can be started: {}".format(peer, error.strerror))
            os.close(proofs)
            os.close(proof)
            return
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGINT, lambda *_: None)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                self._selector.close()
                self._settings.close()
                for file in [self._woken, self._wakeup, proofs] + list(self._children.values()):
                    os.close(file)
                _serve(connection, peer, self._settings, deadline, proof)
            except BaseException as error:
                self._settings.say("{}: {}: {}".format(peer, type(error).__name__, error))
            finally:
                os._exit(0)
        os.close(proof)
        self._children[pid] = proofs
        self._unproved[pid] = deadline + 1.0
        self._selector.register(proofs, selectors.EVENT_READ, pid)

    def _note_proof(self, pid: int, proofs: int) -> None:
        self._selector.unregister(proofs)
        if os.read(proofs, 1) == _PROVED:
            self._unproved.pop(pid, None)

    def _drop(self, pid: int) -> None:
        """End a connection that has had its time."""
        self._unproved.pop(pid, None)
        os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._children:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._unproved.pop(pid, None)
            proofs = self._children.pop(pid)
            if proofs in self._selector.get_map():
                self._selector.unregister(proofs)
            os.close(proofs)


def _serve(connection: socket.socket, peer: str, settings: Settings, deadline: float, proof: int) -> None:
    """Be the process of one connection."""

    def log(text: str) -> None:
        settings.say("{}: {}".format(peer, text))

    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ):
        connection.setsockopt(level, option, value)
    try:
        layer: Layer = Plain()
        if settings.context is not None:
            layer = Tls(settings.context, settings.key.fingerprint)
        reader, writer, first = prove_to_client(Talk(connection, layer, deadline), layer, settings.key.secret)
    except HandshakeFailure as error:
        log("not let in: {}".format(getattr(error, "reason", None) or error))
        return
    os.write(proof, _PROVED)
    os.close(proof)
    log("signed in")
    served = Connection(connection, layer, reader, writer, keepalive=settings.keepalive, log=log)
    log("ended: {}".format(served.run(first)))


def _context(key: Key) -> ssl.SSLContext:
    try:
        if key.fingerprint is None:
            raise ssl.SSLError("no certificate")
        return server_context(key.path)
    except (ssl.SSLError, OSError) as error:
        raise KeyFileError(
            "{}: TLS needs a certificate and its private key in the key file: {}".format(
                key.path, getattr(error, "reason", None) or error
            ),
            "Make one with: sremote serve --generate-key FILE",
        ) from None


def _listen(host: str, port: int) -> List[socket.socket]:
    """Listen on each address of ``host``, all on one port.  Raises ServerError."""
    listeners: List[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, place in sorted(found, key=lambda each: each[0] != socket.AF_INET6):
            try:
                listener = socket.socket(family, kind, protocol)
            except OSError:  # no IPv6 here
                continue
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            chosen = port or (listeners[0].getsockname()[1] if len(listeners) > 1 else 0)
            try:
                listener.bind((place[0], chosen) + tuple(place[2:]))
                listener.listen(128)
            except OSError:
                if host or len(found) == 1 or family == socket.AF_INET:
                    raise
                listeners.remove(listener)
                listener.close()
    except (OSError, UnicodeError) as error:
        for listener in listeners:
            listener.close()
        raise ServerError(
            "cannot listen on {} port {}: {}".format(host or "this machine", port, getattr(error, "strerror", error)),
            "Give another address with --listen HOST:PORT.",
        ) from None
    return listeners


def main(arguments: List[str]) -> int:
    """Serve from a host that has this folder only: ``--listen KEY [HOST:PORT]``."""

    def say(line: str) -> None:
        sys.stderr.write("{} {}\n".format(time.strftime("%H:%M:%S"), line))
        sys.stderr.flush()

    from .socket_key import read_key

    try:
        host, port = split_address(arguments[1] if len(arguments) > 1 else ":{}".format(DEFAULT_PORT))
        settings = Settings(read_key(arguments[0]), host, port, say=say)
    except SremoteError as error:
        sys.stderr.write("sremote: {}\n".format(error))
        return error.exit_status
    say("listening on {}, {}".format(", ".join(settings.addresses), show_fingerprint(settings.key.fingerprint or b"")))
    Server(settings).run()
    return 0
