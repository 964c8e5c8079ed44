"""The line of Python that starts a module of this folder with the fewest imports."""


def start_line(module: str) -> str:
    """Return what ``python -c LINE FOLDER ARGUMENT...`` needs to run ``main(ARGUMENT...)`` of a module in FOLDER."""
    return (
        'import sys; p = type(sys)("sremote_interpreter"); p.__path__ = [sys.argv[1]]; sys.modules[p.__name__] = p; '
        "from sremote_interpreter.{} import main; sys.exit(main(*sys.argv[2:]))"
    ).format(module)
