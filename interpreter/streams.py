"""The standard streams of a process that runs the user's code."""

import io
import os
import signal
import sys
import tempfile
from typing import Any, List

from .job import Job
from .wire import Message


def take_streams(job: Job, request: Message) -> None:
    """Point the standard streams at the job's files, for this process and its children."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        _put(os.open(job.path(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    if request.has("stdin"):
        with tempfile.TemporaryFile(dir=job.directory) as stdin:
            stdin.write(request.get("stdin"))
            stdin.flush()
            stdin.seek(0)
            os.dup2(stdin.fileno(), 0)
    else:
        _put(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = text_stream(1)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = text_stream(2)  # type: ignore[misc]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _put(file: int, number: int) -> None:
    """Move a file descriptor to ``number``, where it may have landed already if that was closed."""
    if file == number:
        os.set_inheritable(file, True)
    else:
        os.dup2(file, number)
        os.close(file)


def text_stream(number: int) -> io.TextIOWrapper:
    """Return a stream of text lines to a file descriptor; what UTF-8 cannot say is escaped."""
    binary = open(number, "wb", closefd=False)
    return io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def flush() -> None:
    """Write out what Python still holds of the standard streams, whatever the user's code did to them."""
    streams: List[Any] = [sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__]
    for stream in streams:
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # the user's code closed or replaced it
            continue
