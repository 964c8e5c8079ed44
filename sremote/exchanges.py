"""Chooses how calls go to a host, by what its connector can do."""

from __future__ import annotations

from sremote.batch_exchange import BatchExchange
from sremote.connectors.base import Capability, Connector
from sremote.connectors.through_batch import ThroughBatch
from sremote.exchange import FileExchange
from sremote.host import Host
from sremote.stream_exchange import StreamExchange


def exchange_for(host: Host) -> StreamExchange | FileExchange:
    """Return the fastest exchange that a host's connector allows.  Raises UsageError where there is none."""
    if Capability.STREAM in host.connector.capabilities:
        return StreamExchange(host)
    if isinstance(host.connector, ThroughBatch):
        return BatchExchange(host, host.connector)
    return FileExchange(host)


def with_execute(connector: Connector, root: str) -> Connector:
    """Return a connector that can execute commands: this one, or this one by way of its batch system."""
    if Capability.EXECUTE in connector.capabilities or Capability.BATCH not in connector.capabilities:
        return connector
    return ThroughBatch(
        connector,
        folder=f"{root.removeprefix('~/')}/batch",
        resources=getattr(connector, "resources", None),
        patience=getattr(connector, "patience", None),
    )
