"""The client that commands use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sremote.client import Client
    from sremote.hosts import HostSettings


def connect(settings: HostSettings) -> Client:
    """Return a client for the host; a context manager.  Loads what the host's connector needs, and only then."""
    from sremote.connection import open_client

    return open_client(settings)
