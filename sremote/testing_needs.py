"""Marks the tests of ``sremote.testing`` that apply only to some connectors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sremote.connectors.base import Capability, Connector

PATIENCE = 60.0
"""Seconds after which something that should happen at once counts as hanging."""

_Test = TypeVar("_Test", bound=Callable[..., object])


def needs(*wanted: Capability | type[Connector]) -> Callable[[_Test], _Test]:
    """Mark a test that applies only to connectors with a capability, or of a kind."""

    def mark(test: _Test) -> _Test:
        test.needs = wanted  # type: ignore[attr-defined]
        return test

    return mark


def has(kind: type[Connector], wanted: Capability | type[Connector]) -> bool:
    """Say whether a class of connectors has a capability, or is of a kind."""
    return wanted in kind.capabilities if isinstance(wanted, Capability) else issubclass(kind, wanted)


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; fail where it does not come about."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)
