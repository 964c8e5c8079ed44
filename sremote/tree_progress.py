"""How far a copy of files has come."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

INTERVAL = 0.1
"""Seconds between two reports, at least."""


@dataclass(frozen=True)
class Progress:
    """How far a copy has come; the totals grow while the source is still being listed."""

    files: int
    """Files found."""
    bytes: int
    """The size of all of them together."""
    bytes_done: int
    """Bytes that have been sent, or were there already."""
    path: str
    """The file that was last worked on, relative to what is copied; "" for that itself."""


ProgressCallback = Callable[[Progress], None]
"""Is told how far a copy has come, about ten times a second and once at its end; from any thread."""


class Tally:
    """Counts what a copy finds and moves, and tells ``callback`` now and then."""

    def __init__(self, callback: ProgressCallback | None) -> None:
        self._callback = callback
        self._lock = threading.Lock()
        self._told = 0.0
        self.restart()

    def restart(self) -> None:
        """Count anew, as the copy begins again."""
        self._files = self._bytes = self._done = 0
        self._path = b""

    def found(self, size: int) -> None:
        """Count a file that was found."""
        self._files += 1
        self._bytes += size

    def moved(self, path: bytes, size: int) -> None:
        """Count bytes of a file that were sent or need not be."""
        if self._callback is None:
            return
        with self._lock:
            self._done += size
            self._path = path
            if time.monotonic() < self._told + INTERVAL:
                return
            self._told = time.monotonic()
        self.tell()

    def tell(self) -> None:
        """Tell how far it is."""
        if self._callback is not None:
            self._callback(Progress(self._files, self._bytes, self._done, os.fsdecode(self._path)))
