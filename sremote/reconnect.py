"""Does a step again over a new connection, where the line dropped and the step may be done twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sremote.connectors.base import Connector
from sremote.errors import ConnectionLost, HostUnreachable

T = TypeVar("T")

RECONNECT_FOR = 30.0
"""Seconds for which a dropped line is tried again."""


def again(connector: Connector, step: Callable[[], T]) -> T:
    """Return what ``step`` returns, connecting before each try; raises the last error after RECONNECT_FOR."""
    from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

    def attempt() -> T:
        connector.connect()
        return step()

    retrying = Retrying(
        retry=retry_if_exception_type((ConnectionLost, HostUnreachable)),
        stop=stop_after_delay(RECONNECT_FOR),
        wait=wait_exponential(multiplier=0.1, max=5),
        reraise=True,
    )
    return retrying(attempt)
