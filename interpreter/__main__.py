"""Starts the interpreter from wherever this folder stands, without leaving a trace on ``sys.path``."""

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = "sremote_interpreter"


def load() -> None:
    """Make this folder the package ``sremote_interpreter``."""
    spec = importlib.util.spec_from_file_location(
        PACKAGE, os.path.join(HERE, "__init__.py"), submodule_search_locations=[HERE]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]  # this folder: its modules must not hide the user's
    load()
    module = ".trees" if sys.argv[1:2] == ["--tree"] else ".main"
    sys.exit(importlib.import_module(PACKAGE + module).main(sys.argv[1:]))
