"""Values of remote calls on this side: what goes there, and what may come back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from sremote.allowed import allowed_types
from sremote.errors import ValueRefused
from sremote.interpreter.constructors import reduction
from sremote.interpreter.object_definitions import common_modules, find, is_common
from sremote.interpreter.object_proxies import RemoteProxy
from sremote.interpreter.object_scope import BASIC
from sremote.interpreter.object_values import CALL, NAME, NEW, OBJECT, Entry, Table, kind_of, read, write
from sremote.interpreter.values import type_name
from sremote.interpreter.wire import Buffer, Message
from sremote.objects.names import RemoteName
from sremote.pickle_grammar import check_pickle

_BASIC_NAMES = {f"builtins:{kind.__name__}": kind for kind in BASIC}


def write_request(request: list[Any], client: object) -> list[Buffer]:
    """Return a request as buffers.  Raises ValueRefused, naming what cannot go there."""

    def refer_object(value: Any) -> tuple[str, int] | None:
        if not isinstance(value, RemoteProxy):
            return None
        if value._remote_client is not client:
            raise ValueRefused(f"{value!r} belongs to another client", "Send it over the client that it came from.")
        return OBJECT, value._remote_number

    return write(request, {}, allowed_types, Table(refer_object, _describe))


def _describe(value: Any) -> Entry | None:
    """Return how a value that is not plain data goes there: by the name that it has here."""
    if isinstance(value, RemoteName):
        return _named(value._path)
    if isinstance(value, ModuleType):
        return NAME, f"{value.__name__}:"
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return NAME, _name_of(value)
    kind = type(value)
    if is_common(kind):
        return kind_of(value), type_name(kind)
    name = type_name(kind)
    if reduction(value, name, allowed_types) is not None or not _is_known(kind):
        return None
    try:
        return kind_of(value), name
    except Exception:
        return None  # which says by name that it cannot travel


def _is_known(kind: type) -> bool:
    """Say whether the host may know a class by its name."""
    if kind.__module__ == "builtins":
        return issubclass(kind, BaseException)
    return kind.__module__ != "__main__" and "<locals>" not in kind.__qualname__


def _named(path: str) -> Entry:
    module, _, rest = path.partition(".")
    return NAME, f"{module}:{rest}"


def _name_of(value: Any) -> str:
    module = getattr(value, "__module__", None) or "builtins"
    name: str = value.__qualname__
    here = sys.modules.get(module)
    if module == "__main__" or find(here, name.split(".")) is not value:
        raise ValueRefused(
            f"{name} of {module} has no name that the host knows", "Define it in common: define_common(source)."
        )
    return f"{module}:{name}"


def read_answer(data: Buffer, resolve: Callable[[str, int], Any], name: Callable[[str], Any]) -> tuple[Any, Message]:
    """Return the value of an answer, and its message; ``name`` makes what stands for a module.

    Raises ValueRefused where it holds what was not defined in common, FormatError
    where it is damaged.
    """

    def load(kind: str, full: str) -> Any:
        module, _, path = full.partition(":")
        if kind == NAME and not path:
            return name(module)
        if kind == NAME and full in _BASIC_NAMES:
            return _BASIC_NAMES[full]
        if kind == NAME and module == "builtins":
            found = find(sys.modules["builtins"], [path])
            if isinstance(found, type) and issubclass(found, BaseException):
                return found
        found = find(common_modules.get(module), path.split("."))
        if found is None or not is_common(found) or (kind in (NEW, CALL) and not isinstance(found, type)):
            raise ValueRefused(
                f"the value refers to {module}.{path}, which is not defined in common",
                "Define it with define_common(source), or return plain data.",
            )
        return found

    return read(data, allowed_types, resolve, load, check_pickle)


def without_traceback(kind: type[BaseException] | None, error: BaseException | None, _: object) -> list[Any]:
    """Return the arguments of ``__exit__`` as they can travel; an error unknown to the host becomes one it knows."""
    if error is None or kind is None:
        return [None, None, None]
    if kind is type(error) and (_is_known(kind) or is_common(kind)):
        return [kind, error, None]
    known = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    return [known, known(f"{kind.__name__}: {error}"), None]
