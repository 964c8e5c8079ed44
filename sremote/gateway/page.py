"""The page for people: hosts and jobs of this machine, without any script, and a button that cancels."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from sremote.errors import SremoteError
from sremote.gateway.access import Access, Session, TooManyTries
from sremote.gateway.guard import read_form
from sremote.gateway.jobs import Jobs
from sremote.gateway.settings import Settings
from sremote.hosts import read_hosts

COOKIE = "sremote_page"
REFRESH = 10
"""Seconds after which a page with jobs that run is loaded anew."""

Shown = Callable[[Request, Session], Awaitable[Response]]


class PageRoutes:
    """What browsers see.  Each form holds the session's secret, without which it does nothing."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._settings = settings
        self._access = access
        self._jobs = Jobs(settings.home / settings.root)
        loader = jinja2.PackageLoader("sremote.gateway")
        self._templates = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._style = (files("sremote.gateway") / "templates" / "style.css").read_text()

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/", self._signed_in(self._overview)),
            Route("/jobs/{job_id}", self._signed_in(self._job)),
            Route("/jobs/{job_id}/cancel", self._signed_in(self._cancel), methods=["POST"]),
            Route("/sign-in", self._sign_in, methods=["POST"]),
            Route("/sign-out", self._signed_in(self._sign_out), methods=["POST"]),
            Route("/style.css", self._stylesheet),
        ]

    def _signed_in(self, show: Shown) -> Callable[[Request], Awaitable[Response]]:
        """Return a handler that shows the sign-in to those without a session, and refuses forms without its secret."""

        async def handle(request: Request) -> Response:
            session = self._access.session(request.cookies.get(COOKIE), request.scope["client_address"], "page")
            if session is None:
                return self._render("sign_in.html", None, status=401 if request.method == "POST" else 200, message="")
            if request.method == "POST":
                form = await read_form(request, self._settings.body_timeout)
                if not hmac.compare_digest(form.get("csrf", "").encode("utf-8", "replace"), session.csrf.encode()):
                    raise HTTPException(403, "the form does not come from this page: load it anew")
            try:
                return await show(request, session)
            except SremoteError as error:
                return self._render("problem.html", session, status=500, message=str(error))

        return handle

    async def _overview(self, request: Request, session: Session) -> Response:
        jobs = await run_in_threadpool(self._jobs.newest)
        hosts = await run_in_threadpool(read_hosts)
        running = any(job.can_be_cancelled for job in jobs)
        return self._render("overview.html", session, jobs=jobs, hosts=hosts, refresh=REFRESH if running else None)

    async def _job(self, request: Request, session: Session) -> Response:
        job = await run_in_threadpool(self._jobs.get, request.path_params["job_id"])
        if job is None:
            return self._render("problem.html", session, status=404, message="There is no job of that id here.")
        logs = await run_in_threadpool(self._jobs.logs, job.id)
        return self._render("job.html", session, job=job, logs=logs, refresh=REFRESH if job.can_be_cancelled else None)

    async def _cancel(self, request: Request, session: Session) -> Response:
        job = await run_in_threadpool(self._jobs.get, request.path_params["job_id"])
        if job is None:
            return self._render("problem.html", session, status=404, message="There is no job of that id here.")
        await run_in_threadpool(self._jobs.cancel, job.id)
        return self._redirect(f"/jobs/{job.id}")

    async def _sign_in(self, request: Request) -> Response:
        form = await read_form(request, self._settings.body_timeout)
        address = request.scope["client_address"]
        try:
            password = form.get("token", "").strip() + form.get("code", "").strip()
            found = self._access.sign_in(password, address, "page")
        except TooManyTries as error:
            wait = int(error.wait) + 1
            message = f"Too many sign-ins were refused. Try again in {wait} seconds."
            answer = self._render("sign_in.html", None, status=429, message=message)
            answer.headers["Retry-After"] = str(wait)
            return answer
        if found is None:
            return self._render("sign_in.html", None, status=403, message="That is not the token of this gateway.")
        response = self._redirect("/")
        self._set_cookie(response, found[0], int(self._settings.session_lifetime))
        return response

    async def _sign_out(self, request: Request, session: Session) -> Response:
        self._access.sign_out(request.cookies.get(COOKIE))
        response = self._redirect("/")
        self._set_cookie(response, "", 0)
        return response

    async def _stylesheet(self, request: Request) -> Response:
        return Response(self._style, media_type="text/css", headers={"Cache-Control": "max-age=3600"})

    def _render(self, template: str, session: Session | None, *, status: int = 200, **values: Any) -> HTMLResponse:
        text = self._templates.get_template(template).render(
            machine=self._settings.machine,
            prefix=self._settings.prefix,
            csrf=session.csrf if session else "",
            signed_in=session is not None,
            wants_code=self._access.wants_code,
            **{"refresh": None, **values},
        )
        return HTMLResponse(text, status)

    def _redirect(self, path: str) -> RedirectResponse:
        return RedirectResponse(self._settings.prefix + path, 303)

    def _set_cookie(self, response: Response, value: str, age: int) -> None:
        response.set_cookie(
            COOKIE,
            value,
            max_age=age,
            path=self._settings.prefix or "/",
            secure=self._settings.secure,
            httponly=True,
            samesite="strict",
        )
