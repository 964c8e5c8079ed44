"""What a launch tells of itself while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sremote.launcher.result import ComponentResult

if TYPE_CHECKING:
    from sremote.tree_progress import Progress


def counted(number: int, what: str) -> str:
    """Return a number of things in words: 1 host, 2 hosts."""
    return f"{number} {what}{'' if number == 1 else 's'}"


class Reporter:
    """Is told what happens, always from the same thread but for ``copying``; this one takes no notice."""

    def stage(self, text: str) -> None:
        """Take note of what is done next."""

    def warn(self, text: str) -> None:
        """Take note of what is out of order, though the launch goes on."""

    def copying(self, host: str, progress: Progress) -> None:
        """Take note of how far the copy to a host is; from any thread."""

    def copied(self, host: str, files: int, unchanged: int) -> None:
        """Take note that a copy has ended."""

    def started(self, component: ComponentResult) -> None:
        """Take note that a component runs."""

    def output(self, component: ComponentResult, line: str) -> None:
        """Take a line that a component has printed."""

    def ended(self, component: ComponentResult, last_lines: Sequence[str]) -> None:
        """Take note that a component has ended, and of the last lines that it printed."""
