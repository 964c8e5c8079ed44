"""A mailbox: one long job that carries out what is left for it in a folder, so that put and get carry many calls."""

from __future__ import annotations

import dataclasses
import json
import logging
import secrets
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

from sremote.connectors.background import BackgroundProcesses
from sremote.connectors.base import Capability, Connector
from sremote.connectors.batch import BatchScript, BatchSystem, Resources
from sremote.connectors.batch_work import EXIT_ELSEWHERE, Patience, cancel_quietly, fetch_when_there, submit_once
from sremote.connectors.mailbox import MailboxConnector
from sremote.connectors.mailbox_post import Pace, Post
from sremote.connectors.through_batch import ThroughBatch
from sremote.errors import ConnectionLost, FileMissing, HostError, LineError, MailboxEnded, UsageError
from sremote.host import Host
from sremote.reconnect import again
from sremote.schedulers.detection import find_batch_system
from sremote.unpacking import SelfUnpacking, absolute_root, why_without_result

log = logging.getLogger("sremote")

DEFAULT_WALLTIME = 3600.0
SILENCE = 60.0
"""Seconds without a new beat after which a mailbox has ended of which nothing else tells."""
MARGIN = 30.0
"""Seconds before its job's time is up at which a mailbox ends by itself, so that it can say so."""


class MailboxOptions(TypedDict, total=False):
    """How ``Client.mailbox`` opens a mailbox; all may be left out."""

    resources: Resources
    """What the job asks for, but for the wall time (default: what the host's settings say)."""
    scheduler: str
    """The batch system to submit the job to: slurm, pbs, …, or auto (default: the gateway's own, else the job is a
    background process of the host)."""
    batch: BatchSystem
    """A batch system of your own, instead."""
    idle: float
    """Seconds without a letter from the client after which the job ends (default: only at its wall time)."""
    renew: bool
    """Whether to submit another job where this one has ended and there is more to do (default: no)."""
    timeout: float
    """Seconds that the job may wait in the queue (default: as long as it takes)."""
    longest_pause: float
    """Seconds between two looks for answers while nothing happens (default: 2)."""


class Mailbox:
    """A mailbox that is open; the client's calls go through it until it is closed.

    ``use`` makes the client carry its calls through a connector.
    """

    def __init__(
        self, host: Host, use: Callable[[Connector], None], walltime: float, **options: Unpack[MailboxOptions]
    ) -> None:
        unknown = sorted(options.keys() - MailboxOptions.__annotations__.keys())
        if unknown:
            raise UsageError(f"there is no option {unknown[0]!r}", "See help(sremote.mailbox.MailboxOptions).")
        if walltime <= 0:
            raise UsageError(f"a wall time of {walltime:g} s leaves no time to serve")
        if isinstance(host.connector, MailboxConnector):
            raise UsageError(f"{host.where}: a mailbox is open already", "Close that first.")
        self.job = ""
        """The batch system's id of the job that serves it."""
        self.folder = ""
        """Its folder on the host."""
        self._host = host
        self._use = use
        self._walltime = walltime
        self._options = options
        self._before = host.connector
        # Its files go the direct way; only commands would take the queue.
        self._files = self._before.connector if isinstance(self._before, ThroughBatch) else self._before
        self._patience = self._before.patience if isinstance(self._before, ThroughBatch) else Patience()
        self._batch = options.get("batch") or _batch_of(host, options.get("scheduler"))
        self._program = SelfUnpacking(host)
        self._root = absolute_root(host)
        self._opened = 0
        self._connector = MailboxConnector(self._files, self._open)
        self._connector.connect()
        use(self._connector)

    def close(self) -> None:
        """Tell the job to end; the client's calls go as they did before."""
        if self._host.connector is self._connector:
            self._use(self._before)
        self._connector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Post:
        """Submit a job and wait until it serves."""
        if self._opened and not self._options.get("renew"):
            raise MailboxEnded(
                f"{self._host.where}: the mailbox of job {self.job} has ended",
                "Open another one; with renew=True that is done by itself.",
            )
        self._opened += 1
        name = f"sremote-mailbox-{secrets.token_hex(6)}"
        self.folder = f"{self._root}/mailbox/{name}"
        again(self._files, self._prepare)
        seconds = max(self._walltime - MARGIN, self._walltime / 2)
        idle = self._options.get("idle")
        command = self._program.command(
            "--mailbox", self.folder, f"{seconds:.0f}", "-" if idle is None else f"{idle:.0f}"
        )
        resources = self._options.get("resources") or getattr(self._before, "resources", None) or Resources()
        script = BatchScript(name, command, dataclasses.replace(resources, walltime=self._walltime), self.folder)
        self.job = submit_once(self._batch, script, self._patience)
        log.info("%s: job %s serves the mailbox %s; waiting for it", self._host.where, self.job, self.folder)
        try:
            fetch_when_there(
                self._files,
                self._batch,
                self.job,
                f"{self.folder}/state",
                self._patience,
                self._options.get("timeout"),
            )
        except HostError as error:
            said, reason = why_without_result(self._host, self._files, self._batch, self.job, self.folder)
            text = f"{error.message}: {said}" if said else error.message
            raise (reason or HostError(text, error.remedy)) from error
        except BaseException:
            cancel_quietly(self._batch, self.job)
            raise
        longest = self._options.get("longest_pause", Pace.longest_pause)
        pace = Pace(
            first_pause=min(Pace.first_pause, longest / 5),
            longest_pause=longest,
            look_every=max(0.5, longest * 8),
            away_for=self._patience.away_for,
        )
        pulse = _Pulse(self._files, self._batch, self.job, self.folder, self._patience)
        loss = ConnectionLost if self._options.get("renew") else MailboxEnded
        return Post(self._files, self.folder, pace, pulse.why_ended, loss)

    def _prepare(self) -> None:
        self._program.ensure(self._files)
        self._files.put(b"", f"{self.folder}/in/0")  # which makes the folders


class _Pulse:
    """Tells whether a mailbox lives, from what it and the batch system say."""

    def __init__(self, files: Connector, batch: BatchSystem, job: str, folder: str, patience: Patience) -> None:
        self._files = files
        self._batch = batch
        self._job = job
        self._folder = folder
        self._patience = patience
        self._beat = 0
        self._seen = time.monotonic()

    def why_ended(self) -> str:
        """Return why the mailbox has ended; nothing while it has not, as far as can be told."""
        try:
            state = self._state()
            if state.get("ended"):
                return str(state["ended"])
            if state.get("beat", 0) != self._beat:
                self._beat, self._seen = state.get("beat", 0), time.monotonic()
                return ""
            found = self._batch.jobs([self._job]).get(self._job)
        except LineError as error:
            log.info("%s", error.message)
            return ""
        silent = time.monotonic() - self._seen
        if found is not None and found.exit_status == EXIT_ELSEWHERE:
            # The script was submitted twice, and the other job serves; only the beat tells of that one.
            return f"its state has not changed for {silent:.0f} s" if silent > SILENCE else ""
        if found is not None and found.state.ended:
            reason = f" ({found.reason})" if found.reason else ""
            return f"job {self._job} {found.state.value}{reason}"
        if found is None and silent > self._patience.not_found_for:
            return f"{self._batch.name} knows no job {self._job} any more"
        return ""

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads(self._files.read(f"{self._folder}/state"))
        except (FileMissing, ValueError):
            return {}
        return state if isinstance(state, dict) else {}


def _batch_of(host: Host, scheduler: str | None) -> BatchSystem:
    found = find_batch_system(host, scheduler)
    if found is not None:
        return found
    if Capability.BATCH in host.connector.capabilities:
        return host.connector.batch
    if Capability.EXECUTE in host.connector.capabilities:
        return BackgroundProcesses(host.connector)
    raise UsageError(
        f"{host.where}: its connector can neither execute commands nor submit jobs", "Give batch= a batch system."
    )
