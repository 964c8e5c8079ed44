"""Puts the gateway together and serves it: its certificate, its port, its server."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import logging
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from sremote.connectors.http_session import fingerprint_of
from sremote.connectors.newt_stream import MESSAGE_LIMIT
from sremote.errors import UsageError
from sremote.gateway.access import Access
from sremote.gateway.guard import Guard
from sremote.gateway.newt import NewtRoutes
from sremote.gateway.page import PageRoutes
from sremote.gateway.settings import Settings

CERTIFICATE_DAYS = 3650
HEAD_TIMEOUT = 45.0
"""Seconds for a request's head to arrive once its connection is open."""
SHUTDOWN_TIMEOUT = 3
"""Seconds that requests under way, and clients that are to hang up, have when the gateway is stopped."""


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key, as PEM files."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, in hexadecimal."""
        text = self.certificate.read_text()
        end = "-----END CERTIFICATE-----"
        return fingerprint_of(ssl.PEM_cert_to_DER_cert(text[: text.index(end) + len(end)]))


def make_application(settings: Settings, access: Access) -> ASGIApp:
    """Return the gateway as an ASGI application."""
    routes = [*NewtRoutes(settings, access).routes(), *PageRoutes(settings, access).routes()]
    return Guard(Starlette(routes=routes), settings)


def make_server(application: ASGIApp, certificate: Certificate | None) -> uvicorn.Server:
    """Return the server, to be run with sockets of ``listen``."""
    tls: dict[str, Any] = {}
    if certificate is not None:
        tls = {"ssl_certfile": str(certificate.certificate), "ssl_keyfile": str(certificate.key)}
    config = uvicorn.Config(
        application,
        http=_PunctualProtocol,
        ws="websockets-sansio",
        ws_max_size=MESSAGE_LIMIT,
        ws_per_message_deflate=False,
        ws_ping_timeout=60.0,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT + 2,
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        **tls,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        assert certificate is not None
        raise UsageError(
            f"{certificate.certificate} and {certificate.key} are no certificate with its key: {error}"
        ) from error
    return uvicorn.Server(config)


def listen(host: str, port: int, *, encrypted: bool) -> socket.socket:
    """Return a socket that listens.  Raises UsageError for one that others could read along."""
    if not encrypted and not is_loopback(host):
        raise UsageError(
            f"without TLS the gateway listens on this machine alone, not on {host}",
            "Leave out --no-tls, or listen on 127.0.0.1 behind a proxy that has TLS.",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise UsageError(
            f"cannot listen on port {port} of {host}: {error.strerror}", "Choose another with --port."
        ) from error


def is_loopback(host: str) -> bool:
    """Say whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def self_signed(folder: Path, names: list[str]) -> Certificate:
    """Return the certificate in ``folder``, made for ``names`` where there is none."""
    found = Certificate(folder / "certificate.pem", folder / "key.pem")
    if found.certificate.exists() and found.key.exists():
        return found
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate, key = _make_pair(names)
        for path, content in ((found.key, key), (found.certificate, certificate)):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}", "Give another folder with --folder.") from error
    return found


def _make_pair(names: list[str]) -> tuple[bytes, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, names[0][:64])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName([_alternative(each) for each in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def _alternative(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class _PunctualProtocol(H11Protocol):
    """uvicorn's HTTP, which waits for a request's head for ever, with a limit to that."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_TIMEOUT, self._look)

    def data_received(self, data: bytes) -> None:
        waits = self.cycle is None or self.cycle.response_complete
        if waits and self._timer is None:
            self._timer = self.loop.call_later(HEAD_TIMEOUT, self._look)
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before or self.transport.get_protocol() is not self:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        super().shutdown()
        # With TLS, closing waits for the client to do so as well, which may have gone.
        self.loop.call_later(SHUTDOWN_TIMEOUT, self.transport.abort)

    def _look(self) -> None:
        """Hang up: no head has come."""
        self._timer = None
        if not self.transport.is_closing():
            logging.getLogger("sremote.gateway").info("%s: a request's head came too slowly", self.client)
            self.transport.close()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
