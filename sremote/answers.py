"""What a client answers with: how a command ended, what a host is, what is left there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CommandResult:
    """A command that ended: exit status (minus the signal's number where one ended it) and output."""

    status: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class Facts:
    """What a host is."""

    hostname: str
    user: str
    home: str
    python: str
    version: tuple[int, int, int]
    implementation: str
    platform: str
    machine: str
    cores: int
    """Cores that a process there may use."""
    memory: int | None
    """Bytes of main memory."""
    scheduler: str | None
    """slurm, pbs, lsf, sge or flux, where one is on PATH."""
    root: str
    """sremote's folder there."""
    file_system: str | None
    """Type of the file system that holds ``root``."""
    free_bytes: int
    free_inodes: int
    environment: str | None
    """The installed environment that calls use."""


@dataclass(frozen=True)
class Leftover:
    """Something of an old call or client on a host."""

    path: str
    """Below sremote's folder."""
    kind: str
    """job, durable (a job that was submitted), folder (of such a job that is gone), batch (a command that was run as
    a batch job), mailbox, interpreter, or partial (a file
    that was never finished)."""
    state: str
    """finished, unfetched (finished, its result is nowhere else), running, queued, dead, unclaimed, unknown or old."""
    age: float
    """Seconds since it last changed."""
    bytes: int
    files: int

    @property
    def is_wanted(self) -> bool:
        """Whether it is a job that may be running, or whose result nobody has fetched."""
        return self.state in ("running", "unknown", "queued", "unfetched")
