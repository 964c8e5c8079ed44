"""What a gateway is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SESSION_LIFETIME = 43200.0
"""Seconds that a session lasts, as NEWT had it."""


@dataclass(frozen=True)
class Settings:
    """How a gateway behaves, wherever it listens."""

    machine: str
    """The name of this machine in the gateway's paths."""
    home: Path
    """The folder that relative paths start at, and commands begin in."""
    allowed: tuple[Path, ...]
    """The folders that files may be in."""
    commands: bool = True
    """Whether it runs commands; without, ``allowed`` is all that it touches."""
    prefix: str = ""
    """What a reverse proxy puts before every path: "" or ``/name``."""
    behind_proxy: bool = False
    """Whether the sender's address is in X-Forwarded-For, by a proxy on this machine."""
    secure: bool = True
    """Whether cookies are for TLS alone."""
    session_lifetime: float = SESSION_LIFETIME
    command_timeout: float = 600.0
    """Seconds that a command of NEWT's may take; those over WebSockets have no limit."""
    body_timeout: float = 30.0
    """Seconds without a byte after which a body is given up, and in which a whole form must have come."""
    root: Path = Path(".sremote")
    """sremote's folder, from home: its jobs are on the page."""
