"""Finds, downloads and builds wheels on this machine for another machine's Python, with pip."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sremote.errors import HostUnreachable, NotInstalled
from sremote.requirements import Line
from sremote.target import Target

Say = Callable[[str], None]
"""Is told what is going on, one line each."""

# pip takes the version, ABI and platforms of another Python, but judges markers by the one that runs it:
# https://github.com/pypa/pip/issues/11664
_PIP_FOR_TARGET = """
import json, sys
environment = json.loads(sys.argv.pop(1))
from pip._vendor.packaging import markers
markers.default_environment = lambda: dict(environment)
from pip._internal.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
_NO_WHEEL = re.compile(r"No matching distribution found for ([A-Za-z0-9._-]+)(\S*)")
_NO_NETWORK = re.compile(r"after connection broken by|NewConnectionError|NameResolutionError|Max retries exceeded")
_BUILDS_AT_MOST = 20
"""Packages without a wheel that one download may need."""


def download(
    lines: Sequence[Line],
    target: Target,
    folder: Path,
    *,
    options: Sequence[str] = (),
    constraints: Sequence[str] = (),
    wheels: Sequence[Path] = (),
    say: Say = lambda _: None,
) -> None:
    """Put the wheels for ``lines``, ``wheels`` and all that they depend on into ``folder``.

    A package that has no wheel is built here from its source; that serves where it
    is pure Python.  Raises NotInstalled where something cannot be had for
    ``target``, HostUnreachable where no index can be reached from here.
    """
    with tempfile.TemporaryDirectory(prefix="sremote-") as name:
        work = Path(name)
        wanted = work / "requirements.txt"
        wanted.write_text("\n".join([*options, *(line.text for line in lines), *map(str, wheels)]) + "\n")
        limits = work / "constraints.txt"
        limits.write_text("\n".join(constraints) + "\n")
        built = work / "built"
        built.mkdir()
        arguments = ["--only-binary=:all:", *_restrictions(target), "--find-links", str(built)]
        arguments += ["-d", str(folder), "-r", str(wanted), "-c", str(limits)]
        tried: set[str] = set()
        while True:
            status, output = run_pip(["download", *arguments], target=target, say=say)
            if status == 0:
                return
            missing = _NO_WHEEL.search(output)
            if not missing or missing[1] in tried or len(tried) == _BUILDS_AT_MOST or _NO_NETWORK.search(output):
                raise failure(output, f"for Python {target.minor} on {target.platforms[-1]}", "this machine")
            tried.add(missing[1])
            if not _build_missing(missing[1] + missing[2], target, built, options, say):
                raise failure(output, f"for Python {target.minor} on {target.platforms[-1]}", "this machine")


def _build_missing(requirement: str, target: Target, folder: Path, options: Sequence[str], say: Say) -> bool:
    """Build the wheel of a package that the index has as source only; say whether that was possible."""
    with tempfile.TemporaryDirectory(prefix="sremote-") as work:
        wanted = Path(work, "requirements.txt")
        wanted.write_text("\n".join([*options, requirement]) + "\n")
        found = Path(work, "found")
        arguments = ["--no-deps", "--no-binary=:all:", *_restrictions(target), "-d", str(found), "-r", str(wanted)]
        if run_pip(["download", *arguments], target=target, say=say)[0] != 0:
            return False
        for sdist in found.iterdir():
            wheel = build_wheel(str(sdist), folder, f"from {sdist.name}", say=say)
            if not target.fits(wheel.name):
                raise NotInstalled(
                    f"{requirement} has no wheel for Python {target.minor} on {target.platforms[-1]}, "
                    "and what is built here fits this machine only",
                    "Choose a version that has one, or install where the host reaches an index and has a compiler.",
                )
    return True


def build_wheel(what: str, folder: Path, purpose: str, *, say: Say = lambda _: None) -> Path:
    """Build a wheel of ``what`` (as pip takes it: a path, ``git+URL@COMMIT``) into ``folder``, and return it.

    Builds are isolated, as pip's are.  Raises NotInstalled with the build's last
    words; ``purpose`` stands in its message.
    """
    with tempfile.TemporaryDirectory(prefix="sremote-", dir=folder) as work:
        status, output = run_pip(["wheel", "--no-deps", "-w", work, what], say=say)
        if status != 0:
            raise failure(output, purpose, "this machine")
        (wheel,) = Path(work).glob("*.whl")
        return wheel.rename(folder / wheel.name)


def run_pip(arguments: Sequence[str], *, target: Target | None = None, say: Say = lambda _: None) -> tuple[int, str]:
    """Run this machine's pip, with the markers of ``target``; return its exit status and all that it said."""
    program = ["-m", "pip"] if target is None else ["-c", _PIP_FOR_TARGET, json.dumps(dict(target.markers))]
    process = subprocess.Popen(
        [sys.executable, "-I", *program, *arguments, "--disable-pip-version-check", "--no-input", "--retries", "2"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"PIP_REQUIRE_VIRTUALENV": "0", "GIT_TERMINAL_PROMPT": "0", "NO_COLOR": "1"},
    )
    assert process.stdout is not None
    said = []
    with process:
        for line in process.stdout:
            said.append(line)
            if line.startswith(("Collecting ", "Building wheel", "  Downloading ")):
                say(line.strip())
    return process.returncode, "".join(said)


def failure(output: str, purpose: str, where: str) -> NotInstalled | HostUnreachable:
    """Return the error that pip's output tells of: one sentence with pip's last meaningful line."""
    if _NO_NETWORK.search(output) and "(from versions: none)" in output:
        return HostUnreachable(
            f"no package index can be reached from {where}",
            "Check its network and proxy (https_proxy), or name another index with PIP_INDEX_URL.",
        )
    return NotInstalled(f"not installed {purpose}: {last_words(output)}")


def last_words(output: str) -> str:
    """Return the line of pip's output that says best why it failed."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    for start in ("ERROR: Cannot install", "ERROR: No matching distribution", "ERROR: Could not install packages"):
        for line in lines:
            if line.startswith(start):
                return line.removeprefix("ERROR: ")
    quoted = _quoted(lines)
    if quoted:
        return quoted
    errors = [line for line in lines if re.match(r"(?i)error: ", line) and "subprocess-exited" not in line]
    return re.sub(r"(?i)^error: ", "", errors[-1]) if errors else (lines or ["pip gave no reason"])[-1]


def _quoted(lines: Iterable[str]) -> str:
    """Return the last line that a build said, which pip quotes before ``[end of output]``."""
    before = ""
    for line in lines:
        if line.strip() == "[end of output]":
            return before
        before = line.strip().lstrip("│╰─> ")
    return ""


def _restrictions(target: Target) -> list[str]:
    arguments = ["--python-version", target.full_version, "--implementation", target.implementation]
    arguments += ["--abi", target.abi]
    for platform in target.platforms:
        arguments += ["--platform", platform]
    return arguments
