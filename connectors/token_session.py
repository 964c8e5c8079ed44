"""HTTP to a gateway that takes bearer tokens: signed in, few requests at once, and telling what failed.

Beyond what ``HttpSession`` sees to: a 401 leads to one new token, an idempotent request
is sent again where the gateway asks for that or timed out, and an error body is read as
that gateway writes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_before_delay
from urllib3.filepost import encode_multipart_formdata

from sremote.connectors.errors import (
    ConnectionLost,
    FileMissing,
    HostError,
    HostFull,
    HostUnreachable,
    LineTimeout,
    PermissionRefused,
    SignInRefused,
)
from sremote.connectors.http_session import PATIENCE, PAUSES, TRIES, HttpSession, retry_after
from sremote.connectors.tokens import TokenProvider
from sremote.interpreter.errors import SremoteError

if TYPE_CHECKING:
    import requests

ANSWER_TIMEOUT = 120.0
"""Seconds for a gateway to answer."""
AT_ONCE = 8
"""Requests under way at once; gateways count them."""
_IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE")
"""RFC 9110, section 9.2.2."""
_PASSING = (408, 424, 425)
"""Statuses that may be another a little later; so may 409 with Retry-After.  ``HttpSession`` sees to 429 and 5xx."""
_SHOWN = 500

ErrorReader = Callable[["requests.Response"], str | None]
"""Returns what a gateway's answer says went wrong; None where it says nothing that is known."""


class TokenSession:
    """Requests to one gateway, safe to use from several threads.

    ``base`` is its URL, ``name`` what messages call the host, ``read_error`` reads the
    gateway's error bodies; the others are as ``HttpSession`` has them.
    """

    def __init__(
        self,
        base: str,
        *,
        name: str,
        tokens: TokenProvider,
        read_error: ErrorReader,
        connect_timeout: float,
        at_once: int = AT_ONCE,
        fingerprint: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        self.name = name
        self.plain = self._http = HttpSession(
            base.rstrip("/"), name=name, connect_timeout=connect_timeout, fingerprint=fingerprint, ca_file=ca_file
        )
        self._tokens = tokens
        self._read_error = read_error
        self._at_once = threading.BoundedSemaphore(at_once)

    def request(
        self,
        method: str,
        path: str,
        *,
        what: str,
        idempotent: bool | None = None,
        expect: Collection[int] = (),
        timeout: float = ANSWER_TIMEOUT,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        json: object = None,
        upload: tuple[str, bytes] | None = None,
    ) -> requests.Response:
        """Send a request and return the answer: one of status 2xx, or one that ``expect`` lists.

        ``what`` says in errors what could not be done, as in ``read /a/file``.
        ``idempotent`` tells whether it may be sent twice (default: as HTTP has it for the
        method).  ``query`` leaves out what is None.  ``upload`` is the name and content of
        a file, which goes as the multipart form's ``file``.

        Raises a LineError where nothing is known of what came of it, a HostError where the
        gateway refused.
        """
        may_repeat = method in _IDEMPOTENT if idempotent is None else idempotent
        sent = dict(headers or {})
        options: dict[str, Any] = {"form": form, "json": json, "timeout": timeout, "idempotent": may_repeat}
        if query is not None:
            options["query"] = {key: _text(value) for key, value in query.items() if value is not None}
        if upload is not None:
            name, content = upload
            options["body"], sent["Content-Type"] = encode_multipart_formdata(
                {"file": (name, content, "application/octet-stream")}
            )

        def attempt() -> requests.Response:
            answer = self._signed(method, path, what, sent, options)
            if answer.status_code < 300 or answer.status_code in expect:
                return answer
            error = self.error(answer, what)
            wait = retry_after(answer.headers.get("Retry-After"))
            if may_repeat and (answer.status_code in _PASSING or (answer.status_code == 409 and wait is not None)):
                raise _Again(error, wait)
            raise error

        retrying = Retrying(
            retry=retry_if_exception_type(_Again),
            stop=stop_after_attempt(TRIES) | stop_before_delay(PATIENCE),
            wait=_pause,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except _Again as again:
            raise again.error from None

    def json(self, method: str, path: str, *, what: str, **options: Any) -> Any:
        """As ``request``, and return the JSON of the answer.  Raises ConnectionLost where that is not whole."""
        answer = self.request(method, path, what=what, **options)
        try:
            return answer.json()
        except ValueError:
            raise ConnectionLost(f"{self.name}: cannot {what}: the answer is not whole, or not JSON") from None

    def object(self, method: str, path: str, *, what: str, **options: Any) -> dict[str, Any]:
        """As ``json``, for an answer that is an object."""
        found = self.json(method, path, what=what, **options)
        if not isinstance(found, dict):
            raise HostError(f"{self.name}: cannot {what}: the answer is not what this gateway should say")
        return found

    def error(self, answer: requests.Response, what: str) -> SremoteError:
        """Return the error that an answer means."""
        said = self._read_error(answer) or f"HTTP status {answer.status_code} {answer.reason or ''}".strip()
        return refusal(f"{self.name}: cannot {what}", self._short(said), answer.status_code)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._http.close()

    def _signed(
        self, method: str, path: str, what: str, headers: Mapping[str, str], options: Mapping[str, Any]
    ) -> requests.Response:
        """Send a request with a token, and again with another where the first is refused."""
        token = self._tokens.token()
        answer = self._send(method, path, what, headers, options, token)
        if answer.status_code == 401 and self._tokens.replace(token):
            answer = self._send(method, path, what, headers, options, self._tokens.token())
        if answer.status_code == 401:
            said = self._short(self._read_error(answer) or "")
            text = f"{self.name}: {self._tokens.refusal()}"
            raise SignInRefused(f"{text}: {said}" if said else text, self._tokens.remedy)
        return answer

    def _send(
        self, method: str, path: str, what: str, headers: Mapping[str, str], options: Mapping[str, Any], token: str
    ) -> requests.Response:
        try:
            with self._at_once:
                return self._http.request(
                    method, path, headers={**headers, "Authorization": f"Bearer {token}"}, **options
                )
        except (LineTimeout, ConnectionLost) as error:
            text = error.message.removeprefix(f"{self.name}: ")
            raise type(error)(f"{self.name}: cannot {what}: {text}", error.remedy) from error

    def _short(self, text: str) -> str:
        return " ".join(self._tokens.redact(text).split())[:_SHOWN]


class FileStore:
    """Files at addresses that are signed already, as an object store has them: no token goes there."""

    def __init__(self, *, name: str, connect_timeout: float, ca_file: str | None = None) -> None:
        self.name = name
        self._http = HttpSession("", name=name, connect_timeout=connect_timeout, ca_file=ca_file)

    def request(
        self, method: str, url: str, *, what: str, body: bytes | Callable[[], BinaryIO] = b"", stream: bool = False
    ) -> requests.Response:
        """Send a request, which may be sent twice, and return its answer of status 2xx."""
        answer = self._http.request(method, url, idempotent=True, timeout=ANSWER_TIMEOUT, body=body, stream=stream)
        if answer.status_code >= 300:
            answer.close()
            raise refusal(f"{self.name}: cannot {what}", f"the store answers {answer.status_code}", answer.status_code)
        return answer

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._http.close()


def refusal(failed: str, said: str, status: int) -> SremoteError:
    """Return the error for what a gateway ``said``, with an HTTP status; ``failed`` begins the sentence."""
    text, lower = f"{failed}: {said}", said.lower()
    if "no space left" in lower or "quota exceeded" in lower or status == 507:
        return HostFull(text, "Make room there.")
    if "permission denied" in lower or "read-only file system" in lower or status == 403:
        return PermissionRefused(text)
    if status == 408:
        return LineTimeout(text, "What came of it is not known; look before you do it again.")
    if "not a directory" in lower or "is a directory" in lower:
        return HostError(text)
    if status == 404 or "no such file" in lower:
        return FileMissing(text)
    if status == 424:
        return HostUnreachable(text, "The gateway does not reach what stands behind it; try later.")
    return HostError(text)


class _Again(Exception):
    def __init__(self, error: SremoteError, wait: float | None) -> None:
        super().__init__(error)
        self.error = error
        self.wait = wait


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    wait = error.wait if isinstance(error, _Again) else None
    return PAUSES[min(state.attempt_number, len(PAUSES)) - 1] if wait is None else wait


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
