"""Where a server listens, as people write it."""

from typing import Tuple

from .errors import SremoteError

DEFAULT_PORT = 17637


class ServerError(SremoteError):
    """The server cannot listen as it was asked to."""

    exit_status = 2


def split_address(text: str) -> Tuple[str, int]:
    """Return host and port of ``HOST:PORT``, ``[IPV6]:PORT``, ``HOST`` or ``:PORT``.  Raises ServerError."""
    host, colon, port = text.rpartition(":")
    if text.startswith("[") and text.endswith("]") or not colon:
        host, port = text, ""
    if host.startswith("[") != host.endswith("]") or ":" in host and not host.startswith("["):
        raise ServerError("{!r} is not HOST:PORT".format(text), "An IPv6 address goes in brackets: [::1]:17637.")
    if port and not (port.isdigit() and int(port) < 65536):
        raise ServerError("{!r}: {!r} is not a port".format(text, port))
    return host.strip("[]"), int(port) if port else DEFAULT_PORT


def show_address(place: Tuple[object, ...]) -> str:
    """Return the address of a socket as ``host:port``."""
    host, port = str(place[0]), place[1]
    return "{}:{}".format("[{}]".format(host) if ":" in host else host, port)


def is_loopback(host: str) -> bool:
    """Say whether an address is this machine's own, which nobody else can reach."""
    return host.startswith("127.") or host == "::1"
