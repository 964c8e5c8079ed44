"""Copies a folder to many gateways at once."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sremote.execnet.gateway import Gateway
from sremote.tree_progress import Progress
from sremote.trees import Copied

AT_ONCE = 16
"""Gateways that are copied to at the same time."""


@dataclass
class _Target:
    gateway: Gateway
    folder: str
    finished: Callable[[], object] | None
    delete: bool
    sent: set[str] = field(default_factory=set)


class RSync:
    """Copies ``sourcedir`` to the folders that ``add_target`` names, on ``send``.

    ``callback("list", bytes, gateway)`` is told how much has been found to copy to a gateway, and
    ``callback("ack", bytes, gateway)`` how much more has been done.  Only what differs is
    sent.  Subclasses may override ``filter``.
    """

    def __init__(
        self, sourcedir: str | os.PathLike[str], callback: Callable[..., object] | None = None, verbose: bool = True
    ) -> None:
        self._sourcedir = str(sourcedir)
        self._callback = callback
        self._verbose = verbose
        self._targets: list[_Target] = []

    def filter(self, path: str) -> bool:
        """Say whether a path below ``sourcedir`` is copied, with all that is in it."""
        return True

    def add_target(
        self,
        gateway: Gateway,
        destdir: str | os.PathLike[str],
        finishedcallback: Callable[[], object] | None = None,
        delete: bool = False,
    ) -> None:
        """Copy to a folder, absolute or relative to the gateway's working directory; call back when that is done.

        With ``delete``, what else is in it is removed.
        """
        folder = posixpath.join(gateway._rinfo().cwd, os.fspath(destdir))
        self._targets.append(_Target(gateway, folder, finishedcallback, delete))

    def send(self, raises: bool = True) -> None:
        """Copy to all targets at once.

        Raises OSError where there is none, unless ``raises`` is false, and the first
        error of a target once all others are done.
        """
        targets, self._targets = self._targets, []
        if not targets:
            if raises:
                raise OSError("there is nowhere to copy to; call add_target() first")
            return
        with ThreadPoolExecutor(AT_ONCE) as pool:
            copies = [pool.submit(self._copy, target) for target in targets]
        for copy in copies:
            copy.result()

    def _copy(self, target: _Target) -> Copied:
        told = -1

        def progress(copy: Progress) -> None:
            nonlocal told
            if self._callback is not None:
                if told < 0:
                    told = 0
                    self._callback("list", copy.bytes, target.gateway)
                self._callback("ack", copy.bytes_done - told, target.gateway)
                told = copy.bytes_done

        copied = target.gateway.client.push(
            self._sourcedir,
            target.folder,
            delete=target.delete,
            select=lambda path: self.filter(str(path)),
            progress=progress,
        )
        if target.finished is not None:
            target.finished()
        return copied

    def _report_send_file(self, gateway: Gateway, modified_rel_path: str) -> None:
        if self._verbose:
            print(f"{gateway} <= {modified_rel_path}")
