"""Streams over a connector that has none: the command's streams are files on the host, which are polled.

Each exchange is one command there, which brings input and fetches output, so a
message costs a few of the connector's round trips: slow, and the same to all above.
"""

from __future__ import annotations

import copy
import json
import posixpath
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

from sremote.connectors.base import Capability, Completed, Connector, OutputSink, Process
from sremote.connectors.errors import ConnectionLost, HostError, LineError, LineTimeout, UsageError
from sremote.connectors.through_batch import ThroughBatch
from sremote.errors import SremoteError
from sremote.host import Host

ROOM = 1 << 20
"""Bytes of input that may wait for the next exchange, and are sent with it."""
LONGEST_PAUSE = 2.0
"""Seconds between two exchanges where nothing happens; an exchange itself waits a second for something."""
TRIES = 4
"""How often an exchange is repeated after a failure of the line before the command is given up."""
EXCHANGE_TIMEOUT = 120.0


class SpooledConnector(Connector):
    """A host's connector, with streams."""

    scheme = "spooled"
    capabilities = Capability.EXECUTE | Capability.STREAM

    def __init__(self, host: Host) -> None:
        super().__init__(host.connector.address, connect_timeout=host.connector.connect_timeout)
        self._host = host

    @property
    def name(self) -> str:
        return self._host.connector.name

    def connect(self) -> None:
        self._host.connector.connect()

    def close(self) -> None:
        """Nothing: the connector below is the client's."""

    def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | BinaryIO = b"",
        output: OutputSink | None = None,
        timeout: float | None = None,
    ) -> Completed:
        return self._host.connector.execute(argv, stdin=stdin, output=output, timeout=timeout)

    def put(self, source: bytes | BinaryIO, path: str, *, mode: int = 0o600) -> None:
        self._host.connector.put(source, path, mode=mode)

    def get(self, path: str, target: BinaryIO) -> None:
        self._host.connector.get(path, target)

    def start(self, argv: Sequence[str]) -> Process:
        return SpooledProcess(self._host, argv)


def with_streams(host: Host) -> Host:
    """Return ``host`` with a connector that has streams: its own, or one over files.

    Raises UsageError where each command is a batch job.
    """
    if Capability.STREAM in host.connector.capabilities:
        return host
    if isinstance(host.connector, ThroughBatch):
        raise UsageError(
            f"{host.where}: it has no streams, and runs batch jobs only, which a session cannot go through",
            "Use calls; client.mailbox() makes many of them fast.",
        )
    host.ensure_interpreter()
    spooled = copy.copy(host)
    spooled.connector = SpooledConnector(host)
    return spooled


class SpooledProcess(Process):
    """A command whose streams are files on ``host``, moved by a thread."""

    def __init__(self, host: Host, argv: Sequence[str]) -> None:
        probe = host.probe()
        self._host = host
        self._program = [probe.python, posixpath.join(probe.interpreter, "spool.py")]
        self._folder = posixpath.join(probe.root, "spool", secrets.token_hex(8))
        self._changed = threading.Condition()
        self._input = bytearray()
        self._input_ended = False
        self._streams: dict[bytes, deque[bytes]] = {b"1": deque(), b"2": deque()}
        self._status: int | None = None
        self._failure: SremoteError | None = None
        self._killed = False
        self._run("start", *argv)
        self._mover = threading.Thread(target=self._move, name=f"sremote spool {host.name}", daemon=True)
        self._mover.start()

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        with self._changed:
            while view:
                self._changed.wait_for(lambda: len(self._input) < ROOM or self._is_over)
                if self._is_over or self._input_ended:
                    raise self._lost("it takes no more input")
                piece = view[: ROOM - len(self._input)]
                self._input += piece
                view = view[len(piece) :]
                self._changed.notify_all()

    def close_stdin(self) -> None:
        with self._changed:
            self._input_ended = True
            self._changed.notify_all()

    def read(self, size: int = 1 << 17) -> bytes:
        return self._read(b"1", size)

    def read_stderr(self, size: int = 1 << 17) -> bytes:
        return self._read(b"2", size)

    def wait(self, timeout: float | None = None) -> int:
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_over, timeout):
                raise LineTimeout(f"{self._host.where}: the command had not ended after {timeout:g} s")
            if self._status is None:
                raise self._lost("it was ended from here" if self._killed else "the line failed")
            return self._status

    def kill(self) -> None:
        with self._changed:
            self._killed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._mover:
            self._mover.join(EXCHANGE_TIMEOUT)

    @property
    def _is_over(self) -> bool:
        return self._status is not None or self._failure is not None or self._killed

    def _read(self, kind: bytes, size: int) -> bytes:
        pieces = self._streams[kind]
        with self._changed:
            self._changed.wait_for(lambda: pieces or self._is_over)
            if not pieces:
                if self._failure is not None and not self._killed:
                    raise self._lost("the line failed")
                return b""
            data = pieces.popleft()
            if len(data) > size:
                pieces.appendleft(data[size:])
            self._changed.notify_all()
            return data[:size]

    def _lost(self, what: str) -> ConnectionLost:
        reason = f": {self._failure.message}" if self._failure else ""
        return ConnectionLost(f"{self._host.where}: {what}{reason}")

    # The thread that moves

    def _move(self) -> None:
        try:
            self._exchange_all()
        except SremoteError as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        with suppress(SremoteError):
            self._run("kill")

    def _exchange_all(self) -> None:
        incoming = outgoing = 0
        pause, told_end = 0.0, False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._input or self._killed or self._input_ended, pause)
                if self._killed:
                    return
                data, ended = bytes(self._input), self._input_ended
                self._input.clear()
                self._changed.notify_all()
            status, pieces = self._fetch(incoming, outgoing, data)
            incoming += bool(data)
            outgoing += len(pieces)
            if ended and not told_end:
                self._run("end", str(incoming))
                told_end = True
            with self._changed:
                for piece in pieces:
                    self._streams[piece[:1]].append(piece[1:])
                if status is not None and not pieces:
                    self._status = status
                self._changed.notify_all()
                if self._status is not None:
                    return
                # What is not read here is not fetched: the command waits then.
                self._changed.wait_for(lambda: self._waiting_bytes() < 8 * ROOM or self._killed)
            pause = 0.0 if data or pieces or told_end else min(2 * pause + 0.05, LONGEST_PAUSE)

    def _waiting_bytes(self) -> int:
        return sum(len(piece) for pieces in self._streams.values() for piece in pieces)

    def _fetch(self, incoming: int, outgoing: int, data: bytes) -> tuple[int | None, list[bytes]]:
        answer = self._run("exchange", str(incoming), str(outgoing), stdin=data)
        line, _, rest = answer.partition(b"\n")
        try:
            head = json.loads(line)
            status, pieces, position = head["status"], [], 0
            for size in head["sizes"]:
                pieces.append(rest[position : position + size])
                position += size
            if position != len(rest) or any(piece[:1] not in self._streams for piece in pieces):
                raise ValueError("its pieces are not whole")
        except (ValueError, KeyError, TypeError) as error:
            raise ConnectionLost(f"{self._host.where}: what comes from the host is damaged: {error}") from None
        return status, pieces

    def _run(self, verb: str, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run one command of ``interpreter/spool.py``; each may be repeated when the line has failed."""
        for attempt in range(TRIES):
            try:
                argv = [*self._program, verb, self._folder, *arguments]
                done = self._host.connector.execute(argv, stdin=stdin, timeout=EXCHANGE_TIMEOUT)
                break
            except LineError:
                if attempt == TRIES - 1 or verb == "start" or self._killed:
                    raise
                time.sleep(attempt + 1.0)
        if done.status != 0:
            said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise HostError(f"{self._host.where}: {said or f'exit status {done.status}'}")
        return done.stdout
