"""A host as sremote sees it: its folder, its Python, and the interpreter that was pushed there."""

from __future__ import annotations

import dataclasses
import logging
import posixpath
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import join, quote
from typing import Any, BinaryIO

from sremote.bundle import interpreter_bundle, interpreter_digest, interpreter_files
from sremote.connectors.base import Completed, Connector, OutputSink
from sremote.errors import (
    FormatError,
    HostError,
    HostFull,
    NotInstalled,
    PermissionRefused,
    PythonMissing,
    SremoteError,
)

log = logging.getLogger("sremote")

DEFAULT_ROOT = ".sremote"
"""sremote's folder on a host, relative to the home directory."""
DEFAULT_ENVIRONMENT = "default"
"""The environment that ``install`` makes and calls use where none is named."""

# A preamble may define what only a login bash has, as `module` of environment modules.
# What a profile or the preamble prints goes to stderr, and they get no input.
_AFTER_PREAMBLE = (
    "exec 3<&0 4>&1 </dev/null >&2; "
    'if command -v bash >/dev/null 2>&1; then exec bash -l -c "$@"; else exec sh -l -c "$@"; fi'
)
EXIT_PREAMBLE = 97
"""What a command ends with where the preamble failed."""

EXIT_NO_ROOT = 96
EXIT_NO_ENVIRONMENT = 98
EXIT_NO_PYTHON = 99
"""What ``interpreter.sh`` ends with, for ``--serve`` and ``--unpacked``, where it cannot start."""
EXITS_BEFORE_START = (EXIT_NO_ROOT, EXIT_PREAMBLE, EXIT_NO_ENVIRONMENT, EXIT_NO_PYTHON)

_UNPACK = """
import io, os, shutil, sys, tempfile, zipfile
bundle, target = sys.argv[1:]
beside = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(target))
try:
    with zipfile.ZipFile(bundle) as archive:
        zipfile.ZipFile(io.BytesIO(archive.read("files.zip"))).extractall(beside)
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
    interpreter: str
    """The folder of this client's interpreter there, absolute."""
    has_interpreter: bool
    """Whether it has been pushed."""
    environment: str | None
    """The installed environment that ``python`` belongs to."""

    @classmethod
    def from_hello(cls, found: Mapping[str, Any]) -> Probe:
        """Return what the interpreter's greeting says (docs/formats.md).  Raises FormatError where it is not one."""
        try:
            major, minor, micro = found["version"]
            texts = {
                name: str(found[name])
                for name in ("home", "root", "interpreter", "python", "implementation", "platform", "hostname")
            }
            return cls(
                **texts, version=(major, minor, micro), has_interpreter=True, environment=found["environment"] or None
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"the interpreter's greeting is damaged: {error}") from None


class Host:
    """What the client keeps on a host, and how it gets there.

    ``name`` is how messages call it (default: as the connector does).
    ``root`` is sremote's folder, ``python`` a Python to use instead of looking for
    one, ``environment`` an installed one to use (default: ``default`` where it is
    there; "" for none), ``preamble`` a shell line to run before every command,
    ``shared`` the folder of an installation that several users share, ``temporary``
    and ``working`` the folders for calls' temporary files and to start in,
    ``preload`` modules for it to import before the calls of a connection.
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
        shared: str | None = None,
        temporary: str | None = None,
        working: str | None = None,
        preload: Sequence[str] = (),
    ) -> None:
        self.connector = connector
        self.name = name or connector.name
        self.root = (root or DEFAULT_ROOT).removeprefix("~/")
        self.python = python
        self.environment = environment
        self.preamble = preamble
        self.shared = shared
        self.temporary = temporary
        self.working = working
        self.preload = preload
        self._probe: Probe | None = None
        self._ensured: set[str] = set()

    @property
    def where(self) -> str:
        """The host's name at the beginning of a message."""
        return self.name.rstrip(":")

    @property
    def wanted_environment(self) -> tuple[str, str]:
        """The environment that calls use, and "required" where it has to be there."""
        if self.python is not None:
            return "", ""
        if self.environment is None:
            return DEFAULT_ENVIRONMENT, ""
        return self.environment, "required" if self.environment else ""

    def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | BinaryIO = b"",
        output: OutputSink | None = None,
        timeout: float | None = None,
        login: bool = False,
    ) -> Completed:
        """Run a command after the preamble, with ``login`` in a login shell; as ``Connector.execute`` otherwise."""
        return self.connector.execute(self.command(argv, login=login), stdin=stdin, output=output, timeout=timeout)

    def command(self, argv: Sequence[str], *, login: bool = False) -> list[str]:
        """Return the command that runs the preamble, then ``argv``; a preamble, and ``login``, mean a login shell."""
        if not self.preamble and not login:
            return list(argv)
        # No positional parameters: a script that is sourced would take them for its own.
        script = f"eval {quote(self.preamble or ':')} || exit {EXIT_PREAMBLE}; exec {join(argv)} <&3 3<&- >&4 4>&-"
        return ["sh", "-c", _AFTER_PREAMBLE, "sh", script]

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
        environment, _ = self.wanted_environment
        shared = self.shared or ""
        arguments = ["--probe", marker, self.root, shared, interpreter_digest(), environment]
        answer = self.execute(
            ["env", f"SREMOTE_PYTHON={self.python or ''}", "sh", "-c", script, "interpreter.sh", *arguments],
            timeout=120,
        )
        text = answer.stdout.decode("utf-8", "surrogateescape")
        if text.count(f"\n{marker}\n") < 2 and not text.endswith(f"{marker}\n"):
            raise self.failure_to_start(answer, "no answer from a shell there")
        found = dict(line.split("=", 1) for line in text.split(f"\n{marker}\n")[1].splitlines() if "=" in line)
        if self.environment and "environment" not in found:
            raise self._no_environment(found["root"])
        if "python" not in found:
            raise self._no_python()
        major, minor, micro = (int(part) for part in found["version"].split("."))
        log.debug("%s: Python %s at %s", self.where, found["version"], found["python"])
        return Probe(
            home=found["home"],
            root=found["root"],
            python=found["python"],
            version=(major, minor, micro),
            implementation=found["implementation"],
            platform=found["platform"],
            hostname=found["hostname"],
            interpreter=found["interpreter"],
            has_interpreter="pushed" in found,
            environment=environment if "environment" in found else None,
        )

    def greet(self, probe: Probe) -> None:
        """Take what an interpreter over there says of itself for what is there."""
        self._probe = probe

    def forget(self) -> None:
        """Look anew at the next ``probe``, as something there has changed."""
        self._probe = None

    def failure_to_start(self, done: Completed, what: str = "cannot start the interpreter") -> SremoteError:
        """Return why ``interpreter.sh`` ended with a failure; ``what`` failed, in words."""
        if self.preamble and done.status == EXIT_PREAMBLE:
            return self.error(done.stderr or b"it printed nothing", f"the preamble {self.preamble!r} failed")
        if done.status == EXIT_NO_PYTHON:
            return self._no_python()
        if done.status == EXIT_NO_ENVIRONMENT:
            return self._no_environment(self.root)
        return self.error(done.stderr or f"exit status {done.status}".encode(), what)

    def same_python(self) -> bool:
        """Say whether the host's Python is of this one's minor version, so that bytecode can travel."""
        probe = self.probe()
        return probe.version[:2] == sys.version_info[:2] and probe.implementation == sys.implementation.name

    def ensure_interpreter(self) -> bool:
        """Push the interpreter where it is missing; say whether it was."""
        probe = self.probe()
        if probe.has_interpreter:
            return False
        bundle = f"{probe.interpreter}.{secrets.token_hex(4)}.zip"
        self.connector.put(interpreter_bundle(), bundle)
        self.check(self.run_python(_UNPACK, bundle, probe.interpreter), f"cannot unpack {bundle}")
        self._probe = dataclasses.replace(probe, has_interpreter=True)
        log.info("%s: pushed the interpreter to %s", self.where, probe.interpreter)
        return True

    def run_python(
        self, source: str, *arguments: str, stdin: bytes | BinaryIO = b"", timeout: float | None = None
    ) -> Completed:
        """Run standard-library Python source there, as ``python -c SOURCE ARGUMENTS...``."""
        return self.execute([self.probe().python, "-c", source, *arguments], stdin=stdin, timeout=timeout)

    def run_interpreter(self, *arguments: str, timeout: float | None = None) -> Completed:
        """Run the pushed ``interpreter.sh`` with ``arguments``."""
        python = f"SREMOTE_PYTHON={self.probe().python}"
        script = posixpath.join(self.probe().interpreter, "interpreter.sh")
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
        raise self.error(done.stderr or f"exit status {done.status}".encode(), what)

    def error(self, message: bytes, what: str = "") -> HostError:
        """Return the error that a Python program there tells of in the last line of ``message``."""
        last = message.decode("utf-8", "replace").strip().rpartition("\n")[2]
        kind: type[HostError] = HostError
        if "[Errno 28]" in last or "[Errno 122]" in last:  # ENOSPC, EDQUOT
            kind = HostFull
        elif "[Errno 13]" in last or "[Errno 30]" in last or "[Errno 1]" in last:  # EACCES, EROFS, EPERM
            kind = PermissionRefused
        said = ": ".join(part for part in (self.where, what, last) if part)
        return kind(said, f"See what is wrong with: sremote doctor {self.name}")

    def _no_python(self) -> PythonMissing:
        looked = self.python or "python3, python3.x and python on PATH"
        return PythonMissing(
            f"{self.where}: no Python 3.6 or newer there; looked for {looked}",
            "Name one with python=..., or load one with preamble='module load python'.",
        )

    def _no_environment(self, root: str) -> NotInstalled:
        return NotInstalled(
            f"{self.where}: there is no environment {self.environment!r} in {root}",
            f"Make it: sremote install {self.name} --environment {self.environment}",
        )
