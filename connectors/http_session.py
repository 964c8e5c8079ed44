"""HTTP to a gateway: certificates checked or pinned, proxies respected, refusals and faults told apart.

A request is sent again only where that cannot do anything twice: where the gateway
said that it did not take it (429, or 503 with a time to come back), or where the
caller says that it is idempotent.
"""

from __future__ import annotations

import email.utils
import hashlib
import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import requests
import requests.utils
import urllib3
from requests.adapters import HTTPAdapter
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_before_delay

from sremote.connectors.errors import ConnectionLost, HostKeyError, HostUnreachable, LineError, LineTimeout, UsageError

POOL = 64
"""Connections that are kept open for further requests."""
TRIES = 4
"""How often an idempotent request is sent where the line or the gateway fails."""
PATIENCE = 60.0
"""Seconds for which a gateway that is busy is asked again."""
PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between tries, where the gateway names none."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")

log = logging.getLogger("sremote.connectors")


class HttpSession:
    """Requests to one gateway, safe to use from several threads.

    ``base`` is its URL without a slash at the end, ``name`` is how messages call the
    host, ``connect_timeout`` in seconds.  ``fingerprint`` pins the certificate (SHA-256
    as hexadecimal digits, colons allowed) instead of asking the authorities;
    ``ca_file`` names authorities other than the system's.
    """

    def __init__(
        self,
        base: str,
        *,
        name: str,
        connect_timeout: float,
        fingerprint: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        self.base = base
        self.name = name
        self.connect_timeout = connect_timeout
        self.fingerprint = None if fingerprint is None else normal_fingerprint(fingerprint)
        self.ca_file = ca_file
        self._session = requests.Session()
        self._session.auth = _no_auth  # else ~/.netrc would be sent
        self._session.headers["User-Agent"] = "sremote"
        self._session.mount("https://", _Adapter(self.fingerprint))
        self._session.mount("http://", _Adapter(None))

    def request(
        self,
        method: str,
        path: str,
        *,
        idempotent: bool = False,
        timeout: float | None = None,
        body: bytes | Callable[[], BinaryIO] = b"",
        form: Mapping[str, str] | None = None,
        query: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        json: object = None,
    ) -> requests.Response:
        """Send a request below ``base`` and return the answer, whatever its status but for those of a busy gateway.

        ``timeout`` is the seconds to wait for the answer (default: ``connect_timeout``);
        ``body`` is bytes, or makes the file to send, anew for each try.  With ``stream``
        the answer's body is still to be read.

        Raises HostUnreachable where nothing was sent, HostKeyError for a certificate that
        is not trusted, LineTimeout and ConnectionLost where the outcome is unknown.
        """

        def attempt() -> requests.Response:
            data = form if form is not None else body() if callable(body) else body
            try:
                answer = self._session.request(
                    method,
                    self.base + path,
                    params=query,
                    data=data if data else None,
                    json=json,
                    headers=dict(headers or {}),
                    timeout=(self.connect_timeout, timeout or self.connect_timeout),
                    allow_redirects=False,
                    verify=self.ca_file,  # here, since the environment goes before what the session says
                    stream=stream,
                )
            except requests.RequestException as error:
                raise self._error(error) from error
            return self._checked(answer, idempotent)

        retrying = Retrying(
            retry=retry_if_exception_type((_Busy, ConnectionLost) if idempotent else _Busy),
            stop=stop_after_attempt(TRIES) | stop_before_delay(PATIENCE),
            wait=_pause,
            reraise=True,
        )
        started = time.monotonic()
        answer = retrying(attempt)
        log.debug("%s: %s %s: %d, %.3f s", self.name, method, path, answer.status_code, time.monotonic() - started)
        return answer

    def cookies(self) -> str:
        """Return the value of the Cookie header that goes to the gateway."""
        request = requests.Request("GET", self.base + "/")
        return str(self._session.prepare_request(request).headers.get("Cookie", ""))

    def set_header(self, name: str, value: str) -> None:
        """Send a header with every request from now on."""
        self._session.headers[name] = value

    def forget_cookies(self) -> None:
        """Have no session with the gateway any more."""
        self._session.cookies.clear()

    def close(self) -> None:
        """Close the connections; later requests open new ones."""
        self._session.close()

    def tls_context(self) -> ssl.SSLContext:
        """Return the checks of the certificate for a connection that is not made here."""
        if self.fingerprint is not None:
            return PinnedContext.of(self.fingerprint)
        settings = self._session.merge_environment_settings(self.base, {}, False, self.ca_file, None)
        verify = settings["verify"]
        context = ssl.create_default_context(
            cafile=verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _checked(self, answer: requests.Response, idempotent: bool) -> requests.Response:
        """Return an answer; raise for those that say nothing of the request itself."""
        status = answer.status_code
        if status < 300 or (400 <= status < 500 and status != 429):
            return answer
        wait = retry_after(answer.headers.get("Retry-After"))
        answer.close()
        if 300 <= status < 400:
            raise HostUnreachable(
                f"{self.name}: the gateway sends on to {answer.headers.get('Location', 'nowhere')!r}",
                "Write that address where it is right; a password is not sent on.",
            )
        if status == 429 or (status == 503 and (wait is not None or idempotent)):
            when = "later" if wait is None else f"in {wait:.0f} s"
            raise _Busy(f"{self.name}: the gateway is busy ({status} {answer.reason})", f"Try again {when}.", wait=wait)
        if status in (502, 503, 504):
            raise ConnectionLost(
                f"{self.name}: the gateway does not reach what stands behind it ({status} {answer.reason})",
                "What was under way may or may not have happened.",
            )
        return answer

    def _error(self, error: requests.RequestException) -> LineError:
        """Return what a failed request means."""
        reason = _root(error)
        if isinstance(error, requests.exceptions.SSLError):
            return self._certificate_error(reason)
        if isinstance(error, requests.exceptions.ProxyError):
            return HostUnreachable(
                f"{self.name}: the proxy does not let through: {_words(reason)}",
                "See the variables https_proxy and no_proxy.",
            )
        if isinstance(error, requests.exceptions.ReadTimeout):
            return LineTimeout(f"{self.name}: no answer from the gateway in time; it may still be at work")
        if isinstance(error, requests.exceptions.ConnectTimeout) or isinstance(
            reason, urllib3.exceptions.NewConnectionError | socket.gaierror | ConnectionRefusedError
        ):
            return HostUnreachable(
                f"{self.name}: cannot reach {urlsplit(self.base).netloc}: {_words(reason)}",
                "Look at the address, your network or VPN, and whether the gateway is up.",
            )
        return ConnectionLost(
            f"{self.name}: the line to the gateway dropped: {_words(reason)}",
            "What was under way may or may not have happened.",
        )

    def _certificate_error(self, reason: BaseException) -> HostKeyError:
        shown = self._shown_fingerprint()
        if self.fingerprint is not None:
            return HostKeyError(
                f"{self.name}: the gateway's certificate is not the one that was pinned: it shows {shown}",
                "Someone may be listening in, or the gateway has a new certificate: ask who runs it.",
            )
        return HostKeyError(
            f"{self.name}: the gateway's certificate is not trusted: {_words(reason)}",
            f"It shows {shown}.  Compare that with what the gateway printed when it started; if it is the same, "
            f"pin it with the option fingerprint={shown}",
        )

    def _shown_fingerprint(self) -> str:
        parts = urlsplit(self.base)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with suppress(OSError, ValueError):
            place = (parts.hostname or "", parts.port or 443)
            with (
                socket.create_connection(place, self.connect_timeout) as plain,
                context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
            ):
                return fingerprint_of(secure.getpeercert(binary_form=True) or b"")
        return "a certificate that could not be looked at"


class PinnedContext(ssl.SSLContext):
    """TLS to a server whose certificate has one known fingerprint."""

    pinned: str

    @classmethod
    def of(cls, fingerprint: str) -> PinnedContext:
        """Return a context for the server whose certificate has ``fingerprint``, as ``normal_fingerprint`` gives it."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.pinned = fingerprint
        return context

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Shake hands.  Raises SSLCertVerificationError for another certificate, before anything is sent."""
        secure = super().wrap_socket(*arguments, **options)
        if fingerprint_of(secure.getpeercert(binary_form=True) or b"") != self.pinned:
            secure.close()
            raise ssl.SSLCertVerificationError("the certificate is not the one that was pinned")
        return secure


def fingerprint_of(certificate: bytes) -> str:
    """Return the SHA-256 fingerprint of a certificate in DER, as ``normal_fingerprint`` does."""
    return normal_fingerprint(hashlib.sha256(certificate).hexdigest())


def normal_fingerprint(text: str) -> str:
    """Return a SHA-256 fingerprint as 64 lower-case hexadecimal digits.  Raises UsageError where it is none."""
    digits = re.sub(r"(?i)^sha-?256[:=]", "", text.strip()).replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise UsageError(
            f"{text!r} is no SHA-256 fingerprint", "It has 64 hexadecimal digits; the gateway shows it when it starts."
        )
    return digits


def retry_after(text: str | None) -> float | None:
    """Return the seconds that a Retry-After header names, as a number or a date; None where it names none."""
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        then = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, then.timestamp() - time.time())


class _Busy(HostUnreachable):
    """The gateway did not take the request, and may name the time to come back."""

    def __init__(self, message: str, remedy: str | None = None, *, wait: float | None = None) -> None:
        super().__init__(message, remedy)
        self.wait = wait


class _Adapter(HTTPAdapter):
    def __init__(self, fingerprint: str | None) -> None:
        self._fingerprint = fingerprint
        super().__init__(pool_connections=POOL, pool_maxsize=POOL)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **options, **self._pinning())

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, **self._pinning())

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        super().cert_verify(conn, url, verify if self._fingerprint is None else False, cert)  # type: ignore[no-untyped-call]

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        return super().build_connection_pool_key_attributes(
            request, verify if self._fingerprint is None else False, cert
        )

    def _pinning(self) -> dict[str, Any]:
        return {} if self._fingerprint is None else {"assert_fingerprint": self._fingerprint, "assert_hostname": False}


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    wait = error.wait if isinstance(error, _Busy) else None
    return PAUSES[min(state.attempt_number, len(PAUSES)) - 1] if wait is None else wait


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _root(error: BaseException) -> BaseException:
    """Return the innermost reason that requests and urllib3 wrapped up."""
    while True:
        inner = getattr(error, "reason", None) or next(
            (each for each in getattr(error, "args", ()) if isinstance(each, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            return error
        error = inner


def _words(reason: BaseException) -> str:
    """Return why something failed, without the objects that urllib3 writes into its messages."""
    text = getattr(reason, "verify_message", "") or getattr(reason, "strerror", "") or str(reason)
    return re.sub(r"^<[^>]*>: |^HTTPS?ConnectionPool\([^)]*\): ", "", str(text)).strip() or type(reason).__name__
