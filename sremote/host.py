"""A host as sremote sees it: its folder, its Python, and the interpreter that was pushed there."""

from __future__ import annotations

import logging
import posixpath
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from sremote.bundle import interpreter_bundle, interpreter_digest, interpreter_files
from sremote.connectors.base import Completed, Connector, OutputSink
from sremote.errors import HostError, HostFull, NotInstalled, PermissionRefused, PythonMissing

log = logging.getLogger("sremote")

DEFAULT_ROOT = ".sremote"
"""sremote's folder on a host, relative to the home directory."""
DEFAULT_ENVIRONMENT = "default"
"""The environment that ``install`` makes and calls use where none is named."""

# A preamble may define what only a login bash has, as `module` of environment modules.
_AFTER_PREAMBLE = 'if command -v bash >/dev/null 2>&1; then exec bash -l -c "$@"; else exec sh -l -c "$@"; fi'

_UNPACK = """
import os, shutil, sys, tempfile, zipfile
bundle, target = sys.argv[1:]
beside = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(target))
try:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(beside)
    os.chmod(beside, 0o755)
    try:
        os.rename(beside, target)
    except OSError:
        if not os.path.isdir(target):
            raise
finally:
    shutil.rmtree(beside, ignore_errors=True)
    os.unlink(bundle)
"""


@dataclass(frozen=True)
class Probe:
    """What one look at a host found."""

    home: str
    root: str
    """sremote's folder there, absolute."""
    python: str
    """The Python that calls will use, absolute."""
    version: tuple[int, int, int]
    implementation: str
    """``sys.implementation.name``: cpython, pypy."""
    platform: str
    """As ``platform.platform()`` says."""
    hostname: str
    has_interpreter: bool
    """Whether this client's interpreter is there."""
    environment: str | None
    """The installed environment that ``python`` belongs to."""


class Host:
    """What the client keeps on a host, and how it gets there.

    ``name`` is how messages call it (default: as the connector does).
    ``root`` is sremote's folder, ``python`` a Python to use instead of looking for
    one, ``environment`` an installed one to use (default: ``default`` where it is
    there; "" for none), ``preamble`` a shell line to run before every command.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        name: str | None = None,
        root: str | None = None,
        python: str | None = None,
        environment: str | None = None,
        preamble: str | None = None,
    ) -> None:
        self.connector = connector
        self.name = name or connector.name
        self.root = root or DEFAULT_ROOT
        self.python = python
        self.environment = environment
        self.preamble = preamble
        self._probe: Probe | None = None
        self._ensured: set[str] = set()

    def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | BinaryIO = b"",
        output: OutputSink | None = None,
        timeout: float | None = None,
    ) -> Completed:
        """Run a command after the preamble; as ``Connector.execute`` otherwise."""
        return self.connector.execute(self.command(argv), stdin=stdin, output=output, timeout=timeout)

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs the preamble, then ``argv``; what the preamble prints goes to stderr."""
        if not self.preamble:
            return list(argv)
        script = "{ " + self.preamble + '\n} </dev/null >&2; exec "$@"'
        return ["sh", "-c", _AFTER_PREAMBLE, "sh", script, "sremote", *argv]

    def probe(self, *, again: bool = False) -> Probe:
        """Return what is there: one round trip the first time, none later unless ``again``.

        Raises PythonMissing where there is no usable Python, NotInstalled where the
        environment that was asked for is missing.
        """
        if self._probe is None or again:
            self._probe = self._look()
        return self._probe

    def _look(self) -> Probe:
        marker = "sremote-" + secrets.token_hex(8)
        script = interpreter_files()["interpreter.sh"].decode()
        environment = "" if self.python else DEFAULT_ENVIRONMENT if self.environment is None else self.environment
        arguments = ["--probe", marker, self.root, interpreter_digest(), environment]
        answer = self.execute(
            ["env", f"SREMOTE_PYTHON={self.python or ''}", "sh", "-c", script, "interpreter.sh", *arguments],
            timeout=120,
        )
        text = answer.stdout.decode("utf-8", "surrogateescape")
        if text.count(f"\n{marker}\n") < 2 and not text.endswith(f"{marker}\n"):
            said = answer.stderr.decode("utf-8", "replace").strip() or f"exit status {answer.status}"
            raise HostError(f"{self.name}: no answer from a shell there: {said.splitlines()[-1]}")
        found = dict(line.split("=", 1) for line in text.split(f"\n{marker}\n")[1].splitlines() if "=" in line)
        if self.environment and "environment" not in found:
            raise NotInstalled(
                f"{self.name}: there is no environment {self.environment!r} in {found['root']}",
                f"Make it: sremote install {self.name} --environment {self.environment}",
            )
        if "python" not in found:
            looked = self.python or "python3, python3.x and python on PATH"
            raise PythonMissing(
                f"{self.name}: no Python 3.6 or newer there; looked for {looked}",
                "Name one with python=..., or load one with preamble='module load python'.",
            )
        major, minor, micro = (int(part) for part in found["version"].split("."))
        log.debug("%s: Python %s at %s", self.name, found["version"], found["python"])
        return Probe(
            home=found["home"],
            root=found["root"],
            python=found["python"],
            version=(major, minor, micro),
            implementation=found["implementation"],
            platform=found["platform"],
            hostname=found["hostname"],
            has_interpreter="interpreter" in found,
            environment=environment if "environment" in found else None,
        )

    def same_python(self) -> bool:
        """Say whether the host's Python is of this one's minor version, so that bytecode can travel."""
        probe = self.probe()
        return probe.version[:2] == sys.version_info[:2] and probe.implementation == sys.implementation.name

    @property
    def interpreter(self) -> str:
        """The folder of this client's interpreter on the host, absolute."""
        return posixpath.join(self.probe().root, "interpreter", interpreter_digest())

    def ensure_interpreter(self) -> bool:
        """Push the interpreter where it is missing; say whether it was."""
        if self.probe().has_interpreter:
            return False
        bundle = f"{self.interpreter}.{secrets.token_hex(4)}.zip"
        self.connector.put(interpreter_bundle(), bundle)
        self.check(self.run_python(_UNPACK, bundle, self.interpreter), f"cannot unpack {bundle}")
        self.probe(again=True)
        log.info("%s: pushed the interpreter to %s", self.name, self.interpreter)
        return True

    def run_python(
        self, source: str, *arguments: str, stdin: bytes | BinaryIO = b"", timeout: float | None = None
    ) -> Completed:
        """Run standard-library Python source there, as ``python -c SOURCE ARGUMENTS...``."""
        return self.execute([self.probe().python, "-c", source, *arguments], stdin=stdin, timeout=timeout)

    def run_interpreter(self, *arguments: str, timeout: float | None = None) -> Completed:
        """Run the pushed ``interpreter.sh`` with ``arguments``."""
        python = f"SREMOTE_PYTHON={self.probe().python}"
        script = posixpath.join(self.interpreter, "interpreter.sh")
        return self.execute(["env", python, "sh", script, *arguments], timeout=timeout)

    def ensure_file(self, name: str, content: bytes) -> str:
        """Have a file of that name and content beside the interpreters; return its path there.

        ``name`` holds a digest of the content, so that a file that is there is the right one.
        """
        path = posixpath.join(self.probe().root, "interpreter", name)
        if path not in self._ensured:
            if self.execute(["test", "-f", path]).status != 0:
                self.connector.put(content, path, mode=0o644)
            self._ensured.add(path)
        return path

    def check(self, done: Completed, what: str) -> None:
        """Raise the HostError that a Python program's failure there means; ``what`` failed, in words."""
        if done.status == 0:
            return
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {done.status}"]
        last = lines[-1]
        kind: type[HostError] = HostError
        if "[Errno 28]" in last or "[Errno 122]" in last:  # ENOSPC, EDQUOT
            kind = HostFull
        elif "[Errno 13]" in last or "[Errno 30]" in last or "[Errno 1]" in last:  # EACCES, EROFS, EPERM
            kind = PermissionRefused
        raise kind(f"{self.name}: {what}: {last}", f"See what is wrong with: sremote doctor {self.name}")
