"""What came of trying one step of the way to a host; ``sremote doctor`` shows it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sremote.interpreter.errors import SremoteError


class State(enum.StrEnum):
    """How a step went."""

    OK = "ok"
    WARNING = "warning"
    """It works, and something about it is worth knowing."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It was not tried; the detail says why."""


@dataclass(frozen=True)
class Check:
    """One step that was tried: its name, how it went, what was found and what mends it."""

    name: str
    state: State
    detail: str
    mend: str = ""
    exit_status: int = 0
    """What the command line ends with where this failed."""

    @classmethod
    def of_error(cls, name: str, error: SremoteError) -> Check:
        """Return the failed step that ``error`` tells of."""
        return cls(name, State.FAILED, error.message, error.remedy or "", error.exit_status)
