"""A function as source text, with all that it refers to, for a far side of another Python.

The function's own text, that of the user's functions and classes that it uses,
the names of the modules it uses, and the plain data among its globals and closure.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import re
import symtable
import sys
import sysconfig
import textwrap
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sremote.errors import ValueRefused
from sremote.interpreter.values import encode
from sremote.interpreter.wire import Message

_ALLOW = re.compile(r"^@(\w+\.)?allow[ \t]*\n", re.MULTILINE)
"""``@sremote.allow`` above a class: the host has no sremote to import, and needs no leave."""


@dataclass
class Source:
    """What is sent for one function."""

    name: str
    texts: dict[str, str] = field(default_factory=dict)
    """The source of each function and class, by the name it is bound to; what others need comes first."""
    imports: dict[str, str] = field(default_factory=dict)
    """Names bound to ``module`` or ``module:attribute``."""
    data: dict[str, Any] = field(default_factory=dict)
    """Names bound to plain data."""

    @property
    def text(self) -> str:
        """All the source text."""
        return "\n\n".join(self.texts.values())


def is_installed(module_name: str) -> bool:
    """Say whether a module is of the standard library or an installed package, so that it goes by name."""
    if module_name.partition(".")[0] in sys.stdlib_module_names:
        return module_name != "__main__"
    file = getattr(sys.modules.get(module_name), "__file__", None)
    return file is not None and any(Path(file).is_relative_to(folder) for folder in _installed_folders())


@functools.cache
def _installed_folders() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib"))


def collect_source(function: Callable[..., Any], types: tuple[type, ...] = ()) -> Source:
    """Return the source of ``function`` and of what it uses; ``types`` come along too.

    Raises ValueRefused, naming what cannot be sent and what to do instead.
    """
    name = function.__name__
    source = Source("_sremote_lambda" if name == "<lambda>" else name)
    for kind in types:
        _add(source, kind.__name__, kind, function)
    _add(source, source.name, function, function)
    return source


def _add(source: Source, name: str, value: Any, function: Callable[..., Any]) -> None:
    """Make ``name`` mean ``value`` over there."""
    if name in source.texts or name in source.imports or name in source.data:
        return
    if isinstance(value, types.ModuleType):
        if not is_installed(value.__name__):
            _refuse(
                function, f"uses your module {value.__name__!r} as a whole", "Import from it what it needs by name."
            )
        source.imports[name] = value.__name__
        return
    module = getattr(value, "__module__", None)
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType) and module is not None:
        if is_installed(module):
            source.imports[name] = f"{module}:{value.__qualname__}"
        else:
            _add_text(source, name, value, function)
        return
    try:
        encode(Message({}), "value", value)
    except ValueRefused as error:
        _refuse(function, f"uses {name!r}: {error.message}", "Make it an argument, or make it inside the function.")
    source.data[name] = value


def _add_text(source: Source, name: str, value: Any, function: Callable[..., Any]) -> None:
    text = _text(name, value, function)
    source.texts[name] = ""  # a function that refers to itself ends here
    for used in _names_used(text):
        found, referent = _look_up(value, used)
        if found and referent is not value:
            _add(source, used, referent, function)
    del source.texts[name]
    source.texts[name] = text


def _text(name: str, value: Any, function: Callable[..., Any]) -> str:
    try:
        text = textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError):
        _refuse(function, f"has no source text for {name!r}", "Define it in a file.")
    if isinstance(value, type):
        text = _ALLOW.sub("", text)
    if getattr(value, "__name__", "") == "<lambda>":
        return f"{name} = {_lambda_text(text, value, function)}\n"
    if value.__name__ != name:
        text += f"\n{name} = {value.__name__}\n"
    return text


def _lambda_text(text: str, value: types.FunctionType, function: Callable[..., Any]) -> str:
    """Return the text of a lambda out of the lines that it stands in."""
    candidates = []
    for start in range(len(text)):
        if text.startswith("lambda", start):
            for end in range(len(text), start, -1):
                try:
                    code = compile(text[start:end].strip(), "", "eval")
                except SyntaxError:
                    continue
                if code.co_consts and isinstance(code.co_consts[0], types.CodeType):
                    candidates.append((code.co_consts[0], text[start:end].strip()))
                break
    same = {found for code, found in candidates if _same_code(code, value.__code__)}
    if len(same) != 1:
        _refuse(function, "is a lambda whose text cannot be told apart from its line", "Define it with def.")
    return f"({same.pop()})"


def _same_code(first: types.CodeType, second: types.CodeType) -> bool:
    names = [code.co_names + code.co_freevars for code in (first, second)]
    return (
        sorted(names[0]) == sorted(names[1])
        and first.co_varnames == second.co_varnames
        and [constant for constant in first.co_consts if not isinstance(constant, types.CodeType)]
        == [constant for constant in second.co_consts if not isinstance(constant, types.CodeType)]
    )


def _names_used(text: str) -> Iterator[str]:
    """Yield the global names that a definition refers to; those of annotations do not count."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    seen = set()
    tables = [symtable.symtable(ast.unparse(tree), "<function>", "exec")]
    for table in tables:
        tables.extend(table.get_children())
        for symbol in table.get_symbols():
            outer = symbol.is_global() or (table.get_type() == "module" and not symbol.is_assigned())
            if symbol.is_referenced() and outer and symbol.get_name() not in seen:
                seen.add(symbol.get_name())
                yield symbol.get_name()


def _look_up(value: Any, name: str) -> tuple[bool, Any]:
    """Return whether ``name``, as ``value``'s code sees it, is more than a builtin, and what it is."""
    if isinstance(value, type):
        space = vars(sys.modules[value.__module__])
    else:
        cells = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
        if name in cells:
            try:
                return True, cells[name].cell_contents
            except ValueError:
                return False, None
        space = value.__globals__
    if name in space and space[name] is not getattr(builtins, name, None):
        return True, space[name]
    return False, None


def _refuse(function: Callable[..., Any], why: str, remedy: str) -> Any:
    raise ValueRefused(f"the function {function.__name__!r} cannot be sent: it {why}", remedy)
