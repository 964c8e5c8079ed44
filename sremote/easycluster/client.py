"""The clients that programs for EasyCluster make: by host and key, or over ssh."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any, Self

from sremote.connection import connect
from sremote.easycluster.specs import decode_key, parse_connection_spec, ssh_settings
from sremote.errors import UsageError
from sremote.interpreter.socket_address import DEFAULT_PORT
from sremote.interpreter.socket_key import Key, show_fingerprint
from sremote.objects.client import ObjectClient
from sremote.objects.names import RemoteName
from sremote.objects.threaded import ThreadedObjectClient

if TYPE_CHECKING:
    import sremote

DEFINITIONS = "sremote.easycluster.remote_code"
"""The module that common code is in unless it is given another name."""


class Client(ObjectClient):
    """A client of a server with a ``key``, or of any host over ``ssh``; without ``host``, of nothing yet.

    ``ssh`` is the ssh program, ``rpython`` the Python over there, ``extra_args`` are
    arguments of ssh.  ``fingerprint`` is that of a server whose key is given as text, ``tls=False``
    goes to this machine only.  ``over`` is a client of sremote to use instead of all that.
    """

    def __init__(
        self,
        key: Key | str | bytes | None = None,
        host: str | None = None,
        port: int | None = None,
        definitions: str = DEFINITIONS,
        enable_compression: bool = False,
        ssh: str | None = None,
        user: str | None = None,
        rpython: str | None = None,
        extra_args: Sequence[str] = (),
        *,
        fingerprint: str | None = None,
        tls: bool = True,
        over: sremote.Client | None = None,
        **options: Any,
    ) -> None:
        self.remote_host = host
        self.remote_port = port
        self._key = None if key is None else decode_key(key)
        self._ssh = ssh or ("ssh" if user else None)
        self._user = user
        self._rpython = rpython
        self._extra_args = list(extra_args)
        self._fingerprint = fingerprint
        self._tls = tls
        self._over = over
        self._options = {"definitions": definitions, "compress": enable_compression, **options}
        if host is not None or over is not None:
            self.connect()

    @classmethod
    def from_spec(
        cls,
        spec: str,
        default_key: Key | str | bytes | None = None,
        custom_options: Container[str] = (),
        **options: Any,
    ) -> Self:
        """Return a client for ``[user@]host[:port][:opt=val]…``; ``options`` are further arguments of Client.

        Options of the spec: kf (key file), key, fingerprint, tls, compress, ssh, user,
        rpython, extra (arguments of ssh); those that are ``custom_options`` are left to the caller.
        """
        found = parse_connection_spec(spec, default_key, custom_options)
        for name in [name for name in found if name in custom_options]:
            del found[name]
        return cls(**{**found, **options})

    def connect(self) -> None:
        """Connect; nothing where that is done already."""
        if "_connection" in vars(self) and self.connected:
            return
        client = self._over or self._reach()
        session = client.session()
        super().__init__(session, **self._options)
        self._client = client

    def reconnect(self) -> None:
        """Hang up and connect again, to a process without anything of the old one."""
        self.close()
        self.connect()

    def close(self) -> None:
        """End the process over there, and hang up."""
        if "_connection" in vars(self):
            super().close()
        if self._over is None and "_client" in vars(self):
            self._client.close()

    @property
    def connected(self) -> bool:
        """Whether the process over there lives, as far as is known."""
        return "_connection" in vars(self) and super().connected

    @property
    def peername(self) -> str:
        """The host, as messages call it."""
        return self._connection.where

    @property
    def server_version(self) -> str:
        """The version of sremote, whose code runs over there."""
        from sremote.version import __version__

        return __version__

    def ready(self) -> bool:
        """Say whether calls can be made; they can once the client has been made."""
        return self.connected

    def wait_ready(self) -> None:
        """Wait until calls can be made; see ``ready``."""
        self.connect()

    def raw_call(self, name: str, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None, **how: Any) -> Any:
        """Call what has a name over there, with arguments as a list and a dict."""
        return self.call(name, *args, **(kwargs or {}), **how)

    def get_root(self, name: str) -> RemoteName:
        """Return a name over there, also one that this class has for itself."""
        return self._connection.name(name)

    def _reach(self) -> sremote.Client:
        assert self.remote_host is not None
        host = f"[{self.remote_host}]" if ":" in self.remote_host else self.remote_host
        if self._ssh is not None:
            user = f"{self._user}@" if self._user else ""
            port = f":{self.remote_port}" if self.remote_port else ""
            settings = ssh_settings(self._extra_args)
            return connect(f"openssh://{user}{host}{port}", python=self._rpython, ssh=self._ssh, ssh_options=settings)
        if self._key is None:
            raise UsageError(
                f"{self.remote_host}: a server wants a key",
                "Give one with :kf=FILE, or go over ssh with user@host or :ssh=yes.",
            )
        fingerprint = self._fingerprint or (show_fingerprint(self._key.fingerprint) if self._key.fingerprint else None)
        return connect(
            f"socket://{host}:{self.remote_port or DEFAULT_PORT}",
            python=self._rpython,
            key=self._key.secret.decode(),
            fingerprint=fingerprint,
            tls=self._tls,
        )


class ThreadedClient(Client, ThreadedObjectClient):
    """A Client for programs with threads; see ThreadedObjectClient, whose options it takes, too."""


AutoThreadingClient = ThreadedClient


def spawn_local(client_class: type[Client] = Client, **options: Any) -> Client:
    """Start a process on this machine, and return a client of it."""
    return client_class(over=connect("local:"), **options)
