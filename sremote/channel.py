"""Channels on this side: what comes from the host is checked, as responses are."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from sremote.allowed import allowed_types
from sremote.errors import NotInstalled, RemoteContext, RemoteError, VersionMismatch
from sremote.interpreter import channel, channels
from sremote.interpreter.channels import error_text
from sremote.pickle_grammar import check_pickle


class Channel(channel.Channel):
    """One end of a channel, as ``Session.remote_exec`` returns it; the other end is like it."""


class ClientChannels(channels.Channels):
    """The channels of a session; ``host`` is the host's name, ``session_id`` the session's, ``owner`` the session."""

    channel_class = Channel
    remote_error_class = RemoteError

    def __init__(self, write: channels.Write, host: str, session_id: str, owner: object) -> None:
        super().__init__(write, first=1, owner=owner)
        self._host = host
        self._session_id = session_id

    def check(self, data: bytes | bytearray | memoryview) -> None:
        check_pickle(data)

    def allowed(self) -> Container[str]:
        return allowed_types

    def types(self) -> Mapping[str, type]:
        return allowed_types

    def remote_error(self, described: Mapping[str, Any]) -> Exception:
        text = error_text(described)
        reason = described.get("reason")
        if reason in ("module", "function"):
            return NotInstalled(f"{self._host}: {text}")
        if reason in ("version", "code"):
            return VersionMismatch(f"{self._host}: {text}")
        context = RemoteContext(self._host, self._session_id, str(described.get("traceback") or ""), "", "")
        kind = str(described.get("type") or "").replace(":", ".")
        return self.remote_error_class(text, type_name=kind, remote=context)
