"""The process that runs a worker's tasks, one after the other; the worker replaces it when it dies.

The worker hands tasks out through a pipe, a token each.  The pipe is what decides: a
token is read by this process, which then runs the task, or is read back by the worker,
which then gives the task to others.
"""

import contextlib
import fcntl
import os
import select
import signal
import struct
import sys
import tempfile
import time
from typing import Any, List, NamedTuple, NoReturn, Optional

from .functions import fresh_main
from .queue_journal import Journal
from .queue_perform import die_with_parent, perform
from .queue_segments import SegmentFiles
from .queue_tasks import StoredTask
from .wire import Message

TOKEN = struct.Struct(">IIIII")
"""Claim, task, attempt, the entry that added the task, and which of that entry's it is."""
TAIL = 16 << 10
"""Bytes of a task's stdout, and of its stderr, that are kept: the last ones."""
EXIT_JOURNAL = 74
"""EX_IOERR of sysexits.h: nothing could be recorded."""
_TERMINATED = (
    {"outcome": "killed", "signal": int(signal.SIGTERM)},
    {"outcome": "exited", "status": 128 + signal.SIGTERM},
)
"""How a command ends that is told to; a shell says it with its exit status."""
TOLD_SOON = 1.0
"""Seconds within which this process is told to end as well where all processes of a job are."""
STOPPED_SOON = 5.0
"""Seconds for a worker to end its executor once both have been told to stop."""


class Outputs:
    """Where tasks print: two files without names, so that nothing is left of them."""

    def __init__(self) -> None:
        self.files = [tempfile.TemporaryFile() for _ in ("stdout", "stderr")]
        for file in self.files:  # several processes write to it, and it is emptied in between
            fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)

    def close(self) -> None:
        """Close the files, which are gone then."""
        for file in self.files:
            file.close()

    def take(self, message: Message) -> None:
        """Add what was printed to a result, and empty the files."""
        for name, file in zip(("stdout", "stderr"), self.files):
            descriptor = file.fileno()
            size = os.fstat(descriptor).st_size
            if size:
                message.add(name, os.pread(descriptor, TAIL, max(0, size - TAIL)))
                os.ftruncate(descriptor, 0)
            if size > TAIL:
                message.header.setdefault("omitted", {})[name] = size - TAIL


class Token(NamedTuple):
    """A task that is handed out."""

    claim: int
    task: int
    attempt: int
    entry: int
    offset: int


class Executor:
    """Lives in the forked process.  ``tokens`` and ``notices`` are its ends of the pipes."""

    def __init__(self, folder: str, journal: Journal, outputs: Outputs, tokens: int, notices: int) -> None:
        self._journal = journal
        self._outputs = outputs
        self._tokens = tokens
        self._notices = notices
        self._segments = SegmentFiles(folder)
        self._place = os.getcwd()
        self._stopping = False

    def run(self) -> NoReturn:
        """Run tasks until there are no more."""
        status = 70  # EX_SOFTWARE of sysexits.h
        try:
            self._settle_in()
            while True:
                token = self._next()
                if token is None:
                    os._exit(0)
                try:
                    self._journal.start(token.claim, token.task)
                except OSError:
                    os._exit(EXIT_JOURNAL)
                self._perform(token)
        except OSError as error:
            os.write(2, "sremote: {}\n".format(error).encode())
            status = EXIT_JOURNAL
        finally:
            os._exit(status)

    def _settle_in(self) -> None:
        os.setpgid(0, 0)  # so that it can be ended with all its children, and with nothing else
        die_with_parent(signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for name in (signal.SIGINT, signal.SIGCHLD, signal.SIGALRM):
            signal.signal(name, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, self._stop)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, output in enumerate(self._outputs.files, 1):
            os.dup2(output.fileno(), number)
        self._open_streams()
        fresh_main()

    def _open_streams(self) -> None:
        self._streams = [
            open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False) for number in (1, 2)
        ]
        sys.stdout, sys.stderr = self._streams
        sys.__stdout__, sys.__stderr__ = self._streams  # type: ignore[misc]

    def _flush(self) -> None:
        """Write out what the task has printed, and give the next one streams as it expects them."""
        for stream in (sys.stdout, sys.stderr, *self._streams):
            with contextlib.suppress(AttributeError, ValueError, OSError):  # it is not one, is closed, has no room
                stream.flush()
        if [sys.stdout, sys.stderr] != self._streams or any(stream.closed for stream in self._streams):
            self._open_streams()

    def _stop(self, *_: Any) -> None:
        self._stopping = True

    def _next(self) -> Optional[Token]:
        while True:
            try:
                data = os.read(self._tokens, TOKEN.size)
                return Token(*TOKEN.unpack(data)) if data else None
            except BlockingIOError:
                os.write(self._notices, b".")
                select.select([self._tokens], [], [])

    def _perform(self, token: Token) -> None:
        os.environ["SREMOTE_TASK"] = str(token.task)
        os.environ["SREMOTE_ATTEMPT"] = str(token.attempt)
        began = time.monotonic()
        stored, allow = self._read(token)
        result, succeeded = perform(stored.request({"allow": allow}))
        self._flush()
        self._outputs.take(result)
        seconds = time.monotonic() - began
        if result.header in _TERMINATED and not self._stopping:
            time.sleep(TOLD_SOON)
        if self._stopping:
            # What stops a whole job has stopped the task: the worker, which has been told as well, ends this process.
            time.sleep(STOPPED_SOON)
            self._stopping = False
        try:
            self._journal.finish(token.claim, token.task, result, succeeded, seconds)
        except OSError:  # the disk is full, say: without the result there may be room
            self._journal.finish(token.claim, token.task, Message({"outcome": "unwritten"}), False, seconds)
        if result.header["outcome"] == "walltime":
            os.killpg(0, signal.SIGKILL)  # this process too: what the task has started must end with it
        if os.getcwd() != self._place:
            os.chdir(self._place)

    def _read(self, token: Token) -> "tuple[StoredTask, List[str]]":
        reader = self._segments.read(token.entry)
        return reader[token.offset], reader.header["allow"]
