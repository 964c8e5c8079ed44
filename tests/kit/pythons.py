"""The Python interpreters of this machine that a far side may have."""

import functools
import os
import pwd
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

MINORS = range(6, 15)


@dataclass(frozen=True)
class Python:
    """One interpreter: its name as a test's parameter shows it, and its path."""

    name: str
    minor: int
    path: Path

    def __str__(self) -> str:
        return self.name


@functools.cache
def installed_pythons() -> tuple[Python, ...]:
    """Return one CPython for each minor version from 3.6, and PyPy, on PATH and in ~/.pyenv/versions."""
    found: dict[str, Python] = {}
    for folder in sorted(_pyenv_versions().glob("*/bin")):
        if match := re.match(r"(pypy)?3\.(\d+)", folder.parent.name):
            _note(found, match[1] or "python", int(match[2]), folder / (match[1] or "python"))
    for minor in MINORS:
        for kind in ("python", "pypy"):
            on_path = shutil.which(f"{kind}3.{minor}", path=_path_without_shims())
            if on_path:
                _note(found, kind, minor, Path(on_path))
    return tuple(sorted(found.values(), key=lambda python: (python.name.startswith("pypy"), python.minor)))


def python_of(minor: int) -> Path:
    """Return CPython 3.``minor``; raises LookupError where the machine has none."""
    for python in installed_pythons():
        if python.name == f"python3.{minor}":
            return python.path
    raise LookupError(f"no python3.{minor} on PATH or in {_pyenv_versions()}")


def _note(found: dict[str, Python], kind: str, minor: int, path: Path) -> None:
    name = f"{kind}3.{minor}"
    if minor in MINORS and os.access(path, os.X_OK):
        found.setdefault(name, Python(name, minor, path))


def _pyenv_versions() -> Path:
    # The account's home, not $HOME: tests replace that.
    home = pwd.getpwuid(os.getuid()).pw_dir
    return Path(os.environ.get("PYENV_ROOT") or Path(home, ".pyenv")) / "versions"


def _path_without_shims() -> str:
    # pyenv's shims answer to every version's name and fail for those that are not selected.
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not folder.endswith("/shims"))
