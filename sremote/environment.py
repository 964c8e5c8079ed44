"""An environment of a host as the client sees it: what stands there, and how a change is sent."""

from __future__ import annotations

import json
import posixpath
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from sremote.errors import HostError, HostFull, PermissionRefused, SremoteError
from sremote.host import Host
from sremote.wheels import Say, failure

TIMEOUT = 180.0
"""Seconds that a look at a host's environment may take; a loaded login node is slow."""


@dataclass(frozen=True)
class State:
    """What ``interpreter/inspection.py`` found on a host."""

    python: Mapping[str, Any]
    """Facts about the host's Python, as ``target_of`` takes them."""
    exists: bool
    generation: str | None
    """The folder that the environment links to; None where there is none, or it is not sremote's."""
    works: bool
    """Whether the environment's Python starts and is what it was."""
    record: Mapping[str, Any]
    """What was noted when it was last changed; empty where that is missing or damaged."""
    installed: Mapping[str, str]
    """Versions by distribution."""
    no_index: str | None
    """Why the host reaches no package index; None where it does, or was not asked."""
    closed: Sequence[str]
    """Folders above the root and its Python that other users may not pass through."""


class Environment:
    """One environment of a host, by name."""

    def __init__(self, host: Host, name: str) -> None:
        self.host = host
        self.name = name

    @property
    def place(self) -> str:
        """Its folder on the host, absolute."""
        return posixpath.join(self.host.probe().root, "env", self.name)

    def inspect(self, *, index: bool = False) -> State:
        """Look at what is there; with ``index`` also whether the host reaches a package index."""
        root = self.host.probe().root
        question = "yes" if index else "no"
        done = self.host.run_python(_source("inspection.py"), root, self.name, question, timeout=TIMEOUT)
        answer = self._answer(done.stdout, done.stderr, "look at the environment")
        found = answer["environment"] or {}
        return State(
            python=answer["python"],
            exists=bool(found),
            generation=found.get("generation"),
            works=found.get("works", False),
            record=found.get("record") or {},
            installed=found.get("installed", {}),
            no_index=(answer["index"] or {}).get("failure"),
            closed=answer["closed"],
        )

    def change(self, plan: Mapping[str, Any], files: Mapping[str, bytes | Path], say: Say) -> None:
        """Send ``files`` and a plan as ``interpreter/installation.py`` describes it, and wait for its end.

        Raises NotInstalled or HostUnreachable with pip's last words, HostFull,
        PermissionRefused or HostError; the environment is then as it was.
        """
        output = _Output(say)
        with tempfile.TemporaryFile() as bundle:
            with zipfile.ZipFile(bundle, "w") as archive:
                archive.writestr("plan.json", json.dumps(plan))
                for name, content in files.items():
                    if isinstance(content, Path):
                        archive.write(content, name)
                    else:
                        archive.writestr(name, content)
            say(f"sending {bundle.tell() / 1e6:.1f} MB")
            bundle.seek(0)
            probe = self.host.probe()
            command = [probe.python, "-c", _source("installation.py"), probe.root, self.name]
            self.host.execute(command, stdin=bundle, output=output.take)
        answer = self._answer(bytes(output.stdout), bytes(output.stderr), "change the environment")
        if answer["error"] is not None:
            raise self._refusal(str(answer["error"]), str(answer["message"]), str(answer["output"]))

    def _answer(self, stdout: bytes, stderr: bytes, purpose: str) -> dict[str, Any]:
        try:
            answer = json.loads(stdout.decode("utf-8", "replace").rstrip().rpartition("\n")[2])
            assert isinstance(answer, dict)
        except (ValueError, AssertionError):
            lines = stderr.decode("utf-8", "replace").strip().splitlines() or ["it ended without an answer"]
            raise HostError(
                f"{self.host.where}: cannot {purpose}: {lines[-1]}", f"Try: sremote doctor {self.host.name}"
            ) from None
        return answer

    def _refusal(self, kind: str, message: str, output: str) -> SremoteError:
        name = self.host.name
        if kind == "pip":
            return failure(output, f"on {name}", name)
        if kind == "full":
            return HostFull(
                f"{name}: no space is left for {self.place}; it is as it was",
                f"Make room there, or choose another folder with --root: sremote facts {name}",
            )
        if kind == "permission":
            return PermissionRefused(f"{name}: {message}", "Choose another folder with --root.")
        remedy = "Run it again." if kind == "changed" else f"Try: sremote doctor {name}"
        return HostError(f"{name}: {message}", remedy)


class _Output:
    """Keeps what a command prints and passes on its lines of progress."""

    def __init__(self, say: Say) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._say = say
        self._seen = 0

    def take(self, stream: str, data: bytes) -> None:
        (self.stdout if stream == "stdout" else self.stderr).extend(data)
        while (end := self.stdout.find(b"\n", self._seen)) >= 0:
            line = self.stdout[self._seen : end].decode("utf-8", "replace")
            self._seen = end + 1
            if line.startswith("progress: "):
                self._say(line.removeprefix("progress: "))


def _source(name: str) -> str:
    return (resources.files("sremote.interpreter") / name).read_text(encoding="utf-8")
