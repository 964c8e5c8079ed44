"""Tells what comes from the standard library or an installed package, so that it can go by name."""

from __future__ import annotations

import functools
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def is_installed(module_name: str) -> bool:
    """Say whether a module is of the standard library or an installed package."""
    top = module_name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return module_name != "__main__"
    if top == "sremote":  # which every job can import, see interpreter/progress.py
        return True
    module = sys.modules.get(module_name)
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return file is not None and any(Path(file).is_relative_to(folder) for folder in _installed_folders())


def installed_name(value: Any) -> tuple[str, str] | None:
    """Return the module and the dotted name by which an installed package has this very function or class."""
    if not callable(value):
        return None
    for home, name in _candidates(value):
        if isinstance(home, str) and isinstance(name, str) and is_installed(home):
            for module in _packages_and(home):
                found: Any = sys.modules.get(module)
                for part in name.split("."):
                    found = getattr(found, part, None)
                if found is value or (_owner(found) is _owner(value) is not None and found == value):
                    return module, name
    return None


def _packages_and(module: str) -> list[str]:
    """Return the packages that hold a module, and it: what is private to one Python is often public in its package."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def unwrap(value: Any) -> Any:
    """Return the user's function that decorators have wrapped; a wrapper of an installed function is the user's."""
    while hasattr(value, "__wrapped__") and not is_installed(str(value.__wrapped__.__module__)):
        value = value.__wrapped__
    return value


def _candidates(value: Any) -> Iterator[tuple[Any, Any]]:
    name = getattr(value, "__name__", None)
    home = getattr(value, "__objclass__", value)  # methods of built-in types know their class only
    yield getattr(home, "__module__", None), getattr(value, "__qualname__", name)
    owner = _owner(value)
    if isinstance(owner, type):  # a class method; its own names are those of the class that defines it
        yield owner.__module__, f"{owner.__qualname__}.{name}"
    elif owner is not None:  # such as random.randint, which is bound to a generator that the module keeps
        yield type(owner).__module__, name
    else:  # such as numpy's ufuncs
        yield type(value).__module__, name


def _owner(value: Any) -> Any:
    return getattr(value, "__self__", None)


@functools.cache
def _installed_folders() -> tuple[Path, ...]:
    own = [sysconfig.get_path(name) for name in ("purelib", "platlib")]
    return tuple({Path(folder) for folder in (*own, *site.getsitepackages(), site.getusersitepackages())})
