"""A loopback Superfacility API, version 1.2, for one machine; connectors/sfapi.py says where its shape is from."""

import base64
import json
import re
import subprocess
import threading
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from tests.kit.facility_host import FacilityHost, HostJob, WithFaults, answer


class SfapiServer:
    """``application`` serves it below ``/api/v1.2``, and tokens at ``/token``."""

    def __init__(self) -> None:
        self.host = FacilityHost()
        self.limit = 2 << 20
        """Bytes of a file that goes or comes at once."""
        self.tasks: dict[str, dict[str, Any]] = {}
        self.slow = 0
        """For so many questions a task that has its result already is not said to be completed."""
        self._lock = threading.Lock()
        routes = [
            Route("/status/{machine}", self.status),
            Route("/utilities/command/{machine}", self.command, methods=["POST"]),
            Route("/utilities/download/{machine}/{path:path}", self.download),
            Route("/utilities/upload/{machine}/{path:path}", self.upload, methods=["PUT"]),
            Route("/tasks/{task}", self.task),
            Route("/compute/jobs/{machine}", self.submit, methods=["POST"]),
            Route("/compute/jobs/{machine}", self.jobs),
            Route("/compute/jobs/{machine}/{job}", self.cancel, methods=["DELETE"]),
        ]
        plain = Starlette(
            routes=[
                Mount("/api/v1.2", routes=routes),
                Route("/token", self.host.tokens.answer, methods=["POST"]),
            ]
        )
        self.application = WithFaults(
            plain, self.host, lambda status, text: answer({"detail": text}, status), r"/token$"
        )

    def status(self, request: Request) -> Response:
        return answer({"name": request.path_params["machine"], "status": "active", "description": "System Active"})

    async def command(self, request: Request) -> Response:
        line = str((await request.form())["executable"])
        return answer({"task_id": self._start(lambda: self._run(line)), "status": "OK", "error": None})

    def task(self, request: Request) -> Response:
        task = self.tasks.get(request.path_params["task"])
        if task is None:
            return answer({"detail": "Task not found"}, 404)
        if task["result"] is not None and self.slow > 0:
            self.slow -= 1
            return answer({"id": task["id"], "status": "new", "result": json.dumps({"output": "half"})})
        return answer(task)

    def download(self, request: Request) -> Response:
        path = "/" + request.path_params["path"]
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            return answer({"status": "ERROR", "error": f"cat: {path}: {error.strerror}", "file": None})
        if len(content) > self.limit:
            return answer({"status": "ERROR", "error": "File too large", "file": None})
        binary = request.query_params.get("binary") == "true"
        text = base64.b64encode(content).decode() if binary else content.decode("utf-8", "replace")
        return answer({"status": "OK", "file": text, "is_binary": binary, "error": None})

    async def upload(self, request: Request) -> Response:
        path = "/" + request.path_params["path"]
        async with request.form() as form:
            content = await form["file"].read()  # type: ignore[union-attr]
        if len(content) > self.limit:
            return answer({"detail": "File too large"}, 413)
        try:
            with open(path, "wb") as file:
                file.write(content)
        except OSError as error:
            return answer({"status": "ERROR", "error": f"{path}: {error.strerror}"})
        return answer({"status": "OK", "error": None})

    async def submit(self, request: Request) -> Response:
        form = await request.form()
        text = str(form["job"])
        assert form["isPath"] == "false"
        return answer({"task_id": self._start(lambda: self._submit(text)), "status": "OK", "error": None})

    def jobs(self, request: Request) -> Response:
        kind, _, value = request.query_params["kwargs"].partition("=")
        assert request.query_params["cached"] == "false"
        if kind == "name":
            found = self.host.listed(value)
        else:
            found = [job for number in value.split(",") if (job := self.host.known(number)) is not None]
        return answer({"status": "OK", "output": [_entry(job) for job in found], "error": None})

    def cancel(self, request: Request) -> Response:
        number = request.path_params["job"]
        if number not in self.host.jobs:
            return answer({"detail": "Job not found"}, 404)
        self.host.cancel(number)
        return answer({"status": "OK", "output": None, "error": None})

    def _start(self, work: Any) -> str:
        with self._lock:
            number = str(len(self.tasks) + 1)
            self.tasks[number] = {"id": number, "status": "new", "result": None}

        def finish() -> None:
            result = work()
            self.tasks[number].update(status="completed", result=json.dumps(result))

        threading.Thread(target=finish, daemon=True).start()
        return number

    def _run(self, line: str) -> dict[str, Any]:
        done = subprocess.run(
            ["/bin/sh", "-c", line], capture_output=True, check=False, stdin=subprocess.DEVNULL, cwd=self.host.home
        )
        output, error = (data.decode("utf-8", "replace") for data in (done.stdout, done.stderr))
        return {"status": "ok", "output": output, "error": error}

    def _submit(self, text: str) -> dict[str, Any]:
        options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", text, re.MULTILINE))
        if options.get("account") == "nobody":
            return {"status": "error", "jobid": None, "error": "sbatch: error: Invalid account"}
        job = self.host.run_script(text, options["job-name"], options["chdir"])
        return {"status": "ok", "jobid": job.number, "error": None}


def _entry(job: HostJob) -> dict[str, Any]:
    status = job.status
    state = "RUNNING" if status is None else "COMPLETED" if status == 0 else "FAILED"
    if job.cancelled:
        state = "CANCELLED by 1000"
    return {
        "jobid": job.number,
        "jobname": job.name,
        "state": state,
        "exitcode": f"{status or 0}:0",
        "reason": "None",
        "nodelist": "nid001",
    }
