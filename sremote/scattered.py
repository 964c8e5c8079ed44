"""Sends files that go to places of their own as if they were one tree."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sremote.interpreter.tree_frames import Entry, Failure, ignore
from sremote.interpreter.tree_sender import Sender

_FOLDER_MODE = 0o755


class ScatteredSender(Sender):
    """Sends ``files``: absolute paths on the host, with the file here that goes there, or None for a folder.

    The tree's root is the root of the host's files; links here are followed.  The
    receiver is told that it is ``scattered``.
    """

    def __init__(
        self,
        files: Mapping[str, Path | None],
        write: Callable[[memoryview], None],
        *,
        found: Callable[[int], None] = ignore,
        sent: Callable[[bytes, int], None] = ignore,
    ) -> None:
        super().__init__(b"/", write, found=found, sent=sent)
        self._files = {os.fsencode(path).strip(b"/"): source for path, source in files.items()}
        self._sources = {path: os.fsencode(os.path.realpath(source)) for path, source in self._files.items() if source}

    def _walk(self) -> Iterator[Entry]:
        now = time.time_ns()
        known = {b""}
        yield Entry(b"", b"d", _FOLDER_MODE, now, 0, b"")
        for path in sorted(self._files):
            source = self._sources.get(path)
            for folder in _folders(path if source is None else path.rpartition(b"/")[0]):
                if folder not in known:
                    known.add(folder)
                    yield Entry(folder, b"d", _FOLDER_MODE, now, 0, b"")
            if source is None:
                continue
            try:
                status = Path(os.fsdecode(source)).stat()
            except OSError as error:
                self._fail(Failure.of_error(path, error))
                continue
            if not stat.S_ISREG(status.st_mode):
                self._fail(Failure(path, 0, "its source is not a file"))
                continue
            yield Entry(path, b"f", stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_size, b"")

    def _path(self, entry: Entry) -> bytes:
        return self._sources.get(entry.path, b"/" + entry.path)


def _folders(path: bytes) -> Iterator[bytes]:
    """Yield the folders down to ``path``, itself too."""
    parts = path.split(b"/") if path else []
    for number in range(len(parts)):
        yield b"/".join(parts[: number + 1])
