"""Clients of the kit's servers."""

from pathlib import Path
from typing import Any

import sremote
from tests.kit.proxy import DelayingProxy
from tests.kit.sshd import SshServer


def connect_to(server: SshServer, **options: Any) -> sremote.Client:
    """Connect to a server of the kit with no ~/.ssh/config; ``options`` are those of ``sremote.connect``."""
    settings: dict[str, Any] = {"key_file": server.key_file, "known_hosts": server.known_hosts, **options}
    return sremote.connect(server.address, **settings)


def connect_through(proxy: DelayingProxy, server: SshServer, folder: Path, **options: Any) -> sremote.Client:
    """Connect to a server through a proxy; a known_hosts file for that is made in ``folder``."""
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(server.known_hosts_line(server.host_keys[0], f"[127.0.0.1]:{proxy.port}"))
    address = f"{server.user}@127.0.0.1:{proxy.port}"
    return sremote.connect(address, key_file=server.key_file, known_hosts=known_hosts, **options)
