"""The code that both sides have: modules made of source text, under names of their own.

What is defined there may be sent by name, and its instances as data, in both directions.
"""

import importlib.util
import linecache
import sys
from types import ModuleType
from typing import Any, Dict, List, Optional

from .object_exports import ServerObject, make_server_class, make_singleton
from .object_proxies import DefaultRemoteProxy, RemoteProxy, SelfIterProxy

AMBIENT: Dict[str, Any] = {
    "DefaultRemoteProxy": DefaultRemoteProxy,
    "RemoteProxy": RemoteProxy,
    "SelfIterProxy": SelfIterProxy,
    "ServerObject": ServerObject,
    "make_server_class": make_server_class,
    "make_singleton": make_singleton,
}
"""Names that common code finds without importing them."""

common_modules: Dict[str, ModuleType] = {}
"""The modules of common code, by name."""
_parts: Dict[str, int] = {}


def common_module(name: str) -> ModuleType:
    """Return the module of common code of that name, made where it is not there yet."""
    module = common_modules.get(name)
    if module is None:
        module = common_modules[name] = ModuleType(name, "Code that is defined on both sides.")
        vars(module).update(AMBIENT)
        sys.modules[name] = module
        _attach(name, module)
    return module


def _attach(name: str, module: ModuleType) -> None:
    """Make ``import`` find the module: as part of its parent, which is made up where it is not there."""
    parent, _, last = name.rpartition(".")
    if not parent:
        return
    if parent not in sys.modules:
        try:
            there: Optional[object] = importlib.util.find_spec(parent)
        except (AttributeError, ImportError, ValueError):
            there = None
        if there is None:
            made = ModuleType(parent)
            made.__path__ = []
            sys.modules[parent] = made
            _attach(parent, made)
    if parent in sys.modules:
        setattr(sys.modules[parent], last, module)


def define(name: str, source: str) -> None:
    """Run source text in the module of that name.  Tracebacks show its lines."""
    module = common_module(name)
    _parts[name] = _parts.get(name, 0) + 1
    file = "<{} {}>".format(name, _parts[name])
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    exec(compile(source, file, "exec"), vars(module))


def is_common(kind: Any) -> bool:
    """Say whether a class or function is one of the common ones: found in its module by its own name."""
    module = common_modules.get(getattr(kind, "__module__", None) or "")
    return module is not None and find(module, kind.__qualname__.split(".")) is kind


def find(start: Any, path: List[str]) -> Any:
    """Return what attribute names lead to; None where they lead nowhere."""
    for name in path:
        start = getattr(start, name, None)
    return start
