"""Finds the batch system of a host: the connector's own, the one that was named, or the one that is there."""

from __future__ import annotations

import functools

from sremote.connectors.base import Capability
from sremote.connectors.batch import BatchSystem
from sremote.errors import NotInstalled, UsageError
from sremote.host import Host
from sremote.schedulers.adapter import Adapter
from sremote.schedulers.commands import CommandBatchSystem
from sremote.schedulers.registry import make_adapter, scheduler_names

AUTO = "auto"
"""Stands for the batch system that a host has, whichever that is."""
_LAST = "flux"
"""Its commands are installed at sites with another scheduler, too."""
_LOOK = 'for name; do command -v "$name" >/dev/null 2>&1 && printf "found %s\\n" "$name"; done; true'


def find_batch_system(host: Host, scheduler: str | None) -> BatchSystem | None:
    """Return a host's batch system; None for None, and for ``auto`` where it has none.

    A gateway's own queue is its only one.  The commands are looked for as other
    commands of the host are, and where they are not found, as a login shell does;
    they are then run in the same way.  Raises UsageError where there is no such
    scheduler, NotInstalled where the host has not the one that was named.
    """
    if scheduler is None:
        return None
    if Capability.BATCH in host.connector.capabilities:
        batch = host.connector.batch
        if scheduler not in (AUTO, batch.name):
            raise UsageError(f"{host.where}: its batch system is {batch.name}, not {scheduler}", "Say 'auto'.")
        return batch
    names = scheduler_names() if scheduler == AUTO else [scheduler]
    # "slurm" goes before those whose commands it comes with imitations of.
    adapters = sorted(
        (make_adapter(name) for name in names), key=lambda each: (each.name == _LAST, each.name != "slurm")
    )
    for login in (False, True):
        for adapter in _installed(host, adapters, login=login):
            system = CommandBatchSystem(adapter, functools.partial(host.execute, login=login), host.where)
            if scheduler != AUTO or system.is_there():
                return system
    if scheduler == AUTO:
        return None
    raise NotInstalled(
        f"{host.where}: there is no {scheduler} there; looked for {' and '.join(adapters[0].programs)}",
        "Load it with preamble='module load …', or say scheduler='auto'.",
    )


def _installed(host: Host, adapters: list[Adapter], *, login: bool) -> list[Adapter]:
    programs = sorted({program for adapter in adapters for program in adapter.programs})
    done = host.execute(["sh", "-c", _LOOK, "sh", *programs], timeout=60, login=login)
    if done.status != 0:
        raise host.failure_to_start(done, "cannot look for a scheduler")
    found = {line.partition(b" ")[2].decode() for line in done.stdout.splitlines() if line.startswith(b"found ")}
    return [adapter for adapter in adapters if found.issuperset(adapter.programs)]
