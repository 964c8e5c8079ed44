"""The helpers that a configuration file finds in ``util``."""

from __future__ import annotations

import os
from types import SimpleNamespace


def recursive_files_dict(src_path: str, dest_path: str) -> dict[str, str]:
    """Return all files below the folder ``src_path``, each with its place below ``dest_path``.

    This is what ``Component.files`` wants; "." as ``dest_path`` stands for base_dir.
    Raises FileNotFoundError where there is no such folder.
    """
    found = {}

    def fail(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(src_path, onerror=fail):
        folders.sort()
        for name in sorted(names):
            path = f"{folder.rstrip('/')}/{name}"
            found[path] = f"{dest_path.rstrip('/')}/{os.path.relpath(path, src_path)}"
    return found


util = SimpleNamespace(recursive_files_dict=recursive_files_dict)
