"""A gateway: a Python process somewhere, with channels to the code that runs in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sremote.client import Client
from sremote.connectors.base import OutputSink
from sremote.errors import SremoteError, UsageError, ValueRefused, VersionMismatch
from sremote.execnet.channel import Channel, Channels
from sremote.execnet.spec import XSpec
from sremote.interpreter.channel_exec import ExecModel
from sremote.session import Session
from sremote.surroundings import Surroundings, surroundings_header

if TYPE_CHECKING:
    from sremote.execnet.group import Group

_FAR = "sremote_interpreter.channel_exec"
_EXECMODELS = {"thread": "main_thread_first", "main_thread_only": "main_thread_only"}

KILL_TIMEOUT = 5.0
"""Seconds for a command that kills."""


class _Facts:
    """What was asked of the other side, as attributes."""

    def __init__(self, found: dict[str, Any]) -> None:
        vars(self).update(found)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __repr__(self) -> str:
        return f"<{type(self).__name__.strip('_')} {vars(self)}>"


class RInfo(_Facts):
    """What the process is: executable, version_info, platform, cwd, pid."""


class RemoteStatus(_Facts):
    """What the process does: numchannels, numexecuting, execmodel."""


class Gateway:
    """Made by ``makegateway``; owns ``client``, and the session that it opens with it."""

    _group: Group

    def __init__(
        self, client: Client, spec: XSpec, execmodel: ExecModel, surroundings: Surroundings, output: OutputSink
    ) -> None:
        if spec.execmodel not in _EXECMODELS:
            raise ValueError(f"there is no execmodel {spec.execmodel!r}; those there are: {', '.join(_EXECMODELS)}")
        self.spec = spec
        self.id: str = spec.id
        self.execmodel = execmodel
        self.client = client
        self.process_id = 0
        """The number of the process over there, which leads its own group."""
        self._leaving: threading.Thread | None = None
        self._information: RInfo | None = None
        self.session = Session(
            client.host,
            surroundings_header(surroundings, client.host, login_env=client.login_env),
            output=output,
            execmodel=_EXECMODELS[spec.execmodel],
            channels=Channels,
            owner=self,
            name=self.id,
        )

    def __repr__(self) -> str:
        state = "open" if self.hasreceiver() else "closed"
        return f"<Gateway id={self.id!r} {state}, {self.spec.execmodel} model, at {self.remoteaddress}>"

    @property
    def remoteaddress(self) -> str:
        """Where it leads, as sremote's messages have it."""
        return self.client.host.where

    def remote_exec(self, source: str | Callable[..., object] | ModuleType, **kwargs: Any) -> Channel:
        """Run source text, a module's source or a function over there, and return the channel to it.

        Raises ValueError for a function that cannot be sent, TypeError for arguments
        that go with no function, OSError where the gateway is closed.
        """
        try:
            return self._channel(self.session.remote_exec(source, **kwargs))
        except (ValueRefused, VersionMismatch) as error:
            raise ValueError(str(error)) from error
        except UsageError as error:
            if kwargs and not callable(source):
                raise TypeError(error.message) from None
            raise OSError(error.message) from error

    def newchannel(self) -> Channel:
        """Make a channel, whose other end is whoever receives it."""
        return self._channel(self.session.newchannel())

    def remote_status(self) -> RemoteStatus:
        """Ask what goes on over there."""
        return RemoteStatus(self.session.open_channel(_FAR, "describe_channels").receive())

    def reconfigure(self, py2str_as_py3str: bool = True, py3str_as_py2str: bool = False) -> None:
        """Nothing: both sides are Python 3."""

    def remote_init_threads(self, num: int | None = None) -> None:
        """Nothing: there are always threads."""

    def hasreceiver(self) -> bool:
        """Say whether the process lives, as far as is known."""
        return self.session.is_open

    def exit(self) -> None:
        """Have the process end; ``join`` waits for that."""
        if self._leaving is None:
            with suppress(AttributeError, ValueError):
                self._group._unregister(self)
            self._leaving = threading.Thread(target=self._leave, name=f"sremote exit {self.id}", daemon=True)
            self._leaving.start()

    def join(self, timeout: float | None = None) -> None:
        """Wait up to ``timeout`` seconds for the process's end."""
        if self._leaving is not None:
            self._leaving.join(timeout)

    def is_leaving(self) -> bool:
        """Say whether the process has been asked to end and has not."""
        return self._leaving is not None and self._leaving.is_alive()

    def kill(self) -> None:
        """End the process and its children at once, also where it has been asked to end and does not."""
        self.session.kill()
        with suppress(SremoteError):
            self.client.host.execute(["kill", "-KILL", "--", f"-{self.process_id}"], timeout=KILL_TIMEOUT)

    def _rinfo(self, update: bool = False) -> RInfo:
        if self._information is None or update:
            self._information = RInfo(self.session.open_channel(_FAR, "describe_process").receive())
        return self._information

    def _channel(self, channel: Any) -> Channel:
        assert isinstance(channel, Channel)
        return channel

    def _leave(self) -> None:
        with suppress(SremoteError):
            self.session.close()
        with suppress(SremoteError):
            self.client.close()
