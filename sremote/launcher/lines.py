"""Cuts what a component prints into lines, and remembers the last ones."""

from __future__ import annotations

import codecs
import re
from collections import deque

KEPT = 10
"""Lines that are shown again when a component fails."""
_LONGEST = 1 << 16
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b-\x1f\x7f]")


class Lines:
    """The output of one component.  Bytes that are not UTF-8 show as ``\\xff``."""

    def __init__(self, wanted: str | None = None) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._rest = ""
        self._wanted = re.compile(wanted) if wanted is not None else None
        self.last: deque[str] = deque(maxlen=KEPT)
        """The last lines."""
        self.matched = False
        """Whether a line has matched the regular expression ``wanted``."""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that ``data`` completes, without what moves the cursor or changes colours."""
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        if len(self._rest) > _LONGEST:
            lines, self._rest = [*lines, self._rest], ""
        if self._wanted is not None and self._rest and self._wanted.search(self._rest):
            self.matched = True  # a prompt, say, which ends in no newline
        return self._note(lines)

    def finish(self) -> list[str]:
        """Return what is left, as the output has ended."""
        rest, self._rest = self._rest, ""
        return self._note([rest] if rest else [])

    def _note(self, lines: list[str]) -> list[str]:
        # Of a line that was written over, as progress bars do, the last version counts.
        lines = [_CONTROL.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in lines]
        if self._wanted is not None and any(map(self._wanted.search, lines)):
            self.matched = True
        self.last.extend(lines)
        return lines
