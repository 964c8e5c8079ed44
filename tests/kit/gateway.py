"""A real gateway of sremote's on a loopback port, in a thread, with TLS unless told otherwise."""

import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from sremote.connectors.address import Address, parse_address
from sremote.connectors.newt import NewtConnector
from sremote.gateway.access import Access, Key
from sremote.gateway.serve import listen, make_application, make_server, self_signed
from sremote.gateway.settings import Settings

TOKEN = "token-of-the-tests-" + "x" * 24
MACHINE = "lab"


@dataclass
class Gateway:
    """A gateway that runs; ``folder`` is its certificate's, ``home`` its home directory."""

    url: str
    settings: Settings
    access: Access
    fingerprint: str | None
    folder: Path

    @property
    def address(self) -> Address:
        """Where a connector finds it."""
        return parse_address(f"newt+{self.url}/{MACHINE}")

    @property
    def options(self) -> dict[str, Any]:
        """What a connector needs to get in."""
        return {"password_file": str(self.folder / "token"), "fingerprint": self.fingerprint}

    def connector(self, **options: Any) -> NewtConnector:
        """Return an unconnected connector."""
        return NewtConnector(self.address, **{**self.options, **options})

    def http(self) -> requests.Session:
        """Return a session of requests that trusts its certificate, not signed in."""
        session = requests.Session()
        session.trust_env = False
        if self.fingerprint:
            session.verify = str(self.folder / "certificate.pem")
        return session

    def signed_in(self) -> requests.Session:
        """Return a session of requests that has signed in as a program does."""
        session = self.http()
        answer = session.post(self.url + "/login", data={"username": "any", "password": TOKEN}, timeout=60)
        assert answer.json()["auth"] is True
        return session


@contextmanager
def gateway(
    folder: Path, *, tls: bool = True, key: Key | None = None, clock: Any = time.monotonic, **settings: Any
) -> Iterator[Gateway]:
    """Run a gateway; ``settings`` are those of ``Settings``, files below ``folder`` and /tmp are allowed by default."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    given = {"machine": MACHINE, "home": home, "allowed": (folder, Path("/tmp")), "secure": tls, **settings}
    chosen = Settings(**given)
    access = Access(key or Key(TOKEN), lifetime=chosen.session_lifetime, clock=clock)
    certificate = self_signed(folder, ["localhost", "127.0.0.1"]) if tls else None
    listener = listen("127.0.0.1", 0, encrypted=tls)
    server = make_server(make_application(chosen, access), certificate)
    thread = threading.Thread(target=functools.partial(server.run, [listener]), daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the gateway did not start"
            time.sleep(0.005)
        url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}{chosen.prefix}"
        yield Gateway(url, chosen, access, certificate.fingerprint if certificate else None, folder)
    finally:
        server.should_exit = True
        thread.join(60)
