"""Makes the folders that a file is to stand in, where a gateway makes one at a time."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Callable

from sremote.connectors.errors import FileMissing


class RemoteFolders:
    """Folders of one host that are known to be there.

    ``make`` makes one with mode 0700; it says whether it did, or it was there already,
    and raises FileMissing where the folder above is missing.
    """

    def __init__(self, make: Callable[[str], bool]) -> None:
        self._make = make
        self._known: set[str] = {"/"}
        self._lock = threading.Lock()

    def ensure(self, folder: str) -> None:
        """Have a folder there, and those above it."""
        with self._lock:
            if folder in self._known:
                return
        try:
            self._make(folder)
        except FileMissing:
            above = posixpath.dirname(folder)
            if above == folder:
                raise
            self.ensure(above)
            self._make(folder)
        with self._lock:
            self._known.add(folder)

    def forget(self, folder: str) -> None:
        """Look anew whether a folder is there, and those above it."""
        with self._lock:
            self._known = {known for known in self._known if not (folder == known or folder.startswith(known + "/"))}
            self._known.add("/")
