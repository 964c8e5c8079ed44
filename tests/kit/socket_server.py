"""``sremote serve`` on a loopback port, as a user runs it."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sremote
from sremote.connectors.address import parse_address
from sremote.connectors.socket import SocketConnector
from sremote.interpreter import __file__ as interpreter_file
from sremote.socket_keys import generate_key
from tests.kit.tools import make_tools

_PROGRAM = """
import sys
from sremote.cli import main
from sremote.interpreter import socket_server
socket_server.HANDSHAKE_TIMEOUT = float(sys.argv.pop(1))
sys.exit(main())
"""


class SocketServer:
    """One server, from ``__enter__`` to ``__exit__``, with a home of its own for commands.

    With ``python``, that Python alone serves, from a folder that has the far side's
    files only; so commands find it as ``python3`` too.
    """

    def __init__(
        self,
        folder: Path,
        *,
        listen: str = "127.0.0.1:0",
        tls: bool = True,
        options: Sequence[str] = (),
        python: Path | None = None,
        handshake_timeout: float = 10.0,
        measured: bool = True,
    ) -> None:
        """``measured`` counts its code as covered, which leaves a file for each connection."""
        folder.mkdir(parents=True)
        self.key_file = folder / "secret.key"
        self.home = folder / "home"
        self.home.mkdir()
        self.tls = tls
        self.log = folder / "log"
        self.fingerprint = generate_key(self.key_file).fingerprint
        kept = {name: text for name, text in os.environ.items() if measured or not name.startswith("COVERAGE")}
        self._environment = {**kept, "HOME": str(self.home), "PYTHONUNBUFFERED": "1"}
        if python is None:
            self._command = [sys.executable, "-c", _PROGRAM, str(handshake_timeout), "serve", "--json"]
            self._command += ["--key", str(self.key_file), "--listen", listen]
            self._command += [*options, *([] if tls else ["--no-tls"])]
        else:
            self._environment["PATH"] = str(make_tools(folder / "bin", python=python))
            script = Path(interpreter_file).with_name("interpreter.sh")
            self._command = ["sh", str(script), "--listen", str(self.key_file), listen]
        self._python = python

    def __enter__(self) -> Self:
        self._log_file = self.log.open("wb")
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.home
        )
        assert self._process.stdout
        assert self._process.stderr
        if self._python is None:
            said = self._process.stdout.readline()
            if not said:
                raise RuntimeError(f"the server does not start: {self._process.stderr.read().decode()}")
            self.addresses: list[str] = json.loads(said)["listening"]
        else:
            said = self._process.stderr.readline()
            self.addresses = [said.decode().split("listening on ")[1].split(",")[0]]
        self._reader = threading.Thread(target=self._keep_log)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._reader.join()
        assert self._process.stdout
        assert self._process.stderr
        self._process.stdout.close()
        self._process.stderr.close()
        self._log_file.close()

    @property
    def pid(self) -> int:
        """The process that listens."""
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.addresses[0].rpartition(":")[2])

    @property
    def address(self) -> str:
        return f"socket://{self.addresses[0]}"

    @property
    def options(self) -> dict[str, Any]:
        """What a connector needs."""
        return {"key_file": str(self.key_file), **({} if self.tls else {"tls": False})}

    def connector(self, port: int | None = None, **options: Any) -> SocketConnector:
        """Return an unconnected connector, through another ``port`` where one is given."""
        address = self.address if port is None else f"socket://127.0.0.1:{port}"
        return SocketConnector(parse_address(address), **{**self.options, **options})

    def client(self, **options: Any) -> sremote.Client:
        """Return a client."""
        return sremote.connect(self.address, **{**self.options, **options})

    def _keep_log(self) -> None:
        assert self._process.stderr
        while data := self._process.stderr.read1(1 << 16):  # type: ignore[attr-defined]
            self._log_file.write(data)
            self._log_file.flush()
