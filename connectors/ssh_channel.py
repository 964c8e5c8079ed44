"""A command on an ssh host: ``Process`` over a channel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import paramiko

from sremote.connectors.base import Process
from sremote.connectors.errors import ConnectionLost, LineTimeout
from sremote.connectors.ssh_transport import PACKET_SIZE, TunedTransport, exit_signal

NOTICE = 5.0
"""Seconds in which a transport that drops has noticed it, if need be: its channels are closed a little before."""


class ChannelProcess(Process):
    """A command that was asked for on ``channel``; ``released`` is called once, when the channel is free again."""

    def __init__(
        self, transport: TunedTransport, channel: paramiko.Channel, name: str, released: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._channel = channel
        self._name = name
        self._released = released
        self._lock = threading.Lock()
        self._killed = False

    def write(self, data: bytes | memoryview) -> None:
        # Slices of a view: Channel.sendall would copy the rest of the data for every packet.
        rest = memoryview(data).cast("B")
        try:
            while rest:
                sent = self._channel.send(rest[:PACKET_SIZE])
                if not sent:
                    raise self._lost("its standard input was closed")
                rest = rest[sent:]
        except (OSError, EOFError, paramiko.SSHException) as error:
            if isinstance(error, ConnectionLost):
                raise
            raise self._lost("it no longer reads its standard input") from error

    def close_stdin(self) -> None:
        try:
            self._channel.shutdown_write()
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._lost("its channel was closed") from error

    def read(self, size: int = PACKET_SIZE) -> bytes:
        return self._read(self._channel.recv, size)

    def read_stderr(self, size: int = PACKET_SIZE) -> bytes:
        return self._read(self._channel.recv_stderr, size)

    def wait(self, timeout: float | None = None) -> int:
        if not self._channel.status_event.wait(timeout):
            raise LineTimeout(f"{self._name}: the command had not ended after {timeout:g} s")
        ended_by = exit_signal(self._channel)
        if ended_by is not None:
            status = -ended_by
        elif self._channel.exit_status >= 0:
            status = self._channel.exit_status
        else:
            raise self._lost("it ended without telling its status")
        self._release()
        return status

    def kill(self) -> None:
        self._killed = True
        try:
            self._channel.close()
        except (OSError, EOFError, paramiko.SSHException):
            pass  # the line has gone, and the command's streams with it
        finally:
            self._release()

    def _read(self, receive: Callable[[int], bytes], size: int) -> bytes:
        try:
            data = receive(size)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._lost("its output ended") from error
        if not data and not self._killed and not self._ended_well():
            raise self._lost("its output ended")
        return data

    def _ended_well(self) -> bool:
        deadline = time.monotonic() + NOTICE
        while not (self._channel.eof_received or self._channel.exit_status >= 0):
            if not self._transport.is_active():
                return False
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        return True

    def _lost(self, what: str) -> ConnectionLost:
        if self._killed:
            return ConnectionLost(f"{self._name}: the command was ended from here")
        if self._transport.is_active():
            return ConnectionLost(f"{self._name}: the command has gone: {what}")
        return ConnectionLost(
            f"{self._name}: the line dropped: {self._transport.reason}",
            "What was under way may or may not have happened.",
        )

    def _release(self) -> None:
        with self._lock:
            released, self._released = self._released, lambda: None
        released()
