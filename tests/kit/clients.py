"""Clients of the kit's servers."""

from typing import Any

import sremote
from tests.kit.sshd import SshServer


def connect_to(server: SshServer, **options: Any) -> sremote.Client:
    """Connect to a server of the kit with no ~/.ssh/config; ``options`` are those of ``sremote.connect``."""
    settings: dict[str, Any] = {"key_file": server.key_file, "known_hosts": server.known_hosts, **options}
    return sremote.connect(server.address, **settings)
