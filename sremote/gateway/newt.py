"""The routes of NEWT 1 and 2.0 for this machine, and what the gateway has beyond them.

Beyond NEWT: exit statuses, files with checksums and ranges below ``/sremote/files``, and
commands with open streams at ``/sremote/run``.
"""

from __future__ import annotations

import asyncio
import errno
import getpass
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from sremote.connectors.newt_files import FILES, MODE, digest_field, sha256_in
from sremote.connectors.newt_stream import PATH as RUN
from sremote.gateway.access import Access, Session, TooManyTries
from sremote.gateway.commands import run_line
from sremote.gateway.files import CHUNK, Files, OpenFile
from sremote.gateway.guard import read_form
from sremote.gateway.queue import Queue
from sremote.gateway.settings import Settings
from sremote.gateway.streams import serve_command

COOKIE = "newt_sessionid"
READING = ("GET", "HEAD")
DEFAULT_MODE = 0o600
_STATUSES = {
    errno.ENOENT: 404,
    errno.EACCES: 403,
    errno.EPERM: 403,
    errno.EROFS: 403,
    errno.ENOSPC: 507,
    errno.EDQUOT: 507,
    errno.EBADMSG: 422,
    errno.ENAMETOOLONG: 400,
    errno.EINVAL: 400,
}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class _AnyPath(Convertor[str]):
    """The rest of a path, with whatever is in it: ``path`` stops at a newline."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("bytes", _AnyPath())

Handler = Callable[[Request], Awaitable[Response]]


class NewtRoutes:
    """Answers to programs, in both dialects."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._settings = settings
        self._access = access
        self._files = Files(settings.allowed, settings.home)
        self._queue = Queue()

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        found: list[BaseRoute] = [
            Route(FILES, self._in(1, self._own_files), methods=["GET", "PUT", "DELETE"]),
            WebSocketRoute(RUN, self._run),
        ]
        dialects = ((1, "", ["/login", "/login/", "/auth"], "/queue"), (2, "/api", ["/api/auth"], "/api/job"))
        for version, prefix, login, queue in dialects:
            for path in login:
                found.append(Route(path, self._open(version, self._login), methods=["GET", "POST", "DELETE"]))
            found += [
                Route(f"{prefix}/status", self._open(version, self._status)),
                Route(f"{prefix}/status/motd", self._open(version, self._motd)),
                Route(f"{prefix}/status/{{machine}}", self._open(version, self._status)),
                Route(f"{prefix}/command/{{machine}}", self._in(version, self._command), methods=["POST"]),
                *self._queue_routes(version, queue),
                Route(
                    f"{prefix}/file/{{machine}}{{path:bytes}}",
                    self._in(version, self._file),
                    methods=["GET", "PUT", "POST", "DELETE"],
                ),
            ]
        return [Route("/logout", self._open(1, self._logout)), *found]

    def _queue_routes(self, version: int, path: str) -> list[BaseRoute]:
        """Return the routes of the queue; clients write them with a slash at the end and without."""
        jobs, job = self._in(version, self._jobs), self._in(version, self._job)
        return [
            route
            for end in ("", "/")
            for route in (
                Route(f"{path}/{{machine}}{end}", jobs, methods=["GET", "POST"]),
                Route(f"{path}/{{machine}}/{{number}}{end}", job, methods=["GET", "DELETE"]),
            )
        ]

    # --- sessions

    def session(self, request: Request | WebSocket) -> Session | None:
        """Return the session that a program's request belongs to."""
        return self._access.session(request.cookies.get(COOKIE), request.scope["client_address"], "api")

    async def _login(self, request: Request) -> Answer:
        if request.method == "DELETE":
            return await self._logout(request)
        if request.method in READING:
            return Answer(self._about(self.session(request), ""))
        form = await read_form(request, self._settings.body_timeout)
        try:
            found = self._access.sign_in(form.get("password", ""), request.scope["client_address"], "api")
        except TooManyTries as error:
            wait = {"Retry-After": str(int(error.wait) + 1)}
            raise HTTPException(429, "too many sign-ins were refused: wait", headers=wait) from None
        if found is None:
            return Answer(self._about(None, ""))
        name, session = found
        cookie = (COOKIE, name, int(self._settings.session_lifetime))
        return Answer(self._about(session, name), cookie=cookie)

    async def _logout(self, request: Request) -> Answer:
        self._access.sign_out(request.cookies.get(COOKIE))
        return Answer({"auth": False}, cookie=(COOKIE, "", 0))

    def _about(self, session: Session | None, name: str) -> dict[str, Any]:
        """Return what NEWT says of a session, and what the gateway offers to those who have one."""
        offers: dict[str, Any] = {"otp": self._access.wants_code}
        if session is not None:
            offers.update(files=True, commands=self._settings.commands, stream=self._settings.commands)
        return {
            "auth": session is not None,
            "username": getpass.getuser() if session is not None else None,
            "session_lifetime": int(self._settings.session_lifetime) if session is not None else 0,
            COOKIE: name or None,
            "sremote": {**offers, "machine": self._settings.machine},
        }

    # --- the machine

    async def _status(self, request: Request) -> Answer:
        machine = request.path_params.get("machine")
        entry = {"system": self._settings.machine, "status": "up"}
        if machine is None:
            return Answer([entry])
        self._require_machine(machine)
        return Answer(entry)

    async def _motd(self, request: Request) -> Answer:
        return Answer("")

    async def _command(self, request: Request) -> Answer:
        self._require_commands(request)
        form = await read_form(request, self._settings.body_timeout)
        line = form.get("executable") or form.get("command")
        if not line:
            raise HTTPException(400, "there is no command: the field 'executable', or 'command' in NEWT 2.0")
        done = await run_line(
            line,
            login=form.get("loginenv") == "true",
            home=str(self._settings.home),
            timeout=self._settings.command_timeout,
            receive=request.receive,
        )
        error = done.stderr.decode("utf-8", "replace")
        if done.problem:
            error += f"sremote gateway: {done.problem}\n"
        output = {"output": done.stdout.decode("utf-8", "replace"), "error": error, "retcode": done.status}
        return Answer(output, failed=bool(done.status or done.problem))

    async def _jobs(self, request: Request) -> Answer:
        self._require_commands(request)
        if request.method in READING:
            query = request.query_params
            found = await self._queue.list(user=query.get("user"), queue=query.get("queue"))
            start = int(query.get("index", "0")) if query.get("index", "0").isdigit() else 0
            limit = int(query["limit"]) if query.get("limit", "").isdigit() else None
            return Answer(found[start:][:limit])
        form = await read_form(request, self._settings.body_timeout)
        script = form.get("jobscript")
        if script is None and "jobfile" in form:
            with self._files.reading(form["jobfile"]) as file:
                script = os.fsdecode(await run_in_threadpool(os.pread, file.descriptor, CHUNK, 0))
        if not script:
            raise HTTPException(400, "there is no script: the field 'jobscript' or 'jobfile'")
        return Answer({"jobid": await self._queue.submit(script)})

    async def _job(self, request: Request) -> Answer:
        self._require_commands(request)
        number = request.path_params["number"]
        if request.method in READING:
            return Answer(await self._queue.get(number), bare=True)
        await self._queue.cancel(number)
        return Answer({})

    async def _run(self, socket: WebSocket) -> None:
        if self.session(socket) is None:
            await socket.send_denial_response(JSONResponse({"status": "ERROR", "error": "not signed in"}, 401))
            return
        if not self._settings.commands:
            await socket.send_denial_response(JSONResponse({"status": "ERROR", "error": "no commands here"}, 404))
            return
        await socket.accept()
        await serve_command(socket, str(self._settings.home))

    def _require_machine(self, name: str) -> None:
        if name != self._settings.machine:
            raise HTTPException(404, f"there is no machine of that name: this is {self._settings.machine}")

    def _require_commands(self, request: Request) -> None:
        self._require_machine(request.path_params["machine"])
        if not self._settings.commands:
            raise HTTPException(403, "this gateway runs no commands: it was started with --no-commands")

    # --- files

    async def _file(self, request: Request) -> Answer | Response:
        self._require_machine(request.path_params["machine"])
        # Not path_params: what is not UTF-8 is lost there.
        raw = request.scope["raw_path"].partition(b"?")[0]
        machine = raw.split(b"/file/", 1)[1]
        path = os.fsdecode(unquote_to_bytes(machine[machine.index(b"/") :] if b"/" in machine else b"/"))
        if request.method in READING:
            query = request.query_params
            if query.get("view") == "read" or query.get("download") in ("1", "true"):
                return await self._read(request, path)
            return Answer(await run_in_threadpool(self._files.list, path))
        if request.method == "POST":
            return await self._post(request, path)
        if request.method == "DELETE":
            return await self._delete(path)
        return await self._write(path, request.stream(), request)

    async def _own_files(self, request: Request) -> Answer | Response:
        query = request.scope["query_string"].decode("latin-1")
        found = dict(parse_qsl(query, keep_blank_values=True, encoding="utf-8", errors="surrogateescape"))
        if "path" not in found:
            raise HTTPException(400, "the query names no path")
        if request.method in READING:
            return await self._read(request, found["path"])
        if request.method == "DELETE":
            return await self._delete(found["path"])
        return await self._write(found["path"], request.stream(), request)

    async def _read(self, request: Request, path: str) -> Response:
        opened = self._files.reading(path)
        file = await run_in_threadpool(opened.__enter__)
        try:
            headers = {"ETag": file.tag, "Accept-Ranges": "bytes", "Content-Disposition": "attachment"}
            if "sha-256" in request.headers.get("want-repr-digest", ""):
                headers["Repr-Digest"] = digest_field(await run_in_threadpool(file.sha256))
            start, size = _part(request, file)
        except BaseException:
            opened.__exit__(None, None, None)
            raise
        headers["Content-Length"] = str(size)
        status = 200
        if (start, size) != (0, file.size):
            status = 206
            headers["Content-Range"] = f"bytes {start}-{start + size - 1}/{file.size}"

        async def pieces() -> AsyncIterator[bytes]:
            place, end = start, start + size
            try:
                while place < end:
                    data = await run_in_threadpool(os.pread, file.descriptor, min(CHUNK, end - place), place)
                    if not data:
                        return  # it was cut meanwhile: the answer ends short of its length, which the client sees
                    place += len(data)
                    yield data
            finally:
                opened.__exit__(None, None, None)

        if request.method == "HEAD":
            opened.__exit__(None, None, None)
            return Response(status_code=status, headers=headers, media_type="application/octet-stream")
        return StreamingResponse(pieces(), status, headers, media_type="application/octet-stream")

    async def _write(self, path: str, pieces: AsyncIterator[bytes], request: Request) -> Answer:
        mode = _mode(request.headers.get(MODE))
        digest = request.headers.get("repr-digest")
        wanted = sha256_in(digest) if digest else None
        if digest and wanted is None:
            raise HTTPException(400, "Repr-Digest holds no SHA-256")
        writing = self._files.writing(path, mode)
        writer = await run_in_threadpool(writing.__enter__)
        try:
            held = bytearray()
            async for piece in pieces:
                held += piece
                if len(held) >= CHUNK:
                    await run_in_threadpool(writer.write, held)
                    held = bytearray()
            await run_in_threadpool(writer.write, held)
            await run_in_threadpool(writer.finish, wanted)
        finally:
            await asyncio.shield(run_in_threadpool(writing.__exit__, None, None, None))
        return Answer({"location": path.encode("utf-8", "replace").decode()})

    async def _post(self, request: Request, folder: str) -> Answer:
        """Write the file of a form, as browsers send one, into a folder."""
        async with request.form(max_files=1, max_fields=8) as form:
            file = form.get("file")
            if file is None or isinstance(file, str) or not file.filename or "/" in file.filename:
                raise HTTPException(400, "the form has no field 'file' with a file's name")

            async def pieces() -> AsyncIterator[bytes]:
                while data := await file.read(CHUNK):
                    yield data

            return await self._write(f"{folder.rstrip('/')}/{file.filename}", pieces(), request)

    async def _delete(self, path: str) -> Answer:
        await run_in_threadpool(self._files.delete, path)
        return Answer({})

    # --- dialects

    def _in(self, version: int, handle: Callable[[Request], Awaitable[Answer | Response]]) -> Handler:
        """Return a handler that needs a session."""

        async def with_session(request: Request) -> Response:
            if self.session(request) is None:
                if version == 2:
                    return _reply(version, Answer({"login_url": "/api/auth"}, status=403, error="not signed in"))
                return _reply(version, Answer({}, status=401, error="not signed in"))
            return await opened(request)

        opened = self._open(version, handle)
        return with_session

    def _open(self, version: int, handle: Callable[[Request], Awaitable[Answer | Response]]) -> Handler:
        async def handled(request: Request) -> Response:
            try:
                answer = await handle(request)
            except HTTPException as error:
                answer = Answer({}, status=error.status_code, error=error.detail, headers=error.headers)
            except OSError as error:
                words = error.strerror or type(error).__name__
                answer = Answer({}, status=_STATUSES.get(error.errno or 0, 409), error=words)
            if isinstance(answer, Response):
                return answer
            response = _reply(version, answer)
            if answer.cookie is not None:
                name, value, age = answer.cookie
                response.set_cookie(
                    name,
                    value,
                    max_age=age,
                    path=self._settings.prefix or "/",
                    secure=self._settings.secure,
                    httponly=True,
                    samesite="strict",
                )
            return response

        return handled


class Answer:
    """What a handler has to say, before a dialect puts it into words."""

    def __init__(
        self,
        output: Any,
        *,
        status: int = 200,
        error: str = "",
        failed: bool = False,
        cookie: tuple[str, str, int] | None = None,
        headers: Any = None,
        bare: bool = False,
    ) -> None:
        self.output = output
        self.status = status
        self.error = error
        self.failed = failed or status >= 400
        self.cookie = cookie
        self.headers = headers
        self.bare = bare
        """Whether NEWT 1 has no status and error beside it."""


def _reply(version: int, answer: Answer) -> Response:
    word = "ERROR" if answer.failed else "OK"
    output = answer.output
    if version == 2:
        content: Any = {
            "status": "ERROR" if answer.status >= 400 else "OK",
            "status_code": answer.status,
            "output": output,
            "error": answer.error,
        }
    elif isinstance(output, dict) and "auth" not in output and not answer.bare:
        content = {"status": word, "error": answer.error, **output}
    else:
        content = output
    return JSONResponse(content, answer.status, answer.headers)


def _mode(text: str | None) -> int:
    if text is None:
        return DEFAULT_MODE
    if not re.fullmatch(r"[0-7]{1,4}", text):
        raise HTTPException(400, f"{MODE} is to be permission bits in octal")
    return int(text, 8)


def _part(request: Request, file: OpenFile) -> tuple[int, int]:
    """Return where to begin and how many bytes to send: one range, or all.  Raises HTTPException 416."""
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if match is None or request.headers.get("if-range", file.tag) != file.tag or not any(match.groups()):
        return 0, file.size
    first, last = match.groups()
    if not first:
        start, end = max(0, file.size - int(last)), file.size
    else:
        start, end = int(first), min(int(last) + 1, file.size) if last else file.size
    if start >= end:
        raise HTTPException(416, "there is nothing in that range", headers={"Content-Range": f"bytes */{file.size}"})
    return start, end - start
