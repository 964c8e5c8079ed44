"""A far side without a line: requests and responses are files, run by ``interpreter.sh`` on one of the Pythons."""

import itertools
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sremote.interpreter
from sremote.interpreter.values import encode
from sremote.interpreter.wire import Message, parse
from sremote.response import Response

DATA = Path(__file__).parents[1] / "data"
SCRIPT = Path(sremote.interpreter.__file__).with_name("interpreter.sh")
TIMEOUT = 60.0
"""Seconds after which something hangs."""


class FarSide:
    """One Python, and a folder for the requests that it is given."""

    def __init__(self, python: Path, folder: Path, script: Path = SCRIPT) -> None:
        self.python = python
        self.folder = folder
        self.script = script
        self.environment = {**os.environ, "SREMOTE_PYTHON": str(python), "PYTHONPATH": str(DATA)}
        self._numbers = itertools.count()

    def request(
        self,
        target: Mapping[str, Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        allowed: Sequence[str] = (),
        **header: Any,
    ) -> Message:
        """Return a request with an id of its own."""
        message = Message(
            {
                "format": 1,
                "kind": "request",
                "id": f"job-{next(self._numbers)}",
                "target": target,
                "allow": list(allowed),
                **header,
            }
        )
        encode(message, "value", (list(args), dict(kwargs or {})), allowed)
        return message

    def perform(self, request: Message | bytes, *, types: Mapping[str, type] | None = None) -> Response:
        """Have ``interpreter.sh REQUEST RESPONSE`` run a request, and read the response."""
        content = request if isinstance(request, bytes) else request.to_bytes()
        number = next(self._numbers)
        source, response = self.folder / f"request-{number}", self.folder / f"response-{number}"
        source.write_bytes(content)
        done = self.execute(source, response)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        return read_response(response, types)

    def call(self, module: str, function: str, *args: Any, **kwargs: Any) -> Response:
        """Call a function by name."""
        return self.perform(self.request(by_name(module, function), args, kwargs))

    def do(self, function: str, *args: Any, **header: Any) -> Response:
        """Call a function of tests/data/deeds.py; ``header`` adds to the request's header."""
        return self.perform(self.request(by_name("deeds", function), args, **header))

    def run(self, *argv: str, stdin: bytes | None = None, **header: Any) -> Response:
        """Run a command."""
        request = self.request({"kind": "command"}, argv, **header)
        if stdin is not None:
            request.add("stdin", stdin)
        return self.perform(request)

    def execute(self, *arguments: object, **options: Any) -> "subprocess.CompletedProcess[bytes]":
        """Run ``interpreter.sh`` with these arguments."""
        return subprocess.run(
            ["sh", self.script, *map(str, arguments)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            **options,
        )

    def put(self, request: Message) -> Path:
        """Put a request where ``--job`` takes it from, and return the job's directory."""
        directory = self.folder / str(request.header["id"])
        incoming = Path(f"{directory}.new")
        incoming.mkdir()
        (incoming / "request").write_bytes(request.to_bytes())
        return directory

    def start(self, directory: Path) -> "subprocess.Popen[bytes]":
        """Start ``interpreter.sh --job`` and go on; its process is the job's supervisor."""
        return subprocess.Popen(
            ["sh", self.script, "--job", directory],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def response(self, directory: Path) -> Response:
        """Read the response that a job directory holds."""
        return read_response(directory / "response")


def read_response(path: Path, types: Mapping[str, type] | None = None) -> Response:
    """Read a response file, whatever its id."""
    content = path.read_bytes()
    return Response.read("farhost", parse(content).header["id"], content, types or {}, trust=False)


def by_name(module: str, function: str) -> dict[str, str]:
    """Return the target of a call by name."""
    return {"kind": "name", "module": module, "function": function}


def wait_for(condition: Callable[[], Any], timeout: float = TIMEOUT) -> Any:
    """Return what ``condition`` returns once that is true; fails where it never is."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


def is_running(pid: int) -> bool:
    """Say whether a process lives; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
