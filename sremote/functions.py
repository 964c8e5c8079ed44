"""How a function goes to the far side: by name, by value with dill, or as source text.

By name where it belongs to the standard library or an installed package.  By value
with dill where both Pythons have the same minor version, as bytecode of another
one crashes the interpreter.  As source text otherwise.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import io
import socket
import sys
import threading
import types
import warnings
import zipfile
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from sremote.errors import UsageError, ValueRefused, VersionMismatch
from sremote.function_source import collect_source, is_installed
from sremote.host import Host
from sremote.interpreter.values import encode
from sremote.interpreter.wire import Header, Message

# What dill would take along by name or number, and which means nothing on another machine.
_TIED_TO_THIS_PROCESS = (io.IOBase, socket.socket, types.GeneratorType, types.TracebackType, types.FrameType)

_warnings_filters = threading.Lock()
"""The filters are the whole process's."""


def target_by_name(module: str, function: str) -> Header:
    """Return the target of a call to ``module.function``."""
    return {"kind": "name", "module": module, "function": function}


def add_function(
    message: Message,
    function: Callable[..., Any],
    host: Host,
    allowed: Mapping[str, type],
) -> Header:
    """Add a local function to a request; return its target.

    Raises ValueRefused or
    VersionMismatch where the function cannot go there, with what to do.
    """
    if not callable(function):
        raise UsageError(f"{function!r} is not a function")
    if isinstance(function, functools.partial):
        raise ValueRefused("a functools.partial cannot be sent", "Send the function, and its arguments beside it.")
    module = getattr(function, "__module__", None) or "builtins"
    name = getattr(function, "__qualname__", "")
    if is_installed(module) and name and "<" not in name:
        return target_by_name(module, name)
    if not isinstance(function, types.FunctionType):
        raise ValueRefused(f"{function!r} cannot be sent", "Send a function defined with def, which calls it.")
    _check_closure(function)
    kinds = tuple(kind for kind in allowed.values() if not is_installed(kind.__module__))
    if host.same_python() and module == "__main__":
        with contextlib.suppress(ValueRefused):
            return _by_value(message, function, kinds, host)
    try:
        source = collect_source(function, kinds)
    except ValueRefused as refused:
        if host.same_python():
            return _by_value(message, function, kinds, host)
        here, there = ".".join(map(str, sys.version_info[:2])), ".".join(map(str, host.probe().version[:2]))
        raise VersionMismatch(
            f"{refused.message}; and its bytecode cannot go to {host.name}, which has Python {there}, not {here}",
            refused.remedy,
        ) from None
    message.add("source", source.text.encode())
    if source.data:
        encode(message, "globals", source.data)
    return {"kind": "source", "name": source.name, "imports": source.imports}


def _by_value(message: Message, function: Callable[..., Any], kinds: tuple[type, ...], host: Host) -> Header:
    message.add("function", dill_dumps((function, {kind.__name__: kind for kind in kinds})))
    return {"kind": "dill", **dill_origin(host)}


def dill_origin(host: Host) -> Header:
    """Return what the far side checks before it loads what was pickled with dill here; have dill there."""
    return {
        "python": list(sys.version_info[:2]),
        "implementation": sys.implementation.name,
        "dill": host.ensure_file(f"dill-{hashlib.sha256(dill_bundle()).hexdigest()[:16]}.zip", dill_bundle()),
    }


def dill_dumps(value: Any) -> bytes:
    """Pickle code and all with dill.  Raises ValueRefused where that cannot be."""
    import dill

    try:
        with _warnings_filters, warnings.catch_warnings():
            # It warns where what it wrote cannot be read elsewhere, as with the enums of __main__.
            warnings.simplefilter("error", dill.PicklingWarning)
            pickled: bytes = dill.dumps(value, protocol=4, recurse=True)
    except Exception as error:
        raise ValueRefused(
            f"dill cannot pickle it: {error}", "Send plain data and functions defined with def."
        ) from error
    return pickled


def _check_closure(function: Callable[..., Any]) -> None:
    seen = inspect.getclosurevars(function)
    for name, value in {**seen.nonlocals, **seen.globals}.items():
        if isinstance(value, _TIED_TO_THIS_PROCESS):
            kind = type(value).__name__
            raise ValueRefused(
                f"the function {function.__name__!r} cannot be sent: it uses {name!r}, a {kind} of this process",
                "Open or make it inside the function.",
            )


@functools.cache
def dill_bundle() -> bytes:
    """Return dill as a zip that the far side can import from."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for item in sorted(resources.files("dill").iterdir(), key=lambda item: item.name):
            if item.name.endswith(".py"):
                archive.writestr(zipfile.ZipInfo(f"dill/{item.name}"), item.read_bytes(), zipfile.ZIP_DEFLATED)
    return target.getvalue()
