"""Each end proves to the other that it has the key, without showing it.

    server   8 bytes, MAGIC, and 32 random bytes
    client   8 bytes, MAGIC, 32 random bytes, and its proof
    server   1 byte, and its proof; or 0 alone, where the client's was wrong

The transcript is the SHA-256 of MAGIC, the fingerprint of the server's certificate as
each end sees it (none without TLS), and both random values.  A proof is HMAC-SHA256 of
a name and the transcript, with the key; so are the keys of the two directions.  No
proof serves a second time, as the other end's random bytes are in it, nor for another
server, as its certificate is.  The server's comes second, so that it tells nothing to
one who does not have the key.
"""

import hashlib
import hmac
import os
import socket
import ssl
import time
from typing import Tuple

from .errors import FormatError, SremoteError
from .socket_layer import Layer
from .socket_records import Reader, Writer

MAGIC = b"SREMSOC1"
NONCE = 32
PROOF = 32
MOST_UNPROVED = 1 << 16
"""Bytes that an end sends before it has proved itself, TLS's own included."""


class NotProved(SremoteError):
    """The other end does not have the key."""


class Proof:
    """The proofs and keys that follow from a key and a transcript."""

    def __init__(self, secret: bytes, certificate: bytes, server: bytes, client: bytes) -> None:
        self._secret = secret
        self._transcript = hashlib.sha256(MAGIC + certificate + server + client).digest()

    def of(self, name: bytes) -> bytes:
        """Return the proof or key of that name."""
        return hmac.new(self._secret, name + b"\0" + self._transcript, hashlib.sha256).digest()


class Talk:
    """An end of a connection on which nothing is proved yet; it ends at the ``deadline``."""

    def __init__(self, connection: socket.socket, layer: Layer, deadline: float) -> None:
        self._connection = connection
        self._layer = layer
        self._deadline = deadline
        self._arrived = bytearray()
        self._received = 0

    def shake(self) -> None:
        """Let the layers shake hands.  Raises ssl.SSLError, OSError and EOFError."""
        while not self._shake_once():
            self._layer.put(self._receive())

    def _shake_once(self) -> bool:
        try:
            return self._layer.shake()
        finally:
            self._send(self._layer.waiting())

    def say(self, message: bytes) -> None:
        """Send a message."""
        self._send(self._layer.seal(message))

    def hear(self, size: int) -> bytes:
        """Wait for ``size`` bytes.  Raises EOFError where there are fewer."""
        self._arrived += self._layer.open(b"")
        while len(self._arrived) < size:
            self._arrived += self._layer.open(self._receive())
        heard = bytes(self._arrived[:size])
        del self._arrived[:size]
        return heard

    def rest(self) -> bytes:
        """Return what has arrived behind the last message."""
        return bytes(self._arrived)

    def _receive(self) -> bytes:
        self._connection.settimeout(self._left())
        data = self._connection.recv(1 << 14)
        if not data:
            raise EOFError("it was closed")
        self._received += len(data)
        if self._received > MOST_UNPROVED:
            raise FormatError("more than {} bytes before any proof".format(MOST_UNPROVED))
        return data

    def _send(self, data: bytes) -> None:
        if data:
            self._connection.settimeout(self._left())
            self._connection.sendall(data)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        return left


def prove_to_client(talk: Talk, layer: Layer, secret: bytes) -> Tuple[Reader, Writer, bytes]:
    """Be the server's end: return a reader and a writer of records, and bytes that came behind the handshake.

    Raises NotProved, FormatError, OSError, EOFError and ssl.SSLError.
    """
    talk.shake()
    nonce = os.urandom(NONCE)
    talk.say(MAGIC + nonce)
    answer = talk.hear(len(MAGIC) + NONCE + PROOF)
    if answer[: len(MAGIC)] != MAGIC:
        raise FormatError("it does not speak this protocol")
    proof = Proof(secret, layer.certificate, nonce, answer[len(MAGIC) : -PROOF])
    if not hmac.compare_digest(proof.of(b"client"), answer[-PROOF:]):
        talk.say(b"\0")
        raise NotProved("it does not have the key")
    talk.say(b"\1" + proof.of(b"server"))
    return Reader(proof.of(b"to server")), Writer(proof.of(b"to client")), talk.rest()


def prove_to_server(talk: Talk, layer: Layer, secret: bytes) -> Tuple[Reader, Writer, bytes]:
    """Be the client's end, whose layers have shaken hands; as ``prove_to_client``."""
    greeting = talk.hear(len(MAGIC) + NONCE)
    if greeting[: len(MAGIC)] != MAGIC:
        raise FormatError("it does not speak this protocol")
    nonce = os.urandom(NONCE)
    proof = Proof(secret, layer.certificate, greeting[len(MAGIC) :], nonce)
    talk.say(MAGIC + nonce + proof.of(b"client"))
    if talk.hear(1) != b"\1":
        raise NotProved("it does not take this key")
    if not hmac.compare_digest(proof.of(b"server"), talk.hear(PROOF)):
        raise NotProved("it does not have the key itself")
    return Reader(proof.of(b"to client")), Writer(proof.of(b"to server")), talk.rest()


HandshakeFailure = (OSError, EOFError, SremoteError, ssl.SSLError)
"""What a handshake ends with where it does not succeed."""
