"""Code by value, with dill: for a far side whose Python has this one's minor version.

The far side gets dill as a zip, once, and checks the versions before it loads anything.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pickletools
import sys
import threading
import warnings
import zipfile
from importlib import resources
from typing import Any

from sremote.errors import ValueRefused
from sremote.host import Host
from sremote.interpreter.wire import Header

_warnings_filters = threading.Lock()
"""The filters are the whole process's."""


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


def modules_named(pickled: bytes) -> set[str]:
    """Return the modules that a pickle of protocol 4 only names, so that they must be there."""
    found = set()
    pushed: list[str] = []
    """What the opcodes have put onto the stack: the strings, and "" for all else."""
    memo: list[str] = []
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "MEMOIZE":
            memo.append(pushed[-1])
            continue
        if opcode.name == "STACK_GLOBAL":
            found.add(pushed[-2])
        if opcode.name.endswith("BINGET") and isinstance(argument, int):
            pushed.append(memo[argument])
        elif opcode.name != "FRAME":
            pushed.append(argument if isinstance(argument, str) else "")
    return found


@functools.cache
def dill_bundle() -> bytes:
    """Return dill as a zip that the far side can import from."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for item in sorted(resources.files("dill").iterdir(), key=lambda item: item.name):
            if item.name.endswith(".py"):
                archive.writestr(zipfile.ZipInfo(f"dill/{item.name}"), item.read_bytes(), zipfile.ZIP_DEFLATED)
    return target.getvalue()
