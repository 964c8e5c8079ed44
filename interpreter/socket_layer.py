"""What lies between a socket and the records on it: TLS, or nothing.

Both kinds take and give bytes and know no socket, so that one thread may read
while another writes.
"""

import ssl
import threading
from typing import Optional, Sequence, Union

from .socket_key import digest_of
from .wire import Buffer

PIECE = 1 << 16
"""Bytes that are asked of TLS at a time."""


class Plain:
    """No TLS: bytes go as they are."""

    certificate = b""
    """The fingerprint of the server's certificate, which the handshake binds: none."""

    def shake(self) -> bool:
        """Say whether records may flow."""
        return True

    def put(self, data: bytes) -> None:
        """Take bytes that came while the layers shook hands; there are none here."""

    def waiting(self) -> bytes:
        """Return what the layer itself has to say; nothing."""
        return b""

    def open(self, data: bytes) -> bytes:
        """Take bytes of the socket, return those of the records."""
        return data

    def seal(self, *parts: Buffer) -> bytes:
        """Take bytes of records, return those for the socket."""
        return b"".join(parts)


class Tls:
    """TLS 1.2 or 1.3; ``shake`` comes before the rest."""

    def __init__(self, context: ssl.SSLContext, fingerprint: Optional[bytes] = None) -> None:
        """Be the server's end where its certificate's ``fingerprint`` is given, else the client's."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=fingerprint is not None)
        self._lock = threading.Lock()
        self.certificate = fingerprint or b""

    def shake(self) -> bool:
        """Go on with the handshake; say whether it is done.  Raises ssl.SSLError."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        if not self.certificate:
            self.certificate = digest_of(self._tls.getpeercert(binary_form=True) or b"")
        return True

    def put(self, data: bytes) -> None:
        """Take bytes that came while the layers shake hands."""
        self._incoming.write(data)

    def waiting(self) -> bytes:
        """Return what the handshake has to say."""
        return self._outgoing.read()

    def open(self, data: bytes) -> bytes:
        """Take bytes of the socket, return those of the records.  Raises ssl.SSLError."""
        pieces = []
        with self._lock:
            self._incoming.write(data)
            try:
                while True:
                    piece = self._tls.read(PIECE)
                    if not piece:
                        break
                    pieces.append(piece)
            except ssl.SSLWantReadError:
                pass
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seal(self, *parts: Buffer) -> bytes:
        """Take bytes of records, return those for the socket, in the order of calls."""
        with self._lock:
            for part in _joined(parts):
                view = memoryview(part)
                while view:
                    view = view[self._tls.write(view) :]
            return self._outgoing.read()


Layer = Union[Plain, Tls]


def _joined(parts: Sequence[Buffer]) -> Sequence[Buffer]:
    """Join small parts, so that they make one TLS record."""
    return [b"".join(parts)] if sum(map(len, parts)) <= 1 << 14 else parts


def server_context(path: str) -> ssl.SSLContext:
    """Return the TLS settings of a server whose certificate and private key stand in a file.  Raises ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _modern(context)
    context.load_cert_chain(path)
    if hasattr(context, "num_tickets"):
        context.num_tickets = 0  # each connection proves itself anew
    return context


def client_context() -> ssl.SSLContext:
    """Return the TLS settings of a client, which looks at the certificate's fingerprint itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _modern(context)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _modern(context: ssl.SSLContext) -> None:
    if hasattr(ssl, "TLSVersion"):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    else:  # Python 3.6
        context.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
