"""NEWT gateways of the tests' own: version 1 as NERSC served it, and 2.0, both for this machine.

They behave as the published clients and sources say, and no better: a command is a line
for a shell and its answer is text, nothing tells its exit status, a file is written
where its folder is.  Each ``Fault`` is one thing that sites' users have reported.
"""

import asyncio
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

MACHINE = "carver"
USER = "alice"
PASSWORD = "open sesame &%"
ERROR_PAGE = "<html><body>An error occurred. Please contact the consultants.</body></html>"


@dataclass
class Fault:
    """What goes wrong; each number counts down with the requests that it befalls."""

    expire: int = 0
    """Sessions end: the next requests find theirs unknown."""
    busy: int = 0
    """429, with a time to come back."""
    retry_after: str = "0"
    bad_gateway: int = 0
    """502; the request is not carried out."""
    lost_answers: int = 0
    """502, though the request was carried out."""
    cut_downloads: int = 0
    """A file ends in the middle, and nobody is told."""
    cut_uploads: int = 0
    """Half of a file is written, and nobody is told."""
    error_pages: int = 0
    """A page for people, with status 200, in place of a file."""
    noise: str = ""
    """What login scripts print before a command."""
    login_status: int = 200
    """The status of a sign-in's answer."""


@dataclass
class NewtServer:
    """A gateway's state; ``version`` is 1 or 2, ``code`` a one-time code that has to stand behind the password."""

    version: int
    home: Path
    code: str = ""
    fault: Fault = field(default_factory=Fault)
    sessions: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    """The method and path of every request."""
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    """The queue: jobs by number; nothing runs."""
    scripts: dict[str, str] = field(default_factory=dict)
    forms: list[dict[str, str]] = field(default_factory=list)
    """The fields of every sign-in."""

    @property
    def sign_ins(self) -> int:
        """How many sign-ins were tried."""
        return len(self.forms)

    def application(self) -> Starlette:
        """Return the gateway as an ASGI application."""
        if self.version == 1:
            routes = [
                Route("/login", self.login, methods=["GET", "POST"]),
                Route("/logout", self.logout),
                Route(f"/command/{MACHINE}", self.command, methods=["POST"]),
                Route(f"/queue/{MACHINE}", self.queue, methods=["GET", "POST"]),
                Route(f"/queue/{MACHINE}/{{number}}", self.job, methods=["GET", "DELETE"]),
                Route(f"/file/{MACHINE}{{path:path}}", self.file, methods=["GET", "PUT", "DELETE"]),
            ]
        else:
            routes = [
                Route("/login", lambda _: HTMLResponse("<form>", 200)),
                Route("/api/auth", self.login, methods=["GET", "POST", "DELETE"]),
                Route(f"/api/command/{MACHINE}", self.command, methods=["POST"]),
                Route(f"/api/job/{MACHINE}", self.queue, methods=["GET", "POST"]),
                Route(f"/api/job/{MACHINE}/{{number}}", self.job, methods=["GET", "DELETE"]),
                Route(f"/api/file/{MACHINE}{{path:path}}", self.file, methods=["GET", "PUT"]),
            ]
        return Starlette(routes=routes)

    async def login(self, request: Request) -> Response:
        self.requests.append(f"{request.method} {request.url.path}")
        if request.method == "DELETE":
            return await self.logout(request)
        session = request.cookies.get("newt_sessionid", "")
        signed_in = session in self.sessions
        if request.method == "POST":
            form = {key: str(value) for key, value in (await request.form()).items()}
            self.forms.append(form)
            signed_in = form == {"username": USER, "password": PASSWORD + self.code}
            session = secrets.token_hex(16)
            if signed_in:
                self.sessions.add(session)
        answer = {
            "username": USER if signed_in else None,
            "session_lifetime": 43199 if signed_in else 0,
            "auth": signed_in,
            "newt_sessionid": session if signed_in else None,
        }
        response = self._answer(
            answer, status=self.fault.login_status if request.method == "POST" and not signed_in else 200
        )
        if signed_in:
            response.set_cookie("newt_sessionid", session)
        return response

    async def logout(self, request: Request) -> Response:
        self.sessions.discard(request.cookies.get("newt_sessionid", ""))
        return self._answer({"auth": False})

    async def command(self, request: Request) -> Response:
        form = await request.form()
        early = self._before(request)
        if early is not None:
            return early
        line = str(form["executable" if self.version == 1 else "command"])
        program = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            f'printf %s "$NOISE"; {line}',
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": str(self.home), "NOISE": self.fault.noise},
            cwd="/",
        )
        stdout, stderr = await program.communicate()
        output, error = stdout.decode(errors="replace"), stderr.decode(errors="replace")
        if self._befalls("lost_answers"):
            return HTMLResponse(ERROR_PAGE, 502)
        if self.version == 1:
            return JSONResponse({"status": "ERROR" if error else "OK", "output": output, "error": error})
        return self._answer({"output": output, "error": error, "retcode": program.returncode})

    async def queue(self, request: Request) -> Response:
        form = await request.form()
        early = self._before(request)
        if early is not None:
            return early
        if request.method == "GET":
            return self._answer([job for job in self.jobs.values() if job["status"] != "C"])
        number = str(1000 + len(self.jobs))
        script = str(form["jobscript"])
        name = next(line.partition("=")[2] for line in script.splitlines() if line.startswith("#SBATCH --job-name="))
        self.scripts[number] = script
        self.jobs[number] = {"jobid": number, "user": USER, "status": "Q", "name": name, "hostname": ""}
        return self._answer({"status": "OK", "error": "", "jobid": number})

    async def job(self, request: Request) -> Response:
        early = self._before(request)
        if early is not None:
            return early
        job = self.jobs.get(request.path_params["number"])
        if job is None:
            return self._answer({"status": "ERROR", "error": "Job not found"}, status=404, error="Job not found")
        if request.method == "DELETE":
            job["status"] = "CA"
            return self._answer({"status": "OK", "error": ""})
        return self._answer(job)

    async def file(self, request: Request) -> Response:
        body = await request.body()
        early = self._before(request)
        if early is not None:
            return early
        path = Path(request.path_params["path"])
        try:
            if request.method == "PUT":
                path.write_bytes(body[: len(body) // 2] if self._befalls("cut_uploads") else body)
                return self._answer({"location": str(path)})
            if request.method == "DELETE":
                path.unlink()
                return self._answer({"status": "OK", "error": ""})
            wanted = {"view": "read"} if self.version == 1 else {"download": "1"}
            if dict(request.query_params) != wanted:
                return self._answer([self._entry(each) for each in sorted(path.iterdir())])
            with path.open("rb") as file:
                half = file.read(path.stat().st_size // 2 if self.fault.cut_downloads else 0)
        except OSError as error:
            status = {2: 404, 13: 403, 1: 403}.get(error.errno or 0, 500)
            return self._answer({"status": "ERROR", "error": error.strerror}, status=status, error=str(error.strerror))
        if self._befalls("error_pages"):
            return HTMLResponse(ERROR_PAGE)
        if self._befalls("cut_downloads"):
            return Response(half, media_type="application/octet-stream")
        return FileResponse(path, media_type="application/octet-stream")

    def _before(self, request: Request) -> Response | None:
        """Return what answers a request in the place of its own answer."""
        self.requests.append(f"{request.method} {request.url.path}")
        if self._befalls("expire"):
            self.sessions.clear()
        if self._befalls("busy"):
            return HTMLResponse(ERROR_PAGE, 429, headers={"Retry-After": self.fault.retry_after})
        if self._befalls("bad_gateway"):
            return HTMLResponse(ERROR_PAGE, 502)
        if request.cookies.get("newt_sessionid") in self.sessions:
            return None
        if self.version == 1:
            return JSONResponse({"status": "ERROR", "error": "not authenticated"}, 401)
        return self._answer({"login_url": "/api/auth"}, status=403, error="Not logged in")

    def _befalls(self, fault: str) -> bool:
        left = getattr(self.fault, fault)
        if left:
            setattr(self.fault, fault, left - 1)
        return bool(left)

    def _answer(self, output: Any, *, status: int = 200, error: str = "") -> Response:
        if self.version == 1:
            return JSONResponse(output, status)
        word = "ERROR" if status >= 400 else "OK"
        return JSONResponse({"status": word, "status_code": status, "output": output, "error": error}, status)

    @staticmethod
    def _entry(path: Path) -> dict[str, str]:
        found = path.lstat()
        return {
            "perms": "-rw-------",
            "hardlinks": str(found.st_nlink),
            "user": USER,
            "group": USER,
            "size": str(found.st_size),
            "date": "Jan 1 00:00",
            "name": path.name,
            "symlink": "",
        }
