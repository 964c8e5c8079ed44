"""Common code: what is defined here and on every host that is asked to take it."""

from __future__ import annotations

import textwrap
from types import ModuleType

from sremote.interpreter import object_definitions

DEFAULT_NAME = "sremote.objects.remote_code"
"""The module that common code is in unless it is given another name."""

_sources: dict[str, list[str]] = {}
_local: set[str] = set()


def define_common(code: str, name: str = DEFAULT_NAME, local: bool = True) -> ModuleType:
    """Define functions and classes on both sides: run ``code`` here, in the module ``name``, and keep it for hosts.

    A host takes it when a client connects, or with ``update_definitions``.  Its names
    are common: instances of its classes travel as data, its functions and classes by name.  Without
    ``local`` it is run on hosts only, and what it defines cannot come back.
    """
    code = textwrap.dedent(code)
    module = object_definitions.common_module(name)
    if local:
        object_definitions.define(name, code)
        _local.add(name)
    _sources.setdefault(name, []).append(code)
    return module


def definitions_module(name: str) -> ModuleType:
    """Return the module of common code of that name, which may be empty so far."""
    _sources.setdefault(name, [])
    return object_definitions.common_module(name)


def modules_for(definitions: str) -> list[str]:
    """Return the modules that a client takes to its host: its own, last, and those that are here, too."""
    return [*sorted(_local - {definitions}), definitions]


def sources(name: str) -> list[str]:
    """Return the texts of a module of common code, in order."""
    return _sources.get(name, [])
