"""The clients through which earlier processes' jobs are asked about: one for each host, until this process ends."""

from __future__ import annotations

import atexit
import json
import threading
from contextlib import suppress

from sremote.client import Client
from sremote.errors import SremoteError
from sremote.hosts import HostSettings

_clients: dict[str, Client] = {}
_lock = threading.Lock()


def client_of(settings: str) -> Client:
    """Return a client for the host that ``settings`` (``HostSettings`` in JSON) describe, connected once.

    Raises as ``sremote.connect``.
    """
    from sremote.connection import open_client

    with _lock:
        if settings not in _clients:
            client = open_client(HostSettings(**json.loads(settings)))
            if not _clients:
                atexit.register(_close)  # now, so that it comes before what the connector's library has registered
            _clients[settings] = client
        return _clients[settings]


def _close() -> None:
    for client in _clients.values():
        with suppress(SremoteError):
            client.close()
    _clients.clear()
