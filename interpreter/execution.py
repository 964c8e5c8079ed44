"""Carries out a request in this process, and says as data what came of it."""

import contextlib
import os
import signal
import subprocess
import sys
from typing import Any, Callable, Dict, List, Mapping, NoReturn, Sequence, Tuple

from . import surroundings
from .errors import FormatError, SremoteError, ValueRefused
from .failures import describe
from .functions import Refusal, fresh_main, import_dill, load_function, undill
from .processes import out_of_memory_kills
from .progress import offer_progress, progress
from .requirements import unmet
from .streams import flush
from .values import decode, encode
from .wire import Header, Message


def carry_out(
    request: Message,
    response: Message,
    enter: Callable[[], None] = lambda: None,
    settle: Callable[[], None] = lambda: None,
) -> Dict[str, Any]:
    """Call the function that ``request`` is for; return the outcome's part of a response's header.

    The value, or what the exception held, is added to ``response``.  ``enter`` comes
    first and may raise Refusal; ``settle`` comes when the user's code has ended.
    """
    allowed = frozenset(request.header.get("allow") or ())
    done: List[Any] = []
    try:
        enter()
        function, arguments, keywords = _load(request, AllowedTypes(allowed))
        if function is _become and request.header.get("durable"):
            return _outcome_of_command(arguments)
        if request.header.get("each"):
            _call_each(function, arguments[0], keywords, done)
            result: Any = done
        else:
            result = function(*arguments, **keywords)
        settle()
        return _encode_result(request.header, response, result, allowed)
    except Refusal as refusal:
        return {"outcome": "refused", "reason": refusal.reason, "text": str(refusal)}
    except SystemExit as leaving:
        settle()
        return {"outcome": "exited", "status": _exit_status(leaving)}
    except BaseException as error:
        settle()
        if done:
            with contextlib.suppress(ValueRefused):
                encode(response, "done", done, allowed)
        return {"outcome": "raised", "error": describe(error, response, allowed)}


def prepare(header: Header) -> None:
    """Take on the surroundings that a request asks for, and see that what it requires is here.  Raises Refusal."""
    try:
        surroundings.enter(header.get("surroundings") or {})
    except SremoteError as error:
        raise Refusal("directory", str(error)) from None
    missing = unmet(header.get("require") or {})
    if missing:
        raise Refusal("version", "; ".join(missing))
    fresh_main()
    offer_progress()


def _load(request: Message, types_by_name: Mapping[str, type]) -> Tuple[Callable[..., Any], Any, Any]:
    """Return the function of a request, and its arguments.  Raises Refusal."""
    header = request.header
    try:
        if header.get("encoding") == "dill":
            arguments, keywords = undill(request.get("value"), header["dill"])
        elif header["target"]["kind"] in ("source", "dill"):
            # The code may bring the classes of its arguments along.
            function = load_function(request, types_by_name)
            arguments, keywords = decode(request, "value", types_by_name)
            return function, arguments, keywords
        else:
            arguments, keywords = decode(request, "value", types_by_name)
    except (FormatError, ValueRefused) as error:
        raise Refusal("arguments", "the arguments cannot be read here: {}".format(error)) from None
    if header["target"]["kind"] == "command":
        return _become, list((header.get("launch") or {}).get("launcher", [])) + list(arguments), keywords
    return load_function(request, types_by_name), arguments, keywords


def _become(*argv: str) -> NoReturn:
    """Replace this process by a command; its parent reports how that ends."""
    flush()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(argv[0], list(argv))
    except OSError as error:
        raise Refusal("command", "{}: {}".format(argv[0], error.strerror)) from None


def _call_each(function: Callable[..., Any], items: Sequence[Any], keywords: Any, done: List[Any]) -> None:
    """Call a function with each of many lists of arguments; ``done`` gets the values as they come."""
    for arguments in items:
        done.append(function(*arguments, **keywords))
        progress(len(done), len(items))


def _outcome_of_command(argv: Sequence[str]) -> Dict[str, Any]:
    """Run a command as a child, so that this process says how it ended even where its own parent has gone."""
    flush()
    kills = out_of_memory_kills()
    try:
        status = subprocess.Popen(list(argv)).wait()
    except OSError as error:
        raise Refusal("command", "{}: {}".format(argv[0], error.strerror)) from None
    if status >= 0:
        return {"outcome": "exited", "status": status}
    memory = status == -signal.SIGKILL and out_of_memory_kills() > kills
    return {"outcome": "killed", "signal": -status, "out_of_memory": memory}


def _encode_result(header: Header, message: Message, result: Any, allowed: Any) -> Dict[str, Any]:
    if header.get("encoding") == "dill":
        message.add("value", import_dill(header["dill"]["dill"]).dumps(result, recurse=True))
        return {"outcome": "returned", "encoding": "dill"}
    try:
        encode(message, "value", result, allowed)
    except ValueRefused as error:
        del message.sections[:]
        return {"outcome": "unencodable", "text": error.message}
    return {"outcome": "returned"}


def _exit_status(leaving: SystemExit) -> int:
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    with contextlib.suppress(Exception):
        print(leaving.code, file=sys.stderr)
    return 1


class AllowedTypes(Mapping[str, type]):
    """The user's own types by name, imported when one is met."""

    def __init__(self, names: "frozenset[str]") -> None:
        self._names = names

    def __getitem__(self, name: str) -> type:
        if name not in self._names:
            raise KeyError(name)
        module, _, qualname = name.partition(":")
        sent = getattr(sys.modules["__main__"], qualname, None)
        if isinstance(sent, type):
            return sent
        try:
            __import__(module)
            found: Any = sys.modules[module]
            for part in qualname.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError):
            raise ValueRefused("there is no {} here".format(name.replace(":", "."))) from None
        return found  # type: ignore[no-any-return]

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
