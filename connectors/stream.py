"""The three verbs for every host that gives a command a two-way byte stream.

A connector derives from ``StreamConnector`` and writes ``connect``, ``close`` and
``open``.  Files travel through ``sh`` and ``cat``, so the host needs nothing else.

Three things are seen to here, once:

- Login scripts print.  Where a shell starts the command (``noisy``), a token that
  nobody can guess is printed on both streams right before it, and what came
  earlier is dropped.  That costs one ``exec`` of sh on the host, about 1 ms, and
  no round trip.  The command also begins in the home directory then.
- Lines are cut.  A file that is put is counted on the host before it is renamed
  into place; one that is got ends in a token, without which it is not whole.
- Pipes fill.  Input, output and errors move at once, in constant memory.
"""

from __future__ import annotations

import abc
import io
import posixpath
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Literal

from sremote.connectors.base import Capability, Completed, Connector, OutputSink, Process
from sremote.connectors.errors import (
    ConnectionLost,
    FileMissing,
    HostError,
    HostFull,
    LineTimeout,
    PermissionRefused,
    UsageError,
)
from sremote.connectors.quiet import QuietProcess, UpToToken, make_token, with_token
from sremote.connectors.shell import check_argv

CHUNK = 1 << 17
_SMALL = 1 << 12
"""Bytes of input that every pipe and channel takes at once, so that no thread is needed."""

_GO_HOME = 'LC_ALL=C; export LC_ALL; case $1 in /*) ;; *) cd "${HOME:?HOME is not set}" ;; esac || exit; '
_GET = _GO_HOME + 'cat "$1" && printf %s%s "$2" "$3"'
_PUT = (
    _GO_HOME
    + """umask 077
mkdir -p "$2" || exit
if [ -d "$1" ]; then echo 'Is a directory' >&2; exit 1; fi
trap 'rm -f "$3"' EXIT; trap 'exit 1' HUP INT TERM PIPE
cat >"$3" || exit
size=$(wc -c <"$3") || exit
if [ "$size" -ne "$4" ]; then exit 75; fi
chmod "$5" "$3" && mv -f "$3" "$1"
"""
)
_CUT = 75
"""The status of ``_PUT`` where fewer bytes came than were sent: sysexits.h's EX_TEMPFAIL."""

_REFUSALS: list[tuple[type[HostError], tuple[str, ...]]] = [
    (HostFull, ("No space left on device", "Disk quota exceeded", "Quota exceeded")),
    (PermissionRefused, ("Permission denied", "Operation not permitted", "Read-only file system")),
    (FileMissing, ("No such file or directory", "Directory nonexistent")),
]
"""What the C library calls errors in the C locale, alike on POSIX systems; the last is dash's own."""


class StreamConnector(Connector):
    """A connector whose host gives a command its three streams; subclasses write ``open``."""

    capabilities = Capability.EXECUTE | Capability.EXIT_STATUS | Capability.STREAM
    noisy: bool = True
    """Whether anything may be printed before the command, by login scripts or by the way there."""

    @abc.abstractmethod
    def open(self, argv: Sequence[str]) -> Process:
        """Start exactly ``argv`` on the host; where ``noisy``, its streams may begin with noise.

        A host that takes a line for its login shell gets ``command_line(argv)``.
        """

    def start(self, argv: Sequence[str]) -> Process:
        check_argv(argv)
        if not self.noisy:
            return self.open(argv)
        token = make_token()
        return QuietProcess(self.open(with_token(argv, token)), token, self.name)

    def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | BinaryIO = b"",
        output: OutputSink | None = None,
        timeout: float | None = None,
    ) -> Completed:
        stdout, stderr = io.BytesIO(), io.BytesIO()
        lock = threading.Lock()

        def sink(stream: Literal["stdout", "stderr"], data: bytes) -> None:
            if output is None:
                (stdout if stream == "stdout" else stderr).write(data)
                return
            with lock:
                output(stream, data)

        status = self._run(argv, stdin if isinstance(stdin, bytes) else _chunks(stdin), sink, timeout)
        return Completed(status, stdout.getvalue(), stderr.getvalue())

    def put(self, source: bytes | BinaryIO, path: str, *, mode: int = 0o600) -> None:
        place = from_home(path)
        folder = posixpath.dirname(place)
        partial = posixpath.join(folder, f".{secrets.token_hex(8)}.part")
        messages = bytearray()
        with _measured(source) as (stdin, size):
            script = ["/bin/sh", "-c", _PUT, "sh", place, folder, partial, str(size), f"{mode:o}"]
            status = self._run(script, stdin, lambda _, data: messages.extend(data))
        if status == _CUT:
            raise ConnectionLost(f"{self.name}: {path} was cut on its way; what stood there is as it was", "Try again.")
        if status != 0:
            raise refusal(self.name, "write", path, status, messages)

    def get(self, path: str, target: BinaryIO) -> None:
        token = make_token()
        content = UpToToken(target, token)
        messages = bytearray()

        def sink(stream: Literal["stdout", "stderr"], data: bytes) -> None:
            if stream == "stdout":
                content.write(data)
            else:
                messages.extend(data)

        status = self._run(["/bin/sh", "-c", _GET, "sh", from_home(path), *token], b"", sink)
        if status != 0:
            raise refusal(self.name, "read", path, status, messages)
        if not content.is_whole:
            raise ConnectionLost(f"{self.name}: {path} was cut on its way here", "Try again.")

    def _run(
        self,
        argv: Sequence[str],
        stdin: bytes | Iterator[bytes],
        sink: OutputSink,
        timeout: float | None = None,
    ) -> int:
        """Move all three streams of a command at once, and return its exit status."""
        deadline = _Deadline(timeout)
        process = self.start(argv)
        try:
            workers = [
                _Worker(process, lambda: _pump(process.read, lambda data: sink("stdout", data))),
                _Worker(process, lambda: _pump(process.read_stderr, lambda data: sink("stderr", data))),
            ]
            readers = tuple(workers)
            if isinstance(stdin, bytes) and len(stdin) <= _SMALL:
                _feed(process, iter((stdin,)))
            else:
                chunks = iter((stdin,)) if isinstance(stdin, bytes) else stdin
                workers.append(_Worker(process, lambda: _feed(process, chunks)))
            for reader in readers:
                reader.join(deadline.left())
                if reader.is_alive():
                    raise LineTimeout("")
            for worker in workers:
                if worker.error is not None:
                    raise worker.error
            return process.wait(deadline.left())
        except LineTimeout:
            if timeout is None:
                raise
            raise LineTimeout(
                f"{self.name}: {argv[0]} had not ended after {timeout:g} seconds; it may be running on there",
                "Give it a longer timeout.",
            ) from None
        finally:
            process.kill()


def refusal(name: str, verb: str, path: str, status: int, messages: bytes | bytearray) -> HostError:
    """Return the error that a script's messages and its status tell of, which failed to ``verb`` ``path``."""
    lines = [line for line in messages.decode(errors="replace").splitlines() if line.strip()]
    for kind, endings in _REFUSALS:
        for line in lines:
            if line.endswith(endings):
                return kind(f"{name}: cannot {verb} {path}: {line.rpartition(': ')[2]}")
    reason = lines[-1].rpartition(": ")[2] if lines else f"sh ended with status {status}"
    return HostError(f"{name}: cannot {verb} {path}: {reason}")


def from_home(path: str) -> str:
    """Return ``path`` as a host's programs take it: absolute, or beginning with ``./``.

    Relative paths start at the home directory, and so do those that begin with
    ``~/``.  Raises UsageError for a path that cannot be one.
    """
    if not path or "\0" in path:
        raise UsageError(f"{path!r} is not a path")
    if path.startswith("/"):
        return path
    return "./" + path.removeprefix("~/").lstrip("/") if path != "~" else "."


class _Worker(threading.Thread):
    """Moves one stream; an error ends the process, so that the other streams end too."""

    def __init__(self, process: Process, move: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.error: BaseException | None = None
        self._process = process
        self._move = move
        self.start()

    def run(self) -> None:
        try:
            self._move()
        except BaseException as error:
            self.error = error
            self._process.kill()


class _Deadline:
    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Return the seconds that are left, for a wait."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())


def _pump(read: Callable[[], bytes], take: Callable[[bytes], None]) -> None:
    while data := read():
        take(data)


def _feed(process: Process, chunks: Iterator[bytes]) -> None:
    """Send a command its input.  One that ends without reading it all is not an error."""
    try:
        for chunk in chunks:
            if chunk:
                process.write(chunk)
        process.close_stdin()
    except ConnectionLost:
        pass  # wait() knows whether the command ended or the line dropped


def _chunks(source: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    """Read a file, or ``size`` bytes of it, a piece at a time, without waiting for full pieces."""
    read = getattr(source, "read1", source.read)
    left = float("inf") if size is None else size
    while left > 0 and (data := read(int(min(CHUNK, left)))):
        left -= len(data)
        yield data


@contextmanager
def _measured(source: bytes | BinaryIO) -> Iterator[tuple[bytes | Iterator[bytes], int]]:
    """Give what to send and its size; a source that cannot seek is spooled to a file first."""
    if isinstance(source, bytes):
        yield source, len(source)
    elif source.seekable():
        start = source.tell()
        size = source.seek(0, io.SEEK_END) - start
        source.seek(start)
        yield _chunks(source, size), size
    else:
        with tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(source, spool, CHUNK)
            size = spool.tell()
            spool.seek(0)
            yield _chunks(spool, size), size
