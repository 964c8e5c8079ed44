"""Runs one request in a process of its own, and sees to it that a response is written.

``start`` forks the process that runs the function or command; it writes the
response itself.  ``conclude`` is for its parent: it writes the response that says
how the process ended where the process could not.
"""

import atexit
import contextlib
import io
import os
import signal
import sys
import tempfile
import threading
import time
from typing import Any, Callable, Dict, Mapping, NamedTuple, NoReturn, Optional, TextIO

from . import surroundings
from .errors import FormatError, SremoteError, ValueRefused
from .failures import describe
from .functions import Refusal, fresh_main, import_dill, load_function, undill
from .job import Job
from .processes import HOST
from .requirements import unmet
from .responses import respond
from .values import decode, encode
from .wire import Header, Message, parse

KILL_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""


class Running(NamedTuple):
    """A job whose process has been started."""

    job: Job
    request: Header
    pid: int
    started: float
    out_of_memory_kills: int


def read_request(job: Job) -> Message:
    """Return a job's request.  Raises FormatError where it is missing or not one."""
    try:
        with open(job.path("request"), "rb") as file:
            content = bytearray(os.fstat(file.fileno()).st_size)
            file.readinto(content)
    except OSError as error:
        raise FormatError("the request cannot be read: {}".format(error)) from None
    request = parse(content)
    header = request.header
    if header.get("format") != 1:
        raise FormatError("the request is of format {!r}, not 1".format(header.get("format")))
    if not isinstance(header.get("target"), dict) or "kind" not in header["target"]:
        raise FormatError("the request does not say what to run")
    if not isinstance(header.get("walltime", 0.0), (int, float, type(None))):
        raise FormatError("the request's walltime is {!r}".format(header["walltime"]))
    return request


def start(job: Job, request: Message, leave: Callable[[], None] = lambda: None) -> Running:
    """Fork the process that runs a request; there, ``leave`` gives up what belongs to the parent."""
    running = Running(job, request.header, 0, time.time(), _out_of_memory_kills())
    pid = os.fork()
    if pid == 0:
        _run(running, request, leave)
    return running._replace(pid=pid)


def kill(running: Running, signal_number: int) -> None:
    """Send a signal to the job's process and all its children."""
    for send in (os.killpg, os.kill):
        try:
            send(running.pid, signal_number)
            return
        except ProcessLookupError:
            continue


def conclude(running: Running, wait_status: int, walltime_exceeded: bool = False) -> bool:
    """Write the response for a process that has ended, unless it has written one itself.

    Returns False where the job is another process's, which had claimed it first.
    """
    job = running.job
    owner = job.owner()
    if owner is not None and (owner.get("host"), owner.get("pid")) != (HOST, running.pid):
        return False
    if job.finished():
        return True
    if walltime_exceeded:
        outcome: Dict[str, Any] = {"outcome": "walltime"}
    elif os.WIFSIGNALED(wait_status):
        number = os.WTERMSIG(wait_status)
        memory = number == signal.SIGKILL and _out_of_memory_kills() > running.out_of_memory_kills
        outcome = {"outcome": "killed", "signal": number, "out_of_memory": memory}
    else:
        outcome = {"outcome": "exited", "status": os.WEXITSTATUS(wait_status)}
    try:
        respond(job, running.request, started=running.started, **outcome)
    except OSError as error:
        sys.stderr.write("sremote: the response of {} cannot be written: {}\n".format(job.directory, error.strerror))
    return True


def _run(running: Running, request: Message, leave: Callable[[], None]) -> NoReturn:
    """Be the job's process: never returns, and leaves a response behind if it can."""
    job, header = running.job, running.request
    allowed = frozenset(header.get("allow") or ())
    message = Message({})
    outcome: Dict[str, Any]
    process = os.getpid()
    try:
        try:
            os.setsid()
            leave()
            _take_over(job, request)
            types_by_name = AllowedTypes(allowed)
            function, arguments, keywords = _prepare(request, types_by_name)
            result = function(*arguments, **keywords)
            _settle()
            outcome = _encode_result(header, message, result, allowed)
        except Refusal as refusal:
            outcome = {"outcome": "refused", "reason": refusal.reason, "text": str(refusal)}
        except SystemExit as leaving:
            _settle()
            outcome = {"outcome": "exited", "status": _exit_status(leaving)}
        except BaseException as error:
            _settle()
            outcome = {"outcome": "raised", "error": describe(error, message, allowed)}
        if os.getpid() != process:
            _end_fork(outcome)
        _flush()
        try:
            respond(job, header, started=running.started, message=message, **outcome)
        except OSError as error:  # the disk is full, say: without the value there may be room
            respond(job, header, started=running.started, outcome="unwritten", text=error.strerror)
        os._exit(0)
    except BaseException as error:  # the parent tries once more
        os.write(2, "sremote: cannot write the response: {}\n".format(error).encode())
    finally:
        os._exit(70)  # EX_SOFTWARE of sysexits.h


def _take_over(job: Job, request: Message) -> None:
    """Become the process of a job: claim it, and point the standard streams at its files."""
    try:
        if not job.claim() or job.finished():
            os._exit(0)
        _take_streams(job, request)
    except OSError as error:
        raise Refusal("host", "the job's files cannot be written: {}".format(error.strerror)) from None


def _end_fork(outcome: Mapping[str, Any]) -> NoReturn:
    """End a process that the user's code has forked and that came back here; the response is not its own to write."""
    if outcome["outcome"] == "raised":
        sys.stderr.write(outcome["error"]["traceback"])
    _flush()
    os._exit(outcome.get("status", 0 if outcome["outcome"] == "returned" else 1))


def _prepare(request: Message, types_by_name: Mapping[str, type]) -> Any:
    header = request.header
    try:
        surroundings.enter(header.get("surroundings") or {})
    except SremoteError as error:
        raise Refusal("directory", str(error)) from None
    missing = unmet(header.get("require") or {})
    if missing:
        raise Refusal("version", "; ".join(missing))
    fresh_main()
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
        return _become, arguments, keywords
    return load_function(request, types_by_name), arguments, keywords


def _become(*argv: str) -> NoReturn:
    """Replace this process by a command; its parent reports how that ends."""
    _flush()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(argv[0], list(argv))
    except OSError as error:
        raise Refusal("command", "{}: {}".format(argv[0], error.strerror)) from None


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


def _take_streams(job: Job, request: Message) -> None:
    """Point the standard streams at the job's files, for this process and its children."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        file = os.open(job.path(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    if request.has("stdin"):
        with tempfile.TemporaryFile(dir=job.directory) as stdin:
            stdin.write(request.get("stdin"))
            stdin.flush()
            stdin.seek(0)
            os.dup2(stdin.fileno(), 0)
    else:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _text_stream(1)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _text_stream(2)  # type: ignore[misc]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _text_stream(number: int) -> TextIO:
    binary = open(number, "wb", closefd=False)
    return io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _settle() -> None:
    """End as a script ends: wait for its threads, run what it registered with atexit."""
    shutdown: Optional[Callable[[], None]] = getattr(threading, "_shutdown", None)
    if shutdown is not None:
        shutdown()
    atexit._run_exitfuncs()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # the user's code closed or replaced it
            continue


def _exit_status(leaving: SystemExit) -> int:
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    with contextlib.suppress(Exception):
        print(leaving.code, file=sys.stderr)
    return 1


def _out_of_memory_kills() -> int:
    """Return how many processes this host's kernel has killed for want of memory (proc(5), vmstat)."""
    try:
        with open("/proc/vmstat") as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0
