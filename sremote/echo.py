"""Forwards what a job prints to this process's own standard output and error."""

from __future__ import annotations

import codecs
import sys
from typing import Literal

_utf8 = codecs.getincrementaldecoder("utf-8")


class Echo:
    """An ``OutputSink`` that writes text; bytes that are not UTF-8 show as ``\\xff``."""

    def __init__(self) -> None:
        self._decoders = {name: _utf8("backslashreplace") for name in ("stdout", "stderr")}

    def __call__(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Write ``data``; a character that is cut off at its end comes with the next."""
        target = sys.stdout if stream == "stdout" else sys.stderr
        target.write(self._decoders[stream].decode(data))
        target.flush()
