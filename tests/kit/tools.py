"""A folder of programs that is a test host's whole PATH: the machine's own, and one chosen Python."""

import os
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

SYSTEM_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")
PYTHON_TOOLS = ("python*", "pypy*", "pip*", "virtualenv*", "uv", "uvx", "conda", "mamba")


def make_tools(folder: Path, *, python: Path | None, missing: Iterable[str] = ()) -> Path:
    """Fill ``folder`` with links to the system's programs, without its Pythons and those in ``missing``.

    ``python`` is there as ``python3`` and ``python3.N``; None makes a host without any Python.
    ``missing`` are names or patterns, such as ``git*``.
    """
    folder.mkdir(parents=True)
    unwanted = (*PYTHON_TOOLS, *missing)
    for system in SYSTEM_FOLDERS:
        if not os.path.isdir(system):
            continue
        for name in os.listdir(system):
            link = folder / name
            if not any(fnmatch(name, pattern) for pattern in unwanted) and not link.is_symlink():
                link.symlink_to(os.path.join(system, name))
    if python is not None:
        real = python.resolve()
        names = {"python3", real.name} if real.name.startswith("python3.") else {"python3"}
        for name in names:
            (folder / name).symlink_to(real)
    return folder
