"""What names mean to the requests of remote objects: common code first, then modules, then builtins."""

import builtins
import importlib
import linecache
import sys
from types import ModuleType
from typing import Any, Optional

from .object_definitions import common_module, define, find, is_common
from .object_values import CALL, NAME, NEW, Entry, kind_of

BASIC = (
    bool,
    bytearray,
    bytes,
    complex,
    dict,
    float,
    frozenset,
    int,
    list,
    object,
    set,
    slice,
    str,
    tuple,
    type(None),
)


class _Return(BaseException):
    """Ends a block with a value."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class Scope:
    """The names of one client; ``definitions`` is its module of common code."""

    def __init__(self, definitions: str) -> None:
        self._module = common_module(definitions)
        self._blocks = 0

    def find(self, name: str) -> Any:
        """Return what a dotted name means.  Raises AttributeError or ImportError."""
        first, *rest = name.split(".")
        if hasattr(self._module, first):
            return _follow(getattr(self._module, first), first, rest)
        if first not in sys.modules and hasattr(builtins, first) and not rest:
            return getattr(builtins, first)
        try:
            found: Any = importlib.import_module(first)
        except ImportError as error:
            if error.name == first:
                raise AttributeError(
                    "there is no {!r} here: neither in {} nor a module".format(first, self._module.__name__)
                ) from None
            raise
        return _follow(found, first, rest)

    def assign(self, name: str, value: Any) -> None:
        """Set what a dotted name means; a name alone is one of the common code."""
        start, _, last = name.rpartition(".")
        setattr(self.find(start) if start else self._module, last, value)

    def evaluate(self, source: str) -> Any:
        """Return the value of an expression, in the module of common code."""
        return eval(source, vars(self._module))

    def execute(self, source: str) -> Any:
        """Run a block in the module of common code; return what it gives to ``exec_return``."""
        self._blocks += 1
        file = "<block {}>".format(self._blocks)
        linecache.cache[file] = (len(source), None, source.splitlines(True), file)
        vars(self._module)["exec_return"] = _exec_return
        try:
            exec(compile(source, file, "exec"), vars(self._module))
        except _Return as returned:
            return returned.value
        return None

    def define(self, name: str, source: str) -> None:
        """Run source text in a module of common code."""
        define(name, source)

    def import_module(self, name: str) -> None:
        """Import a module, and have its first name mean it."""
        importlib.import_module(name)
        first = name.partition(".")[0]
        setattr(self._module, first, sys.modules[first])


def _exec_return(value: Any = None) -> None:
    raise _Return(value)


def _follow(found: Any, name: str, rest: Any) -> Any:
    for part in rest:
        name = "{}.{}".format(name, part)
        try:
            found = getattr(found, part)
        except AttributeError:
            if not isinstance(found, ModuleType):
                raise
            try:
                found = importlib.import_module("{}.{}".format(found.__name__, part))
            except ImportError:
                raise AttributeError("module {!r} has no {!r}".format(found.__name__, part)) from None
    return found


def describe_value(value: Any) -> Optional[Entry]:
    """Return how something of the common code stands beside a value; None for anything else."""
    if isinstance(value, type):
        return (NAME, "{}:{}".format(value.__module__, value.__qualname__)) if _has_name(value) else None
    if isinstance(value, ModuleType):
        return NAME, "{}:".format(value.__name__)
    kind = type(value)
    if is_common(kind):
        return kind_of(value), "{}:{}".format(kind.__module__, kind.__qualname__)
    if callable(value) and hasattr(value, "__qualname__") and is_common(value):
        return NAME, "{}:{}".format(value.__module__, value.__qualname__)
    return None


def _has_name(kind: type) -> bool:
    return is_common(kind) or kind in BASIC or issubclass(kind, BaseException) and kind.__module__ == "builtins"


def load(kind: str, name: str) -> Any:
    """Return what stands under a name; what the client asks for is code anyway."""
    module_name, _, path = name.partition(":")
    if kind not in (NAME, NEW, CALL):
        raise ValueError("an unknown way to stand beside a value: {!r}".format(kind))
    module = sys.modules.get(module_name) or importlib.import_module(module_name)
    found = find(module, path.split(".")) if path else module
    if found is None:
        raise AttributeError("there is no {} here: call update_definitions()".format(name.replace(":", ".")))
    return found
