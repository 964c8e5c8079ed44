"""A host over a line that fails on purpose: it drops, cuts, delays, or adds noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sremote.connectors.base import Process
from sremote.connectors.errors import ConnectionLost
from sremote.connectors.stream import StreamConnector


@dataclass(frozen=True)
class Fault:
    """How a line fails.  Bytes are counted for each command anew, what is printed before it included."""

    noise: bytes = b""
    """Printed before the command, on both of its streams."""
    piece: int | None = None
    """Bytes that one read gives at most."""
    delay: float = 0.0
    """Seconds before each read."""
    drop_sent: int | None = None
    """The line drops when more than so many bytes were sent to the command."""
    drop_received: int | None = None
    """The line drops when more than so many bytes came from the command's standard output."""
    cut_sent: int | None = None
    """The command gets only so many bytes of its input, and nobody is told."""
    cut_received: int | None = None
    """Only so many bytes of standard output arrive, and nobody is told."""


class FaultyConnector(StreamConnector):
    """Another connector's host, over a line that fails as ``fault`` says; that may be changed at any time."""

    scheme = "faulty"
    noisy = True

    def __init__(self, connector: StreamConnector, fault: Fault | None = None) -> None:
        super().__init__(connector.address, connect_timeout=connector.connect_timeout)
        self.fault = fault or Fault()
        self._connector = connector

    def connect(self) -> None:
        self._connector.connect()

    def close(self) -> None:
        self._connector.close()

    def open(self, argv: Sequence[str]) -> Process:
        return _FaultyProcess(self._connector.open(argv), self.fault)


class _FaultyProcess(Process):
    def __init__(self, process: Process, fault: Fault) -> None:
        self._process = process
        self._fault = fault
        self._noise = {"stdout": fault.noise, "stderr": fault.noise}
        self._sent = 0
        self._received = 0
        self._dropped = False

    def write(self, data: bytes | memoryview) -> None:
        for limit in (self._fault.drop_sent, self._fault.cut_sent):
            if limit is not None and self._sent + len(data) > limit:
                data = memoryview(data)[: max(0, limit - self._sent)]
                self._sent = limit
                self._process.write(data)
                if limit == self._fault.drop_sent:
                    self._drop()
                return
        self._sent += len(data)
        self._process.write(data)

    def close_stdin(self) -> None:
        self._process.close_stdin()

    def read(self, size: int = 1 << 17) -> bytes:
        data = self._read("stdout", self._process.read, size)
        self._received += len(data)
        if self._fault.drop_received is not None and self._received > self._fault.drop_received:
            self._drop()
            return b""
        if self._fault.cut_received is not None and self._received > self._fault.cut_received:
            while self._process.read():
                pass
            return data[: max(0, self._fault.cut_received - self._received + len(data))]
        return data

    def read_stderr(self, size: int = 1 << 17) -> bytes:
        return self._read("stderr", self._process.read_stderr, size)

    def wait(self, timeout: float | None = None) -> int:
        if self._dropped:
            raise ConnectionLost("the line was made to drop")
        return self._process.wait(timeout)

    def kill(self) -> None:
        self._process.kill()

    def _read(self, stream: str, read: Callable[[int], bytes], size: int) -> bytes:
        time.sleep(self._fault.delay)
        size = min(size, self._fault.piece or size)
        noise, self._noise[stream] = self._noise[stream][:size], self._noise[stream][size:]
        return noise or (b"" if self._dropped else read(size))

    def _drop(self) -> None:
        self._dropped = True
        self._process.kill()
