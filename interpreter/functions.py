"""Finds the function that a request is for: by name, as source text, or by value with dill."""

import ast
import builtins
import functools
import importlib
import linecache
import sys
import types
from typing import Any, Callable, Dict, Mapping, Optional

from .errors import SremoteError
from .values import decode
from .wire import Header, Message


class Refusal(SremoteError):
    """A request that was not run; ``reason`` is one of the words that docs/formats.md lists."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def load_function(
    request: Message, types_by_name: Mapping[str, type], space: Optional[Dict[str, Any]] = None
) -> Callable[..., Any]:
    """Return the function of a request's ``target``.  Raises Refusal where it cannot be had here.

    Source text is executed in ``space``; by default that is ``__main__``'s.
    """
    target = request.header["target"]
    if target["kind"] == "name":
        return find_function(target["module"], target["function"])
    if target["kind"] == "source":
        return _from_source(request, target, types_by_name, space)
    if target["kind"] == "dill":
        function, classes = undill(request.get("function"), target)
        vars(sys.modules["__main__"]).update(classes)
        return function  # type: ignore[no-any-return]
    raise Refusal("request", "this interpreter knows no target of kind {!r}".format(target["kind"]))


def find_function(module_name: str, function_name: str) -> Callable[..., Any]:
    """Return a function of a module, imported where it is not yet.  Raises Refusal where it is not here."""
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(missing + "."):
            raise Refusal("module", "there is no module {!r} for {}".format(module_name, sys.executable)) from None
        raise
    for part in function_name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise Refusal("function", "module {!r} has no {!r}".format(module_name, function_name)) from None
    if not callable(found):
        raise Refusal("function", "{}.{} is not a function".format(module_name, function_name))
    return found  # type: ignore[no-any-return]


def _from_source(
    request: Message, target: Header, types_by_name: Mapping[str, type], space: Optional[Dict[str, Any]]
) -> Callable[..., Any]:
    text = bytes(request.get("source")).decode("utf-8")
    main = vars(sys.modules["__main__"])
    space = main if space is None else space
    for alias, name in target.get("imports", {}).items():
        module_name, _, attribute = name.partition(":")
        space[alias] = _by_name_value(module_name, attribute)
    if request.has("globals"):
        space.update(decode(request, "globals", types_by_name))
    name = "<{} from {}>".format(target["name"], request.header.get("client", "the client"))
    # Tracebacks show the lines of the function though no file holds them.
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    try:
        tree = _without_annotations(ast.parse(text, name))
        exec(compile(tree, name, "exec"), space)
    except SyntaxError as error:
        version = "{}.{}".format(*sys.version_info[:2])
        raise Refusal("code", "Python {} cannot read the function's source: {}".format(version, error)) from None
    own = "{}:".format(target.get("module"))
    # Of classes that share a name, that of the function's own module is the one that came along: it is last, and stays.
    for allowed in sorted(request.header.get("allow") or (), key=lambda allowed: bool(allowed.startswith(own))):
        module_name, _, qualname = allowed.partition(":")
        if isinstance(space.get(qualname), type):
            space[qualname].__module__ = module_name
            main[qualname] = space[qualname]
    return space[target["name"]]  # type: ignore[no-any-return]


def _without_annotations(tree: ast.Module) -> ast.Module:
    """Remove functions' annotations: they may name what only the client has, and nothing here needs them."""
    if sys.version_info < (3, 7):  # which does not know that import
        tree.body = [node for node in tree.body if getattr(node, "module", "") != "__future__"]
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return tree


def _by_name_value(module_name: str, attribute: str) -> Any:
    try:
        module = importlib.import_module(module_name)
        return functools.reduce(getattr, attribute.split("."), module) if attribute else module
    except (ImportError, AttributeError) as error:
        raise Refusal("module", "the function needs {}: {}".format(module_name, error)) from None


def undill(data: memoryview, target: Header) -> Any:
    """Return what was pickled with dill.  ``target`` names the ``python`` [major, minor] and ``implementation``
    that wrote it, and the ``dill`` zip to use.

    Bytecode of another minor version crashes the interpreter instead of failing,
    so it is refused here even if a client should send it.
    """
    here = list(sys.version_info[:2])
    if target["python"] != here or target["implementation"] != sys.implementation.name:
        raise Refusal(
            "code",
            "code pickled by {} {}.{} cannot run on {} {}.{}".format(
                target["implementation"], *(target["python"] + [sys.implementation.name] + here)
            ),
        )
    dill = import_dill(target["dill"])
    try:
        return dill.loads(bytes(data))
    except (ImportError, AttributeError) as error:
        raise Refusal("module", "what was sent needs something that is not here: {}".format(error)) from None


def import_dill(path: str) -> Any:
    """Return dill as the client shipped it in the zip at ``path``."""
    if "dill" not in sys.modules:
        sys.path.insert(0, path)
        try:
            importlib.import_module("dill")
        except ImportError as error:
            raise Refusal("code", "dill is not at {}: {}".format(path, error)) from None
        finally:
            sys.path.remove(path)
    return sys.modules["dill"]


def fresh_main() -> None:
    """Give this process an empty ``__main__``, for what the user's code defines there."""
    module = types.ModuleType("__main__")
    vars(module)["__builtins__"] = builtins
    sys.modules["__main__"] = module
