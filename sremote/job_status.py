"""How a job is, when that was seen, and by what."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


class JobState(enum.StrEnum):
    """How a job is."""

    QUEUED = "QUEUED"
    """It waits: for its turn on the host, or in a batch system's queue."""
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    """Its function returned, its command ended with status 0."""
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    LOST = "LOST"
    """Its process is gone and left no response, or the host does not have it any more."""
    UNKNOWN = "UNKNOWN"
    """Nobody can tell at the moment; the reason says why."""

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self not in (JobState.QUEUED, JobState.RUNNING, JobState.UNKNOWN)


@dataclass(frozen=True)
class Progress:
    """How far a job has got."""

    done: float
    total: float | None
    """None where the job does not know."""
    message: str

    @classmethod
    def read(cls, found: object) -> Progress | None:
        """Return what a host says of a job's progress; None where that is nothing."""
        match found:
            case {"done": int() | float() as done, "total": (int() | float() | None) as total, "message": str(message)}:
                return cls(done, total, message)
        return None


@dataclass(frozen=True)
class JobStatus:
    """How a job is."""

    state: JobState
    reason: str
    """Why, in words; empty where the state says all."""
    observed_at: datetime
    """When this was seen, on this machine's clock, in UTC."""
    source: str
    """By what: response, heartbeat, process or scheduler; client where this machine alone knows it."""
    attempt: int = 1
    """Which attempt this is of, counted from 1."""
    usage: Mapping[str, float] = field(default_factory=dict)
    """``cpu_seconds``, and ``max_memory`` in bytes, as far as known; for a running job those so far."""
    progress: Progress | None = None
    """How far it has got, as its function says with ``sremote.progress``."""
    seconds: float = 0.0
    """How long it ran, on its host's clock, once it has ended."""

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}" if self.reason else str(self.state)
