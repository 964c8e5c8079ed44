"""A loopback IRI Facility API, versions 1 and 2, with one compute resource and one file system."""

import base64
import hashlib
import json
import os
import shutil
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from tests.kit.facility_host import FacilityHost, HostJob, WithFaults, answer, command

_VERBS_1 = {"chmod": "PUT", "mkdir": "POST", "mv": "POST", "upload": "POST"}


def error(status: int, message: str) -> Response:
    body = {"type": "about:blank", "status": status, "title": "failed", "detail": message, "instance": "/"}
    return JSONResponse(body, status, media_type="application/problem+json")


class IriServer:
    """``application`` serves it below ``/api/v1`` and ``/api/v2``, and tokens at ``/token``."""

    def __init__(self) -> None:
        self.host = FacilityHost()
        self.limit = 6 << 20
        self.missing: set[str] = set()
        """Operations that this facility does not offer."""
        self.keys: dict[str, tuple[str, Any]] | None = {}
        """The answers under their Idempotency-Keys, with the bodies; None where none are kept."""
        self.tasks: list[dict[str, Any]] = []
        self.slow = 0
        self.halved = 0
        """So many of the next uploads arrive in part, though the answer is that of success."""

        def routes(version: int) -> list[Route]:
            async def operate(request: Request) -> Response:
                return await self.operate(request, version)

            return [
                Route("/status/resources", self.resources),
                Route("/task", self.list_tasks),
                Route("/task/{task}", self.task),
                Route(
                    "/filesystem/{operation}/{resource}", operate, methods=["GET", "POST", "PUT", "DELETE"]
                ),
                Route("/compute/job/{resource}", self.submit, methods=["POST"]),
                Route("/compute/status/{resource}/{job}", self.job),
                Route("/compute/status/{resource}", self.list_jobs, methods=["POST"]),
                Route("/compute/cancel/{resource}/{job}", self.cancel, methods=["DELETE"]),
            ]  # fmt: skip

        plain = Starlette(
            routes=[
                Mount("/api/v1", routes=routes(1)),
                Mount("/api/v2", routes=routes(2)),
                Route("/token", self.host.tokens.answer, methods=["POST"]),
            ]
        )
        self.application = WithFaults(plain, self.host, error, r"/token$|/status/resources$")

    def resources(self, request: Request) -> Response:
        found = [
            {"id": "c-1", "name": "perlmutter", "current_status": "up", "resource_type": "compute"},
            {"id": "f-1", "name": "scratch", "current_status": "up", "resource_type": "storage"},
        ]
        start = int(request.query_params.get("offset", 0))
        return answer(found[start : start + int(request.query_params.get("limit", 100))])

    def list_tasks(self, _: Request) -> Response:
        return answer(self.tasks[-1:])

    def task(self, request: Request) -> Response:
        task = self.tasks[int(request.path_params["task"])]
        if self.slow > 0:
            self.slow -= 1
            return answer({"id": task["id"], "status": "active", "result": None})
        return answer(task)

    async def operate(self, request: Request, version: int) -> Response:
        operation = request.path_params["operation"]
        wanted = "POST" if version == 2 else _VERBS_1.get(operation, "GET")
        if request.method != wanted:
            return error(405, f"{operation} is {wanted} in version {version}")
        if request.path_params["resource"] != "f-1":
            return error(404, "Resource not found")
        if operation in self.missing:
            return error(501, "Not implemented")
        arguments: dict[str, Any] = dict(request.query_params)
        if operation == "upload":
            async with request.form() as form:
                arguments["content"] = await form["file"].read()  # type: ignore[union-attr]
            if len(arguments["content"]) > self.limit:
                return error(413, "File to upload is too large.")
        elif request.method in ("POST", "PUT"):
            arguments = await request.json()
        return answer(self._task(operation, arguments), 201 if operation in ("mkdir", "mv") else 200)

    async def submit(self, request: Request) -> Response:
        spec = await request.json()
        key, text = request.headers.get("idempotency-key"), json.dumps(spec, sort_keys=True)
        unknown = spec.keys() - {
            *("executable", "arguments", "directory", "name", "inherit_environment", "environment", "stdin_path"),
            *("stdout_path", "stderr_path", "resources", "attributes", "pre_launch", "post_launch", "launcher"),
        }
        if unknown:
            return error(422, f"extra fields: {unknown}")
        if key is not None and self.keys is None:
            return error(501, "Idempotency-Key is not supported here")
        if key is not None and self.keys is not None and key in self.keys:
            body, earlier = self.keys[key]
            return answer(earlier) if body == text else error(422, "Idempotency-Key reused with a different body")
        if spec["attributes"].get("account") == "nobody":
            return error(400, "Invalid account")
        job = self.host.run(
            [spec["executable"], *spec["arguments"]], spec["name"], spec["directory"], spec["stdout_path"], spec
        )
        told = {"id": job.number, "status": {"state": "queued"}}
        if key is not None and self.keys is not None:
            self.keys[key] = text, told
        return answer(told)

    def job(self, request: Request) -> Response:
        job = self.host.known(request.path_params["job"])
        return error(404, "Job not found") if job is None else answer(_entry(job))

    async def list_jobs(self, request: Request) -> Response:
        filters = await request.json()
        return answer([_entry(job) for job in self.host.listed(filters.get("name"))])

    def cancel(self, request: Request) -> Response:
        job = self.host.jobs.get(request.path_params["job"])
        if job is None or job.status is not None:
            return error(400, "Unable to cancel job: it has ended")
        self.host.cancel(job.number)
        return Response(status_code=204)

    def _task(self, operation: str, arguments: dict[str, Any]) -> dict[str, str]:
        number = str(len(self.tasks))
        try:
            output = getattr(self, f"_{operation}")(**arguments)
            task = {"id": number, "status": "completed", "result": {"output": output}}
        except OSError as failure:
            task = {"id": number, "status": "failed", "result": {"error": f"{operation}: {failure.strerror}"}}
        self.tasks.append(task)
        return {"task_id": number, "task_uri": f"/task/{number}"}

    def _upload(self, path: str, content: bytes) -> None:
        if self.halved > 0:
            self.halved -= 1
            content = content[: len(content) // 2]
        with open(path, "wb") as file:
            file.write(content)

    def _download(self, path: str) -> str:
        with open(path, "rb") as file:
            return base64.b64encode(file.read()).decode()

    def _checksum(self, path: str) -> dict[str, str]:
        with open(path, "rb") as file:
            return {"algorithm": "SHA-256", "checksum": hashlib.file_digest(file, "sha256").hexdigest()}

    def _chmod(self, path: str, mode: str) -> dict[str, str]:
        os.chmod(path, int(mode, 8))
        return {"name": path}

    def _mkdir(self, path: str, parent: bool) -> dict[str, str]:
        os.makedirs(path, exist_ok=True) if parent else os.mkdir(path)
        return {"name": path}

    def _stat(self, path: str, dereference: Any) -> dict[str, int]:
        return {"mode": os.stat(path).st_mode, "size": os.stat(path).st_size}

    def _mv(self, path: str, target_path: str) -> dict[str, str]:
        status, _, said = command("mv", "--", path, target_path)
        if status:
            raise OSError(1, said.strip().rpartition(": ")[2])
        return {"name": target_path}

    def _rm(self, path: str) -> None:
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def _entry(job: HostJob) -> dict[str, Any]:
    status = job.status
    state = "active" if status is None else "completed" if status == 0 else "failed"
    if job.cancelled:
        state = "canceled"
    return {"id": job.number, "status": {"state": state, "exit_code": status}, "job_spec": job.spec}
