"""What every request passes before it is looked at: its origin, its size and its time; and the log."""

from __future__ import annotations

import asyncio
import logging
import time
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sremote.gateway.settings import Settings

FORM_LIMIT = 1 << 19
"""Bytes of a form; the longest is a command."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers hide the origin of this page's own forms
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

log = logging.getLogger("sremote.gateway")


class Guard:
    """The outermost layer of the gateway."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status, sent = 0, 0
        scope = self._without_prefix(scope)
        scope["client_address"] = self._address(scope)

        async def watched(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message)
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close" and not status:
                status = 403
            sent += len(message.get("body", b"") or message.get("bytes", b"") or b"")
            await send(message)

        try:
            if is_foreign(scope):
                await _refuse(scope, receive, watched, 403, "the request comes from a page of another site")
            else:
                await self._app(scope, self._in_time(scope, receive), watched)
        except ClientDisconnect:
            log.debug("the client hung up")
        finally:
            took = time.monotonic() - started
            method = scope.get("method", "WEBSOCKET")
            # repr: a path may hold newlines.  The query and all headers and bodies stay out: they hold secrets.
            log.info("%s %s %r %d %d %.3f", scope["client_address"], method, scope["path"], status, sent, took)

    def _without_prefix(self, scope: Scope) -> Scope:
        """Return the scope as it is without the reverse proxy's prefix, which some proxies take off and some leave."""
        prefix = self._settings.prefix
        path, raw = scope["path"], scope.get("raw_path") or scope["path"].encode()
        if prefix and (path == prefix or path.startswith(prefix + "/")):
            path = path[len(prefix) :] or "/"
            raw = raw[len(prefix.encode()) :] or b"/"
        return {**scope, "path": path, "raw_path": raw}

    def _address(self, scope: Scope) -> str:
        """Return where a request comes from; a proxy on this machine is believed where the settings say so."""
        client = scope.get("client")
        peer = client[0] if client else ""
        forwarded = Headers(scope=scope).get("x-forwarded-for", "")
        if self._settings.behind_proxy and forwarded:
            return forwarded.rpartition(",")[2].strip()[:64]
        return str(peer)

    def _in_time(self, scope: Scope, receive: Receive) -> Receive:
        """Return a ``receive`` that gives up a body which has stopped coming."""
        if scope["type"] != "http":
            return receive
        whole = False

        async def timed() -> Message:
            nonlocal whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self._settings.body_timeout)
            except TimeoutError:
                raise HTTPException(
                    408, "the request's body has stopped coming", headers={"Connection": "close"}
                ) from None
            whole = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        return timed


def is_foreign(scope: Scope) -> bool:
    """Say whether a page of another origin makes this request; another port of this host is another origin.

    Programs send neither header.  Reading is left to the browser's own rules.
    """
    if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
        return False
    headers = Headers(scope=scope)
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


async def read_form(request: Request, timeout: float) -> dict[str, str]:
    """Return the fields of a form.  Raises HTTPException where it is too large, too slow or not one."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        raise HTTPException(415, "the body is to be a form: application/x-www-form-urlencoded")
    body = await read_body(request, FORM_LIMIT, timeout)
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="surrogateescape"))
    except ValueError:
        raise HTTPException(400, "the body is not a form") from None


async def read_body(request: Request, limit: int, timeout: float) -> bytes:
    """Return a request's body of at most ``limit`` bytes, come within ``timeout`` seconds."""
    too_large = HTTPException(413, f"the body may have {limit} bytes", headers={"Connection": "close"})
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(timeout):
            async for piece in request.stream():
                body += piece
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise HTTPException(408, "the request's body comes too slowly", headers={"Connection": "close"}) from None
    return bytes(body)


def _add_headers(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in _HEADERS.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, words: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await JSONResponse({"status": "ERROR", "error": words}, status)(scope, receive, send)
