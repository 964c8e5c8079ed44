"""A function as source text, with all that it refers to, for a far side of another Python.

The function's own text, that of the user's functions and classes that it uses,
the names of what it uses of installed packages, and the plain data among its
globals, its closure and its default arguments.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import logging
import re
import symtable
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sremote.errors import ValueRefused
from sremote.installed import installed_name, is_installed, unwrap
from sremote.interpreter.values import encode
from sremote.interpreter.wire import Message
from sremote.source_text import Definition, NoSource

_FUTURE = "from __future__ import annotations"


@dataclass
class Source:
    """What is sent for one function."""

    name: str
    texts: dict[str, str] = field(default_factory=dict)
    """The source of each function and class, by the name it is bound to; what others need comes first."""
    imports: dict[str, str] = field(default_factory=dict)
    """Names bound to ``module`` or ``module:attribute``; a dotted name is only imported."""
    data: dict[str, Any] = field(default_factory=dict)
    """Names bound to plain data."""
    meanings: dict[str, Any] = field(default_factory=dict)
    """What each of all these names means here."""

    @property
    def text(self) -> str:
        """All the source text."""
        return "\n\n".join(self.texts.values())


def collect_source(function: Callable[..., Any], types: tuple[type, ...] = ()) -> Source:
    """Return the source of ``function`` and of what it uses; ``types`` come along too.

    Raises ValueRefused, naming what cannot be sent and what to do instead.
    """
    bound = isinstance(function, _METHOD)
    name = "_sremote_function" if bound or function.__name__ == "<lambda>" else function.__name__
    return _Collector(function, Source(name)).collect(types)


_METHOD = types.MethodType


class _Collector:
    """Fills a ``Source``; ``function`` is the one that is to be sent."""

    def __init__(self, function: Callable[..., Any], source: Source) -> None:
        self._function = function
        self._source = source

    def collect(self, kinds: tuple[type, ...]) -> Source:
        for kind in kinds:
            self._add(kind.__name__, kind)
        self._add(self._source.name, self._function)
        return self._source

    def _add(self, name: str, value: Any) -> None:
        """Make ``name`` mean ``value`` over there."""
        source = self._source
        if name in source.meanings:
            if not _same(source.meanings[name], value):
                self._refuse(f"uses two different things called {name!r}", "Rename one; give decorators @wraps.")
            return
        source.meanings[name] = value
        place = installed_name(value)
        if place is not None:
            source.imports[name] = ":".join(place)
        elif isinstance(value, types.ModuleType):
            if not is_installed(value.__name__):
                self._refuse(f"uses your module {value.__name__!r} as a whole", "Import what it needs by name.")
            source.imports[name] = value.__name__
        elif isinstance(value, _METHOD):
            self._add_method(name, value)
        elif isinstance(value, type | types.FunctionType) or hasattr(value, "__wrapped__"):
            self._add_definition(name, value)
        elif isinstance(value, logging.Logger):
            source.texts[name] = f"{name} = __import__('logging').getLogger({value.name!r})\n"
        elif isinstance(value, re.Pattern):
            source.texts[name] = f"{name} = __import__('re').compile({value.pattern!r}, {int(value.flags)})\n"
        else:
            self._add_data(name, value)

    def _add_data(self, name: str, value: Any) -> None:
        try:
            encode(Message({}), "value", value)
        except ValueRefused as error:
            self._refuse(f"uses {name!r}: {error.message}", "Make it an argument, or make it inside the function.")
        self._source.data[name] = value

    def _add_method(self, name: str, method: types.MethodType) -> None:
        owner: Any = method.__self__
        if not isinstance(owner, type):
            function = f"{type(owner).__qualname__}.{method.__name__}"
            self._refuse(f"is bound to a {type(owner).__name__}", f"Send {function}, and the object as its argument.")
        self._add(owner.__name__, owner)
        self._source.texts[name] = f"{name} = {owner.__name__}.{method.__name__}\n"

    def _add_definition(self, name: str, value: Any) -> None:
        """Add the text of a function or class, behind that of all it refers to."""
        try:
            definition = Definition.of(value)
        except NoSource as error:
            raise NoSource(
                f"the function {self._function.__name__!r} cannot be sent: it needs {name!r}, {error.message}",
                error.remedy,
            ) from None
        inner = unwrap(value)
        if isinstance(inner, types.FunctionType):
            if _has_lost_decorators(value, inner):
                definition.drop_decorators()
            for argument, default in definition.replace_defaults(inner, f"_sremote_{name}_"):
                self._add(argument, default)
        elif _postpones_annotations(value):
            self._source.texts = {_FUTURE: _FUTURE, **self._source.texts}
        definition.rename(name)
        self._source.texts[name] = ""  # a function that refers to itself ends here
        own_names = []
        for used in _names_used(definition.tree):
            found, referent = _look_up(inner, used)
            if found and referent is not value:
                self._add(used, referent)
                self._import_submodules(definition.tree, used, referent)
            elif found and used != name:
                own_names.append(used)
        del self._source.texts[name]
        self._source.texts[name] = definition.text
        for other in own_names:
            self._source.meanings[other] = value
            self._source.texts[other] = f"{other} = {name}\n"

    def _import_submodules(self, tree: ast.AST, name: str, value: Any) -> None:
        """Have ``urllib.request`` imported where the text says that and ``urllib`` is what it imports."""
        for node in ast.walk(tree) if isinstance(value, types.ModuleType) else ():
            parts = _dotted(node)
            if parts[:1] != [name]:
                continue
            module = value.__name__
            for part in parts[1:]:
                module += f".{part}"
                if isinstance(sys.modules.get(module), types.ModuleType):
                    self._source.imports[module] = module

    def _refuse(self, why: str, remedy: str) -> Any:
        raise ValueRefused(f"the function {self._function.__name__!r} cannot be sent: it {why}", remedy)


def _same(first: Any, second: Any) -> bool:
    plain = isinstance(first, str | bytes | int | float) and type(first) is type(second)
    return first is second or (plain and bool(first == second))


def _has_lost_decorators(value: Any, inner: types.FunctionType) -> bool:
    """Say whether the decorators above a function made something else, so that they are not part of it."""
    return value is inner and inner.__globals__.get(inner.__name__) is not inner


def _postpones_annotations(kind: type) -> bool:
    return getattr(sys.modules.get(kind.__module__), "annotations", None) is __future__.annotations


def _dotted(node: ast.AST) -> list[str]:
    """Return the names in an expression such as ``urllib.request.urlopen``; none where it is another."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (front := _dotted(node.value)):
        return [*front, node.attr]
    return []


def _names_used(tree: ast.Module) -> Iterator[str]:
    """Yield the global names that a definition refers to; those of functions' annotations do not count."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
            node.body = [_LocalAnnotations().visit(statement) for statement in node.body]
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


class _LocalAnnotations(ast.NodeTransformer):
    """Empties the annotations of a function's variables, which nothing evaluates; those of classes stay."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def _look_up(value: Any, name: str) -> tuple[bool, Any]:
    """Return whether ``name``, as ``value``'s code sees it, is more than a builtin, and what it is."""
    if isinstance(value, types.FunctionType):
        cells = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
        if name in cells:
            try:
                return True, cells[name].cell_contents
            except ValueError:
                return False, None
        space = value.__globals__
    else:
        space = vars(sys.modules.get(value.__module__, builtins))
    if name in space and space[name] is not getattr(builtins, name, None):
        return True, space[name]
    return False, None
