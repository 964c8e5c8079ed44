"""The three verbs through a NEWT gateway that has commands and files and no more.

Small files and small output travel within a command's line and answer, one request
each.  Larger ones go as files of the gateway through the spool, a folder below the
home directory, and their checksums are compared where the host can make them.
"""

from __future__ import annotations

import io
import math
import posixpath
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from sremote.connectors.base import Completed, OutputSink
from sremote.connectors.errors import ConnectionLost, HostError, LineError, LineTimeout
from sremote.connectors.http_body import Source, content, measured
from sremote.connectors.http_session import TRIES, HttpSession
from sremote.connectors.newt_dialect import Ask, CommandOutput
from sremote.connectors.newt_wrapper import INPUT_LIMIT, Answer, Left, bare_line, read_answer, wrapped_line
from sremote.connectors.shell import check_argv
from sremote.connectors.stream import from_home, refusal

if TYPE_CHECKING:
    import requests

SPOOL = ".sremote/spool"
"""The folder for what is on its way, below the home directory there."""
ASK_AGAIN = 20
"""Seconds that one request waits for a command; gateways and proxies cut what takes a minute."""
_DROP = 64
"""How much is removed from the spool with one command."""
_SMALL_FILE = 1 << 15
"""Bytes of a file that is got within a command's answer."""
_COPIED = 1 << 26
"""Bytes of a file of another file system that is copied into the spool; a larger one is read where it lies."""
_STALE = 7
"""Days after which what a client left in the spool is removed."""

_PREPARE = (
    'umask 077; cd && mkdir -p "$1" || exit; find "$1" -mindepth 1 -maxdepth 1 -mtime +"$2" -exec rm -rf {} + '
    '2>/dev/null; printf "\\n%s %s\\n" "$3" "$(pwd)"'
)
_PUT = """
LC_ALL=C; export LC_ALL
umask 077
place=$1 folder=$2 partial=$3 size=$4 mode=$5 input=$6 digest=$7
case $place in /*) ;; *) cd "${HOME:?HOME is not set}" ;; esac || exit
home=$HOME
mkdir -p "$folder" || exit
if [ -d "$place" ]; then echo 'Is a directory' >&2; exit 1; fi
trap 'rm -f "$partial"' EXIT; trap 'exit 1' HUP INT TERM PIPE
if [ -n "$input" ]; then mv -f "$home/$input" "$partial" || exit; else cat >"$partial" || exit; fi
found=$(wc -c <"$partial") || exit
if [ "$found" -ne "$size" ]; then exit 75; fi
found=$({ sha256sum || shasum -a 256 || openssl dgst -sha256 -r; } <"$partial" 2>/dev/null | cut -c1-64)
if [ -n "$found" ] && [ "$found" != "$digest" ]; then exit 75; fi
chmod "$mode" "$partial" && mv -f "$partial" "$place"
"""
_GET = """
LC_ALL=C; export LC_ALL
case $1 in /*) ;; *) cd "${HOME:?HOME is not set}" ;; esac || exit
if [ -d "$1" ] || [ ! -r "$1" ]; then cat "$1" >/dev/null; exit 1; fi
exec <"$1" || exit
size=$(($(wc -c <"$1")))
if [ "$size" -le "$2" ]; then echo here; exec cat; fi
case $1 in /*) full=$1 ;; *) full=$(pwd)/$1 ;; esac
if ! ln "$full" "$HOME/$3" 2>/dev/null; then
    if [ "$size" -le "$4" ]; then cat >"$HOME/$3"; else ln -s "$full" "$HOME/$3"; fi || exit
fi
digest=$({ sha256sum || shasum -a 256 || openssl dgst -sha256 -r; } <"$HOME/$3" 2>/dev/null | cut -c1-64)
printf 'left %s %s' "$(($(wc -c <"$HOME/$3")))" "$digest"
"""
_CUT = 75
"""What ``_PUT`` ends with where other bytes came than were sent: sysexits.h's EX_TEMPFAIL."""


class Carrier(Protocol):
    """A gateway's way to commands and files: a NEWT dialect, or another gateway with as little."""

    def command(self, ask: Ask, line: str, *, timeout: float) -> CommandOutput: ...

    def file_path(self, path: str) -> str: ...

    def read(self, ask: Ask, path: str, *, timeout: float) -> requests.Response: ...

    def check(self, answer: requests.Response, deed: str) -> None: ...


class PlainNewt:
    """The verbs, over ``dialect`` and ``ask``; ``http`` tells the timeouts and how messages call the host."""

    def __init__(self, http: HttpSession, dialect: Carrier, ask: Ask) -> None:
        self._http = http
        self._dialect = dialect
        self._ask = ask
        self._lock = threading.Lock()
        self._answered: list[str] = []
        """What may be removed from the spool."""
        self._sent_again: set[str] = set()
        self._home: str | None = None

    @property
    def _where(self) -> str:
        return self._http.name

    @property
    def home(self) -> str:
        """The home directory there, once prepared."""
        assert self._home is not None
        return self._home

    def execute(
        self, argv: Sequence[str], stdin: bytes | BinaryIO, output: OutputSink | None, timeout: float | None
    ) -> Completed:
        """Run a command, as ``Connector.execute`` says."""
        check_argv(argv)
        self.prepare()
        token = secrets.token_hex(8)
        with measured(stdin) as source:
            small, file = self._place(source, token)
        end = math.inf if timeout is None else time.monotonic() + timeout
        answer = self._command(argv, token, _seconds(end), small, file, source.size)
        while answer.running:
            if time.monotonic() >= end:
                raise LineTimeout(
                    f"{self._where}: {argv[0]} had not ended after {timeout:g} seconds; it may be running on there",
                    "Give it a longer timeout.",
                )
            answer = self._command([], token, _seconds(end))
        if answer.missing:
            raise ConnectionLost(f"{self._where}: the folder of a command that was running is gone: ~/{SPOOL}/{token}")
        if answer.cut:
            raise ConnectionLost(f"{self._where}: the command's input was cut on its way; it was not started")
        stdout = self._output(answer.stdout, "stdout", token, output)
        stderr = self._output(answer.stderr, "stderr", token, output)
        self._done_with(token)
        return Completed(answer.status, stdout, stderr)

    def put(self, source: bytes | BinaryIO, path: str, mode: int) -> None:
        """Write a file, as ``Connector.put`` says."""
        self.prepare()
        place = from_home(path)
        folder = posixpath.dirname(place)
        token = secrets.token_hex(8)
        partial = posixpath.join(folder, f".{token}.part")
        with measured(source) as measure:
            small, file = self._place(measure, token)
        numbers = [str(measure.size), f"{mode:o}", file, measure.sha256]
        script = ["/bin/sh", "-c", _PUT, "sh", place, folder, partial, *numbers]
        done = self.execute(script, small, None, None)
        if done.status == _CUT:
            raise ConnectionLost(
                f"{self._where}: {path} was cut on its way; what stood there is as it was", "Try again."
            )
        if done.status != 0:
            if file:
                self._done_with(token)
            raise refusal(self._where, "write", path, done.status, done.stderr)

    def get(self, path: str, target: BinaryIO) -> None:
        """Copy a file into ``target``, as ``Connector.get`` says."""
        self.prepare()
        link = secrets.token_hex(8)
        script = ["/bin/sh", "-c", _GET, "sh", from_home(path), str(_SMALL_FILE), f"{SPOOL}/{link}", str(_COPIED)]
        done = self.execute(script, b"", None, None)
        if done.status != 0:
            raise refusal(self._where, "read", path, done.status, done.stderr)
        kind, newline, rest = done.stdout.partition(b"\n")
        if kind == b"here" and newline:
            target.write(rest)
            return
        _, size, *digest = done.stdout.decode("ascii").split()
        try:
            self._fetch(f"{self._home}/{SPOOL}/{link}", Left(int(size), "".join(digest)), target.write)
        finally:
            self._done_with(link)

    def prepare(self) -> None:
        """Have the spool there and know the home directory; nothing where that is done."""
        if self._home is not None:
            return
        with self._lock:
            if self._home is None:
                self._home = self._make_spool()

    def close(self) -> None:
        """Remove from the spool what is left of finished commands, as far as the line carries that."""
        with self._lock:
            answered, self._answered = self._answered, []
        if answered:
            line = wrapped_line([], secrets.token_hex(8), spool=SPOOL, seconds=0, drop=answered)
            with suppress(LineError, HostError):
                self._dialect.command(self._ask, line, timeout=self._http.connect_timeout)

    def _make_spool(self) -> str:
        token = secrets.token_hex(8)
        line = bare_line(["/bin/sh", "-c", _PREPARE, "sh", SPOOL, str(_STALE), token])
        said = self._dialect.command(self._ask, line, timeout=self._http.connect_timeout)
        _, found, rest = ("\n" + said.output).partition(f"\n{token} ")
        if not found:
            raise refusal(self._where, "make", f"~/{SPOOL}", 1, said.error.encode() or said.output.encode())
        return rest.partition("\n")[0]

    def _command(
        self, argv: Sequence[str], token: str, seconds: int, stdin: bytes = b"", file: str = "", size: int = 0
    ) -> Answer:
        """Run ``argv``, or without it ask what came of it.  Sent again where no answer comes: it runs once."""
        with self._lock:
            drop, self._answered = self._answered[:_DROP], self._answered[_DROP:]
        how: dict[str, Any] = {"spool": SPOOL, "seconds": seconds, "drop": drop}
        line = wrapped_line(argv, token, stdin=stdin, input_file=file, input_size=size, **how)

        def attempt() -> CommandOutput:
            return self._dialect.command(self._ask, line, timeout=seconds + self._http.connect_timeout)

        retrying = Retrying(
            retry=retry_if_exception_type((ConnectionLost, LineTimeout)),
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(multiplier=0.2, max=5),
            reraise=True,
        )
        said = retrying(attempt)
        if retrying.statistics["attempt_number"] > 1:
            self._sent_again.add(token)
        return read_answer(said.output, said.error, token, self._where)

    def _place(self, source: Source, token: str) -> tuple[bytes, str]:
        """Return the bytes of what is small; put what is not into the spool, and return its name from home."""
        if source.size <= INPUT_LIMIT:
            return source.read(), ""
        name = f"{SPOOL}/{token}.in"
        path = f"{self._home}/{name}"
        kind = {"Content-Type": "application/octet-stream"}
        answer = self._ask("PUT", self._dialect.file_path(path), body=source.body, headers=kind, idempotent=True)
        self._dialect.check(answer, f"write {path}")
        return b"", name

    def _output(
        self, found: bytes | Left, stream: Literal["stdout", "stderr"], token: str, sink: OutputSink | None
    ) -> bytes:
        """Return output, fetched from the spool where it is large; b"" where ``sink`` got it."""
        kept = io.BytesIO()

        def write(data: bytes) -> object:
            return kept.write(data) if sink is None else sink(stream, data)

        if isinstance(found, Left):
            self._fetch(f"{self._home}/{SPOOL}/{token}/{stream}", found, write)
        elif found:
            write(found)
        return kept.getvalue()

    def _fetch(self, path: str, wanted: Left, write: Callable[[bytes], object]) -> None:
        """Read a file of the gateway, whose size and checksum are known; nothing else is written."""
        if not wanted.size:
            return
        with self._dialect.read(self._ask, path, timeout=self._http.connect_timeout) as answer:
            for data in content(answer, size=wanted.size, sha256=wanted.digest, where=self._where):
                write(data)

    def _done_with(self, name: str) -> None:
        """Have something removed from the spool with the next command.

        The folder of a command that was sent twice stays, or it would run when the
        first arrives after that.
        """
        with self._lock:
            if name in self._sent_again:
                self._sent_again.discard(name)
            else:
                self._answered.append(name)


def _seconds(end: float) -> int:
    """Return for how long one request waits, where the command has time until ``end``."""
    return max(1, min(ASK_AGAIN, math.ceil(min(ASK_AGAIN, end - time.monotonic()))))
