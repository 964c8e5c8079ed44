"""The URLs that name hosts: ``ssh://user@host:port``, ``user@host``, ``local:``, ``command:sudo -n -u alice``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sremote.connectors.errors import UsageError

DEFAULT_SCHEME = "ssh"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):")
_AUTHORITY = re.compile(r"(?:(?P<user>[^@/]+)@)?(?P<host>\[[0-9a-fA-F:.%\w]+\]|[^@:/\[\]]+)(?::(?P<port>\d+))?$")


@dataclass(frozen=True)
class Address:
    """A host as the user wrote it, and its parts.

    ``rest`` is what follows the scheme and the authority: a URL's path, or all of
    ``command:``'s text.
    """

    text: str
    scheme: str
    host: str = ""
    user: str | None = None
    port: int | None = None
    rest: str = ""

    def __str__(self) -> str:
        return self.text


def parse_address(text: str) -> Address:
    """Read a host's address.

    ``[user@]host[:port]`` is ssh; ``scheme://[user@]host[:port][/path]`` and
    ``scheme:text`` go to the connector of that scheme; an IPv6 address stands in
    brackets.  Raises UsageError with what is wrong.
    """
    if not text or text != text.strip() or "\0" in text or "\n" in text:
        raise UsageError(
            f"{text!r} is not a host", "A host is 'user@host', 'local:' or a URL such as 'openssh://host'."
        )
    match = _SCHEME.match(text)
    if match and text.startswith("//", match.end()):
        authority, slash, path = text[match.end() + 2 :].partition("/")
        return _with_authority(text, match[1], authority, slash + path)
    if match and not text[match.end() :].isdigit():
        return Address(text, match[1], rest=text[match.end() :])
    return _with_authority(text, DEFAULT_SCHEME, text, "")


def _with_authority(text: str, scheme: str, authority: str, rest: str) -> Address:
    match = _AUTHORITY.match(authority)
    if match is None or match["host"].startswith("-") or (match["user"] or "").startswith("-"):
        raise UsageError(f"{text!r} is not a host", "Write it as [user@]host[:port]; an IPv6 address goes in brackets.")
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 65536:
        raise UsageError(f"{text!r}: port {port} is not between 1 and 65535")
    return Address(text, scheme, match["host"].strip("[]"), match["user"], port, rest)
