"""How a function goes to the far side: by name, as source text, or by value with dill.

By name where it belongs to the standard library or an installed package.  As source
text where it has some: that works on every Python and takes along the user's own
functions and classes, which dill would only name.  By value with dill otherwise, where
both Pythons have the same minor version: bytecode of another one crashes the interpreter.
"""

from __future__ import annotations

import functools
import inspect
import io
import socket
import sys
import threading
import types
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from typing import Any

from sremote.by_value import dill_dumps, dill_origin, modules_named
from sremote.errors import UsageError, ValueRefused, VersionMismatch
from sremote.function_source import collect_source
from sremote.host import Host
from sremote.installed import installed_name, is_installed, unwrap
from sremote.interpreter.values import encode
from sremote.interpreter.wire import Header, Message
from sremote.source_text import NoSource

# What dill would take along by name or number, and which means nothing on another machine.
_TIED_TO_THIS_PROCESS = (
    *(io.IOBase, socket.socket, types.GeneratorType, types.TracebackType, types.FrameType),
    *(type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Event, threading.Thread),
)


def target_by_name(module: str, function: str) -> Header:
    """Return the target of a call to ``module.function``."""
    return {"kind": "name", "module": module, "function": function}


def add_function(
    message: Message,
    function: Callable[..., Any],
    host: Host,
    allowed: Mapping[str, type],
    values: Any = (),
) -> Header:
    """Add a local function to a request; return its target.

    It takes along the ``allowed`` types that occur in its arguments, ``values``.

    Raises ValueRefused or VersionMismatch where the function cannot go there, with
    what to do.
    """
    if not callable(function):
        raise UsageError(f"{function!r} is not a function")
    if isinstance(function, functools.partial):
        raise ValueRefused("a functools.partial cannot be sent", "Send the function, and its arguments beside it.")
    place = installed_name(function)
    if place is not None:
        return target_by_name(*place)
    inner = unwrap(function)
    if not isinstance(inner, types.FunctionType | types.MethodType):
        raise ValueRefused(f"{function!r} cannot be sent", "Send a function defined with def, which calls it.")
    _check_closure(inner)
    kinds = _types_in(values, {name: kind for name, kind in allowed.items() if not is_installed(kind.__module__)})
    try:
        source = collect_source(function, kinds)
    except ValueRefused as refused:
        if host.same_python():
            pickled = dill_dumps((function, {kind.__name__: kind for kind in kinds}))
            if all(is_installed(module) or module == "__main__" for module in modules_named(pickled)):
                message.add("function", pickled)
                return {"kind": "dill", **dill_origin(host)}
            raise
        if not isinstance(refused, NoSource):
            raise
        here, there = ".".join(map(str, sys.version_info[:2])), ".".join(map(str, host.probe().version[:2]))
        raise VersionMismatch(
            f"{refused.message}; and its bytecode cannot go to {host.name}, which has Python {there}, not {here}",
            refused.remedy,
        ) from None
    message.add("source", source.text.encode())
    if source.data:
        encode(message, "globals", source.data)
    return {"kind": "source", "name": source.name, "imports": source.imports, "module": inner.__module__}


def add_text(message: Message, source: str | types.ModuleType) -> None:
    """Add source text, or a module's, to a request for a channel, and its target.  Raises ValueRefused."""
    file = "<remote_exec>"
    text = source
    if isinstance(source, types.ModuleType):
        try:
            file, text = inspect.getsourcefile(source) or file, inspect.getsource(source)
        except (OSError, TypeError):
            raise ValueRefused(f"the module {source.__name__!r} has no source text that could be sent") from None
    message.header["target"] = {"kind": "text", "file": file}
    message.add("source", str(text).encode("utf-8", "surrogatepass"))


class _Noting(Container[str]):
    """The names of types that may travel; notes those that were asked for."""

    def __init__(self, names: Container[str]) -> None:
        self._names = names
        self.met: set[str] = set()

    def __contains__(self, name: object) -> bool:
        if name in self._names:
            self.met.add(str(name))
        return name in self._names


def _types_in(values: Any, allowed: Mapping[str, type]) -> tuple[type, ...]:
    """Return the ``allowed`` types that occur in ``values``."""
    noting = _Noting(allowed)
    if allowed:
        with suppress(ValueRefused):  # the request's own encoding says what is wrong
            encode(Message({}), "value", values, noting)
    return tuple(allowed[name] for name in sorted(noting.met))


def _check_closure(function: Callable[..., Any], seen: frozenset[Any] = frozenset()) -> None:
    """Raise ValueRefused where a function, or one of the user's that it uses, holds on to this process."""
    used = inspect.getclosurevars(function)
    for name, value in {**used.nonlocals, **used.globals}.items():
        if isinstance(value, _TIED_TO_THIS_PROCESS):
            kind = type(value).__name__
            raise ValueRefused(
                f"the function {function.__name__!r} cannot be sent: it uses {name!r}, a {kind} of this process",
                "Open or make it inside the function.",
            )
        if isinstance(value, types.FunctionType) and value not in seen and not is_installed(value.__module__):
            _check_closure(value, seen | {function, value})
