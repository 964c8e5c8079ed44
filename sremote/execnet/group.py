"""Groups of gateways."""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from sremote.execnet.channel import MultiChannel
from sremote.execnet.gateway import Gateway
from sremote.execnet.reach import reach
from sremote.execnet.spec import XSpec
from sremote.interpreter.channel_exec import ExecModel
from sremote.surroundings import Surroundings

AT_EXIT = 1.0
"""Seconds that gateways have to end when this program does."""


class Group:
    """Makes gateways, each with an id of its own, and ends them together."""

    defaultspec = "popen"

    def __init__(self, xspecs: Iterable[XSpec | str | None] = (), execmodel: str = "thread") -> None:
        self._gateways: list[Gateway] = []
        self._to_join: list[Gateway] = []
        self._lock = threading.Lock()
        self._count = 0
        self.set_execmodel(execmodel)
        atexit.register(self.terminate, AT_EXIT)
        for spec in xspecs:
            self.makegateway(spec)

    def __repr__(self) -> str:
        return f"<Group {[gateway.id for gateway in self]!r}>"

    def __len__(self) -> int:
        return len(self._gateways)

    def __iter__(self) -> Iterator[Gateway]:
        return iter(list(self._gateways))

    def __getitem__(self, key: int | str | Gateway) -> Gateway:
        if isinstance(key, int):
            return self._gateways[key]
        for gateway in self._gateways:
            if gateway is key or gateway.id == key:
                return gateway
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return any(gateway is key or gateway.id == key for gateway in self._gateways)

    def set_execmodel(self, execmodel: str, remote_execmodel: str | None = None) -> None:
        """Say how code runs: "thread" or "main_thread_only"; only while there are no gateways."""
        if self._gateways:
            raise ValueError("the execmodel cannot be changed once there are gateways")
        for name in (execmodel, remote_execmodel or execmodel):
            if name not in ("thread", "main_thread_only"):
                raise ValueError(f"there is no execmodel {name!r}; those there are: thread, main_thread_only")
        self.execmodel = ExecModel(execmodel)
        self.remote_execmodel = ExecModel(remote_execmodel or execmodel)

    def allocate_id(self, spec: XSpec) -> None:
        """Give a specification without an id the next one: gw0, gw1, …"""
        with self._lock:
            if spec.id is None:
                spec.id = f"gw{self._count}"
                self._count += 1
        if spec.id in self:
            raise ValueError(f"there is a gateway {spec.id!r} already")

    def makegateway(self, spec: XSpec | str | None = None) -> Gateway:
        """Start a Python process where ``spec`` leads, and return the gateway to it.

        The keys: ``popen``, ``ssh=``, ``socket=`` (with ``key_file=``), ``vagrant_ssh=`` or
        ``host=`` (an address of sremote); ``via=``, ``python=``, ``chdir=``,
        ``env:NAME=``, ``nice=``, ``id=``, ``execmodel=``, ``ssh_config=``,
        ``dont_write_bytecode``.  Several threads may make gateways at once.
        """
        found = spec if isinstance(spec, XSpec) else XSpec(spec or self.defaultspec)
        self.allocate_id(found)
        if found.execmodel is None:
            found.execmodel = self.remote_execmodel.backend
        near = self[found.via].session if found.via else None
        client = reach(found, near)
        try:
            surroundings: Surroundings = {"env": dict(found.env)}
            if found.popen and near is None:
                surroundings["cwd"] = str(Path.cwd())
            if found.dont_write_bytecode:
                surroundings["env"] = {**found.env, "PYTHONDONTWRITEBYTECODE": "1"}
            gateway = Gateway(client, found, self.execmodel, surroundings, _only_errors)
            gateway.process_id = gateway.session.call(
                "sremote_interpreter.channel_exec",
                "set_up",
                [found.chdir or "", int(found.nice or 0), not found.dont_write_bytecode],
            )
        except BaseException:
            client.close()
            raise
        gateway._group = self
        with self._lock:
            self._gateways.append(gateway)
        return gateway

    def remote_exec(self, source: str | Callable[..., object] | ModuleType, **kwargs: Any) -> MultiChannel:
        """Run code in all gateways, and return the channels as one."""
        return MultiChannel([gateway.remote_exec(source, **kwargs) for gateway in self])

    def terminate(self, timeout: float | None = None) -> None:
        """End all gateways, those that lead to others last; kill what has not ended after ``timeout`` seconds."""
        while self._gateways or self._to_join:
            used = {gateway.spec.via for gateway in self if gateway.spec.via}
            for gateway in self:
                if gateway.id not in used:
                    gateway.exit()
            leaving, self._to_join = self._to_join, []
            deadline = None if timeout is None else time.monotonic() + timeout
            for gateway in leaving:
                gateway.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
                if gateway.is_leaving():
                    gateway.kill()
                    gateway.join()

    def _unregister(self, gateway: Gateway) -> None:
        self._gateways.remove(gateway)
        self._to_join.append(gateway)


def _only_errors(stream: Literal["stdout", "stderr"], data: bytes) -> None:
    """Show what code over there writes to standard error; what it prints is dropped, as execnet does."""
    if stream == "stderr":
        sys.stderr.write(data.decode("utf-8", "backslashreplace"))
        sys.stderr.flush()


default_group = Group()
makegateway = default_group.makegateway
set_execmodel = default_group.set_execmodel
