"""Finds the connector for a URL scheme among the installed entry points."""

from __future__ import annotations

from importlib.metadata import entry_points

from sremote.connectors.address import Address
from sremote.connectors.base import Connector
from sremote.connectors.errors import UsageError

GROUP = "sremote.connectors"
"""The entry point group: ``name`` is the URL scheme, the object is a Connector class."""


def schemes() -> list[str]:
    """Return the URL schemes that have a connector here, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def connector_class(scheme: str) -> type[Connector]:
    """Return the connector class of a scheme.  Raises UsageError where there is none."""
    for entry in entry_points(group=GROUP, name=scheme):
        loaded: type[Connector] = entry.load()
        return loaded
    raise UsageError(f"there is no connector for {scheme!r}", f"Those here: {', '.join(schemes())}.")


def make_connector(address: Address, **options: object) -> Connector:
    """Return an unconnected connector to ``address``; ``options`` are its class's keyword arguments.

    Raises UsageError where the class does not take such an option.
    """
    kind = connector_class(address.scheme)
    try:
        return kind(address, **options)  # type: ignore[arg-type]
    except TypeError as error:
        raise UsageError(f"{address}: {error}", f"See the options of the {address.scheme!r} connector.") from error
