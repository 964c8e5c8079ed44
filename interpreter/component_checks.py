"""Looks whether a launch can go well on this host, before anything on it is touched."""

import os
import stat
from typing import Any, Dict, List, Optional, Set

from .component_windows import multiplexer

Description = Dict[str, Any]


def look(
    wanted: str,
    components: List[Description],
    files: Dict[str, Description],
    done: Optional[str] = None,
) -> Description:
    """Return what is wrong (``problems``), and which ``multiplexer`` there is, ``wanted`` as in ``multiplexer``.

    A component has ``name``, ``executable``, ``folder`` (None for one to be made) and
    ``sent`` (whether its executable is among the files).  ``files`` are destinations:
    each with ``name`` of its component, and ``size`` and permission bits ``mode``, or
    neither for a folder.  ``done`` is a folder that has to be there, for a file for each
    component that has ended.  ``problems`` are sentences, each with its component's name.
    """
    problems: List[List[str]] = []
    for each in components:
        for problem in (_folder_problem(each, files), _executable_problem(each)):
            if problem:
                problems.append([each["name"], problem])
    places = _Places()
    for path in sorted(files):
        problem = places.problem(path, files[path])
        if problem:
            problems.append([files[path]["name"], problem])
    problems += places.space_problems()
    if done is not None and not os.access(os.path.join(os.path.expanduser("~"), os.path.expanduser(done)), os.W_OK):
        problems.append(["--remote-done-dir", "{} is not there, or cannot be written to".format(done)])
    return {"problems": problems, "multiplexer": multiplexer(wanted)}


def _folder_problem(component: Description, files: Dict[str, Description]) -> Optional[str]:
    folder = component["folder"]
    if folder is None:
        return None
    if not os.path.lexists(folder):
        if any(path.startswith(folder.rstrip("/") + "/") or path == folder for path in files):
            return None  # it is made when the files come
        return "its base_dir {} is not there, and no files go into it".format(folder)
    if not os.path.isdir(folder):
        return "its base_dir {} is not a folder".format(folder)
    if not os.access(folder, os.X_OK):
        return "its base_dir {} cannot be entered".format(folder)
    return None


def _executable_problem(component: Description) -> Optional[str]:
    path = component["executable"]
    if component["sent"] or path is None:
        return None
    if not os.path.exists(path):
        return "its executable {} is not there, and not among its files".format(path)
    if not os.path.isfile(path):
        return "its executable {} is not a file".format(path)
    if not os.access(path, os.X_OK):
        return "its executable {} has no permission to be executed: chmod +x".format(path)
    return None


class _Places:
    """Where files are to go, and whether there is room for them."""

    def __init__(self) -> None:
        self._folders: Dict[str, Optional[str]] = {}
        self._needed: Dict[int, int] = {}
        self._folder_of: Dict[int, str] = {}
        self._names: Dict[int, Set[str]] = {}

    def problem(self, path: str, file: Description) -> Optional[str]:
        """Return what stands in the way of a file or folder; None where nothing does."""
        is_folder = "size" not in file
        parent = path if is_folder else os.path.dirname(path)
        if parent not in self._folders:
            self._folders[parent] = self._folder_problem(parent)
        there = os.stat(path) if os.path.exists(path) else None
        if not is_folder and there is not None and stat.S_ISDIR(there.st_mode):
            return "{} is a folder there".format(path)
        if is_folder and there is not None:
            return None if stat.S_ISDIR(there.st_mode) else "{} is not a folder there".format(path)
        if self._folders[parent] is None and not is_folder:
            self._count(parent, file, there)
        return self._folders[parent]

    def space_problems(self) -> List[List[str]]:
        """Return for each file system with too little room whose files those are, and what is missing."""
        problems = []
        for device, needed in self._needed.items():
            found = os.statvfs(self._folder_of[device])
            free = found.f_bavail * found.f_frsize
            if needed > free:
                text = "the disk of {} is full: {} bytes are needed, {} are free".format(
                    self._folder_of[device], needed, free
                )
                problems.append([", ".join(sorted(self._names[device])), text])
        return problems

    def _count(self, parent: str, file: Description, there: Optional[os.stat_result]) -> None:
        if there is not None and there.st_size == file["size"]:
            return  # most likely the same
        folder = _nearest(parent)
        device = os.stat(folder).st_dev
        self._needed[device] = self._needed.get(device, 0) + file["size"]
        self._folder_of.setdefault(device, folder)
        self._names.setdefault(device, set()).add(file["name"])

    def _folder_problem(self, folder: str) -> Optional[str]:
        nearest = _nearest(folder)
        if not os.path.isdir(nearest):
            return "{} is not a folder there".format(nearest)
        if not os.access(nearest, os.W_OK | os.X_OK):
            return "{} cannot be written to".format(nearest)
        return None


def _nearest(path: str) -> str:
    """Return the nearest of ``path`` and the folders above it that is there."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path
