"""A facility behind an HTTP gateway: this machine's files, jobs as real processes, and faults that are switched on."""

import json
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.kit.oauth import TokenEndpoint


@dataclass
class Fault:
    """What goes wrong with requests whose method and path match ``which``, the next ``times`` times."""

    which: str
    status: int = 0
    """The status that comes instead of the answer; 0 cuts the answer's body."""
    after: bool = False
    """Whether the request is carried out all the same."""
    times: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "made to fail"


@dataclass
class HostJob:
    """A job: a process, or one that is to come."""

    number: str
    name: str
    folder: str
    spec: Any = None
    process: "subprocess.Popen[bytes] | None" = None
    cancelled: bool = False

    @property
    def status(self) -> int | None:
        return None if self.process is None else self.process.poll()


class FacilityHost:
    """Runs jobs and remembers what was asked; its home is the HOME of the moment."""

    def __init__(self) -> None:
        self.tokens = TokenEndpoint()
        self.tokens.secrets["robot"] = "s3cret"
        self.jobs: dict[str, HostJob] = {}
        self.faults: list[Fault] = []
        self.seen: list[str] = []
        self.unlisted = False
        """Whether new jobs are missing from lists."""
        self.unknown_for = 0
        """For so many questions a job is not known."""
        self._numbers = iter(range(1001, 10**9))
        self._lock = threading.Lock()

    @property
    def home(self) -> Path:
        return Path(os.environ["HOME"]).resolve()

    def run(self, argv: list[str], name: str, folder: str, output: str, spec: Any = None) -> HostJob:
        """Start a job's process."""
        job = HostJob(str(next(self._numbers)), name, folder, spec)
        with open(output or os.devnull, "ab") as file:
            job.process = subprocess.Popen(
                argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        self.jobs[job.number] = job
        return job

    def run_script(self, text: str, name: str, folder: str, output: str = "") -> HostJob:
        with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as file:
            file.write(text)
        return self.run(["/bin/sh", file.name], name, folder, output)

    def known(self, number: str) -> HostJob | None:
        """Return a job, unless it is not known yet."""
        if self.unknown_for > 0:
            self.unknown_for -= 1
            return None
        return self.jobs.get(number)

    def listed(self, name: str | None = None) -> list[HostJob]:
        jobs = [] if self.unlisted else list(self.jobs.values())
        return [job for job in jobs if name is None or job.name == name]

    def cancel(self, number: str) -> None:
        job = self.jobs[number]
        if job.status is None and job.process is not None:
            job.cancelled = True
            os.killpg(job.process.pid, 15)
            job.process.wait()

    def stop(self) -> None:
        """End what still runs."""
        for number in list(self.jobs):
            self.cancel(number)


class WithFaults:
    """An application that signs requests in, makes those fail that ``host.faults`` name, and notes them all."""

    def __init__(self, application: Any, host: FacilityHost, error: Any, public: str) -> None:
        self.application = application
        self.host = host
        self.error = error
        self.public = re.compile(public)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope)
        path = f"{request.method} {request.url.path}"
        fault = next((fault for fault in self.host.faults if fault.times > 0 and re.search(fault.which, path)), None)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not self.public.search(path):
            self.host.seen.append(path)
            if not self.host.tokens.knows(token):
                await self.error(401, "the token is not valid")(scope, receive, send)
                return
        if fault is None:
            await self.application(scope, receive, send)
            return
        fault.times -= 1
        answer: Response = self.error(fault.status or 500, fault.message)
        answer.headers.update(fault.headers)
        if fault.after or not fault.status:
            messages = []

            async def keep(message: Any) -> None:
                messages.append(message)

            await self.application(scope, receive, keep)
            if not fault.status:
                body = b"".join(message.get("body", b"") for message in messages)
                headers = [(name, value) for name, value in messages[0].get("headers", []) if name != b"content-length"]
                await send({**messages[0], "headers": [*headers, (b"content-length", b"%d" % max(1, len(body)))]})
                await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": False})
                return
        await answer(scope, receive, send)


def command(*argv: str) -> tuple[int, str, str]:
    """Run a command and return its status, output and errors."""
    done = subprocess.run(argv, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"}, timeout=60)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def answer(body: Any, status: int = 200) -> Response:
    return JSONResponse(body, status)


def as_json(value: Any) -> str:
    return json.dumps(value)
