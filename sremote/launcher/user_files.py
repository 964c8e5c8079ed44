"""Runs the user's files: the configuration, the muddler and the argument parser.

What goes wrong in them becomes a UsageError that begins with their file and line.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sremote.errors import UsageError
from sremote.launcher.configuration import LOCAL_HOST, Component, Config
from sremote.launcher.options import LaunchOptions
from sremote.launcher.source_files import util

_PYTHON_2 = {
    "xrange": "range",
    "unicode": "str",
    "basestring": "str",
    "raw_input": "input",
    "file": "open",
    "execfile": "exec",
    "long": "int",
    "reduce": "functools.reduce",
}


def load_configuration(path: Path, options: LaunchOptions) -> Config:
    """Return the configuration of a file, after the muddler; nothing of it has been checked.

    Raises UsageError with the file and line where one of the user's files fails.
    """
    path = _found(path, "configuration")
    namespace = options.namespace(path)
    extra_options = None
    if options.extra_args is not None and options.arg_parser is not None:
        parse = _function_of(_found(options.arg_parser, "arg parser"), "parse_args", {})
        extra_options = parse(options.extra_args, options.user)
    names = {"Component": Component, "util": util, "options": namespace, "extra_options": extra_options}
    config = Config()
    with _working_in(path.parent):
        content = _run(path, {**names, "config": config, LOCAL_HOST: LOCAL_HOST})
    config = content["config"]
    if not isinstance(config, Config):
        raise UsageError(f"{path}: 'config' is not the one that was given", "Add components to it; do not replace it.")
    if options.muddler is not None:
        _function_of(_found(options.muddler, "muddler"), "muddle", names)(config)
    return config


def _found(path: Path, what: str) -> Path:
    full = Path(os.path.expandvars(path)).expanduser().resolve()
    if not full.is_file():
        raise UsageError(f"there is no {what} file {path}")
    return full


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Have the user's file find files and modules beside it."""
    before = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))
        os.chdir(before)


def _function_of(path: Path, name: str, names: dict[str, Any]) -> Callable[..., Any]:
    """Return a function that a file defines; what it raises has the file and line, too."""
    function = _run(path, dict(names)).get(name)
    if not callable(function):
        raise UsageError(f"{path} defines no function {name}")

    def call(*arguments: object) -> Any:
        with _telling(path):
            return function(*arguments)

    return call


def _run(path: Path, names: dict[str, Any]) -> dict[str, Any]:
    names = {"__name__": path.stem, "__file__": str(path), **names}
    with _telling(path):
        exec(compile(path.read_bytes(), str(path), "exec"), names)  # noqa: S102  # the user's own program
    return names


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn what the user's file raises into a UsageError that says where."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            yield
    except SyntaxError as error:
        place = f"{error.filename or path}:{error.lineno}"
        remedy = "It looks like Python 2; python3 reads it now." if "print" in str(error.msg) else None
        raise UsageError(f"{place}: {error.msg}", remedy) from error
    except SystemExit as leaving:
        if leaving.code in (None, 0):
            raise
        said = leaving.code if isinstance(leaving.code, str) else printed.getvalue().strip().rpartition("\n")[2]
        printed.truncate(0)
        raise UsageError(f"{_place(path, leaving)}: {said or f'it ended with status {leaving.code}'}") from leaving
    except Exception as error:
        what = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        raise UsageError(f"{_place(path, error)}: {what}", _remedy(error)) from error
    finally:
        sys.stderr.write(printed.getvalue())


def _place(path: Path, error: BaseException) -> str:
    """Return file and line of the deepest step that is the user's own."""
    steps = traceback.extract_tb(error.__traceback__)
    own = [step for step in steps if Path(step.filename) == path]
    others = [step for step in steps if Path(step.filename).parent == path.parent]
    step = (others or own or steps)[-1]
    return f"{step.filename}:{step.lineno}"


def _remedy(error: Exception) -> str | None:
    if isinstance(error, NameError) and error.name in _PYTHON_2:
        return f"That is Python 2; in Python 3 it is {_PYTHON_2[error.name]}."
    if isinstance(error, AttributeError) and error.name in ("iteritems", "itervalues", "iterkeys", "has_key"):
        return f"That is Python 2; in Python 3 it is {error.name.removeprefix('iter').replace('has_key', 'in')}."
    return None
