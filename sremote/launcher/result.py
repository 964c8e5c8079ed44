"""How a launch and its components fared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

GOOD_STATES = ("succeeded", "running", "stopped")


@dataclass
class ComponentResult:
    """How a component fared."""

    name: str
    host: str
    state: str = "waiting"
    """waiting (not started), running, succeeded, failed, stopped (by the launch), or unknown: its host is silent."""
    job_id: str | None = None
    """The job that it is, under which its host keeps its output."""
    window: str | None = None
    """Its window: screen's number or tmux's pane."""
    status: int | None = None
    """Its exit status."""
    signal: int | None = None
    """The signal that ended it."""
    reason: str | None = None
    """Why it failed, where there is no exit status."""
    started: float | None = None
    """Seconds since the epoch, on its host's clock."""
    ended: float | None = None
    restarts: int = 0
    ready: bool = False
    """Whether what it was waited for has come; true at its start where it is waited for nothing."""

    @property
    def how(self) -> str:
        """How it ended, in words."""
        if self.reason:
            return self.reason
        if self.signal is not None:
            return f"signal {self.signal}"
        return "" if self.status is None else f"exit status {self.status}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dict(vars(self))


@dataclass
class HostResult:
    """What happened on a host."""

    host: str
    multiplexer: str = ""
    """screen, tmux, or nothing."""
    files_sent: int = 0
    files_unchanged: int = 0
    copy_seconds: float = 0.0


@dataclass
class LaunchResult:
    """How a launch fared."""

    name: str
    components: Sequence[ComponentResult]
    hosts: Sequence[HostResult]
    outcome: str = "running"
    """running, finished (as planned), failed, interrupted."""
    times: dict[str, float] = field(default_factory=dict)
    """When each stage was done, seconds since the epoch: begun, connected, checked, copied, started, ended."""
    error: str | None = None
    """Why it failed before its components could."""

    @property
    def exit_status(self) -> int:
        """0 where all went well, 1 where a component failed, 130 where it was interrupted."""
        if self.outcome == "interrupted":
            return 130
        return 0 if self.error is None and all(each.state in GOOD_STATES for each in self.components) else 1

    def component(self, name: str) -> ComponentResult:
        """Return a component's result by its name."""
        return next(each for each in self.components if each.name == name)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "name": self.name,
            "outcome": self.outcome,
            "exit_status": self.exit_status,
            "error": self.error,
            "times": self.times,
            "hosts": [vars(each) for each in self.hosts],
            "components": [each.to_json() for each in self.components],
        }
