"""A loopback FirecREST, version 2, for one system, with a store for large files."""

import hashlib
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from tests.kit.facility_host import FacilityHost, HostJob, WithFaults, answer, command


def error(status: int, message: str) -> Response:
    kind = "validation" if status == 400 else "error"
    return answer({"errorType": kind, "message": message, "causedBy": None, "data": None, "user": "me"}, status)


class FirecrestServer:
    """``application`` serves it below ``/f7t``, tokens at ``/token`` and the store at ``/store``."""

    def __init__(self) -> None:
        self.host = FacilityHost()
        self.limit = 2 << 20
        """Bytes of a file that goes or comes at once."""
        self.tells_limit = True
        self.halved = 0
        """So many of the next uploads arrive in part, though the answer is that of success."""
        self.part_size = 1 << 20
        self.url = ""
        self.staged: dict[str, dict[str, Any]] = {}
        ops, transfer, jobs = "/filesystem/{system}/ops", "/filesystem/{system}/transfer", "/compute/{system}/jobs"
        routes = [
            Route("/status/systems", self.systems),
            Route("/status/{system}/userinfo", self.userinfo),
            Route(f"{ops}/upload", self.upload, methods=["POST"]),
            Route(f"{ops}/download", self.download),
            Route(f"{ops}/chmod", self.chmod, methods=["PUT"]),
            Route(f"{ops}/mkdir", self.mkdir, methods=["POST"]),
            Route(f"{ops}/checksum", self.checksum),
            Route(f"{transfer}/upload", self.stage_upload, methods=["POST"]),
            Route(f"{transfer}/download", self.stage_download, methods=["POST"]),
            Route(jobs, self.submit, methods=["POST"]),
            Route(jobs, self.list_jobs),
            Route(f"{jobs}/{{job}}", self.job),
            Route(f"{jobs}/{{job}}", self.cancel, methods=["DELETE"]),
        ]
        plain = Starlette(
            routes=[
                Mount("/f7t", routes=routes),
                Route("/token", self.host.tokens.answer, methods=["POST"]),
                Route("/store/{key}/{part}", self.store_part, methods=["PUT", "POST"]),
                Route("/store/{key}", self.store_read),
            ]
        )
        self.application = WithFaults(plain, self.host, error, r"/token$| /store/")

    def systems(self, _: Request) -> Response:
        system = {
            "name": "daint",
            "fileSystems": [
                {"path": "/scratch", "dataType": "scratch", "defaultWorkDir": False},
                {"path": str(self.host.home.parent), "dataType": "users", "defaultWorkDir": True},
            ],
            "dataOperation": {"maxOpsFileSize": self.limit} if self.tells_limit else {},
        }
        return answer({"systems": [system]})

    def userinfo(self, _: Request) -> Response:
        me = {"id": "1000", "name": self.host.home.name}
        return answer({"user": me, "group": me, "groups": [me]})

    async def upload(self, request: Request) -> Response:
        async with request.form() as form:
            content = await form["file"].read()  # type: ignore[union-attr]
            name = form["file"].filename  # type: ignore[union-attr]
        if len(content) + 33 > self.limit:  # the gateway measures with sys.getsizeof
            return error(413, "Uploaded file is too large.")
        place = f"{request.query_params['path']}/{name}"
        try:
            if self.halved > 0:
                self.halved -= 1
                content = content[: len(content) // 2]
            with open(place, "wb") as target:
                target.write(content)
        except OSError as failure:
            return _failed(1, f"sh: {place}: {failure.strerror}")
        return Response(status_code=204)

    def download(self, request: Request) -> Response:
        path = request.query_params["path"]
        try:
            if os.path.getsize(path) > self.limit and os.path.isfile(path):
                return error(413, "File to download is too large.")
            with open(path, "rb") as file:
                return Response(file.read(), media_type="application/octet-stream")
        except OSError as failure:
            return _failed(1, f"base64: {path}: {failure.strerror}")

    async def chmod(self, request: Request) -> Response:
        body = await request.json()
        return _done(command("chmod", body["mode"], "--", body["path"]), {"name": body["path"]})

    async def mkdir(self, request: Request) -> Response:
        body = await request.json()
        return _done(command("mkdir", *(["-p"] if body["parent"] else []), "--", body["path"]), {}, 201)

    def checksum(self, request: Request) -> Response:
        path = request.query_params["path"]
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as failure:
            return _failed(1, f"sha256sum: {path}: {failure.strerror}")
        return answer({"output": {"algorithm": "SHA-256", "checksum": digest}})

    async def stage_upload(self, request: Request) -> Response:
        body = await request.json()
        size, key = int(body["transferDirectives"]["fileSize"]), secrets.token_hex(16)
        parts = -(-size // self.part_size)
        job = self._stage(key, f"{body['path']}/{body['fileName']}")
        directives = {
            "transferMethod": "s3",
            "partsUploadUrls": [f"{self.url}/store/{key}/{number}?signature=x" for number in range(1, parts + 1)],
            "completeUploadUrl": f"{self.url}/store/{key}/complete?signature=x",
            "maxPartSize": self.part_size,
        }
        return answer({"transferJob": _transfer(job), "transferDirectives": directives}, 201)

    async def stage_download(self, request: Request) -> Response:
        path = (await request.json())["path"]
        key = secrets.token_hex(16)
        job = self._stage(key, path)
        place = self.staged[key]["file"]
        job.process = self.host.run(["cp", "--", path, place], "EgressFileTransfer", "/", "").process
        directives = {"transferMethod": "s3", "downloadUrl": f"{self.url}/store/{key}?signature=x"}
        return answer({"transferJob": _transfer(job), "transferDirectives": directives}, 201)

    async def store_part(self, request: Request) -> Response:
        assert "authorization" not in request.headers, "a token went to the store"
        staged = self.staged[request.path_params["key"]]
        body = await request.body()
        if request.path_params["part"] != "complete":
            number = int(request.path_params["part"])
            staged["parts"][number] = body
            return Response(headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
        for number, content in staged["parts"].items():
            assert f'<PartNumber>{number}</PartNumber><ETag>"{hashlib.md5(content).hexdigest()}"' in body.decode()
        Path(staged["file"]).write_bytes(b"".join(staged["parts"][number] for number in sorted(staged["parts"])))
        job = self.host.run(["cp", "--", staged["file"], staged["place"]], "IngressFileTransfer", "/", "")
        staged["job"].process = job.process
        return Response("<CompleteMultipartUploadResult/>", media_type="application/xml")

    def store_read(self, request: Request) -> Response:
        assert "authorization" not in request.headers, "a token went to the store"
        return Response(Path(self.staged[request.path_params["key"]]["file"]).read_bytes())

    async def submit(self, request: Request) -> Response:
        job = (await request.json())["job"]
        if job.get("account") == "nobody":
            return error(500, "sbatch: error: Batch job submission failed: Invalid account")
        started = self.host.run_script(job["script"], job["name"], job["workingDirectory"], job["standardOutput"])
        return answer({"jobId": int(started.number)}, 201)

    def list_jobs(self, request: Request) -> Response:
        return answer({"jobs": [_entry(job) for job in self.host.listed(request.query_params.get("name"))]})

    def job(self, request: Request) -> Response:
        job = self.host.known(request.path_params["job"])
        return error(404, "Job not found.") if job is None else answer({"jobs": [_entry(job)]})

    def cancel(self, request: Request) -> Response:
        if request.path_params["job"] not in self.host.jobs:
            return error(404, "Job not found")
        self.host.cancel(request.path_params["job"])
        return Response(status_code=204)

    def _stage(self, key: str, place: str) -> HostJob:
        handle, file = tempfile.mkstemp(prefix="store-")
        os.close(handle)
        job = HostJob(str(next(self.host._numbers)), "FileTransfer", "/")
        self.host.jobs[job.number] = job
        self.staged[key] = {"file": file, "place": place, "parts": {}, "job": job}
        return job


def _transfer(job: HostJob) -> dict[str, Any]:
    logs = {"outputLog": "/tmp/out.log", "errorLog": "/tmp/error.log"}
    return {"jobId": int(job.number), "system": "daint", "workingDirectory": "/", "logs": logs}


def _entry(job: HostJob) -> dict[str, Any]:
    status = job.status
    state = "RUNNING" if status is None else "COMPLETED" if status == 0 else "FAILED"
    code = None if status is None else max(0, status)
    words = {"state": "CANCELLED" if job.cancelled else state, "stateReason": "None", "exitCode": code}
    return {"jobId": job.number, "name": job.name, "status": words, "nodes": "nid001", "workingDirectory": job.folder}


def _done(done: tuple[int, str, str], output: Any, status: int = 200) -> Response:
    return answer({"output": output}, status) if done[0] == 0 else _failed(done[0], done[2])


def _failed(status: int, said: str) -> Response:
    code = 404 if "No such file" in said else 403 if "Permission denied" in said else 500
    return error(code, f"Remote process failed with exit status:{status} and error message:{said.strip()}")


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)
