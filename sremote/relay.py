"""Commands and connections that another host makes, carried here over channels of a session with it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Sequence

from sremote.channel import Channel
from sremote.connectors.base import Process
from sremote.connectors.errors import ConnectionLost, HostUnreachable, LineTimeout
from sremote.errors import ChannelTimeout, SremoteError
from sremote.session import Session

_RELAY = "sremote_interpreter.relay"
_PIECE = 1 << 16


class RelayedProcess(Process):
    """A command that runs on a session's host; ``name`` is how messages call where it leads.

    Over there, ``interpreter/relay.py`` starts it.
    """

    def __init__(self, session: Session, argv: Sequence[str], name: str) -> None:
        self._name = name
        self._status: int | None = None
        self._waiting = threading.Lock()
        self._killed = False
        try:
            self._stdin, stdout, stderr = session.newchannel(), session.newchannel(), session.newchannel()
            self._control = session.open_channel(_RELAY, "run", argv=list(argv))
            self._control.send([self._stdin, stdout, stderr])
        except SremoteError as error:
            raise ConnectionLost(f"{name}: the way there has ended: {error.message}", error.remedy) from error
        self._stdout, self._stderr = _Incoming(stdout), _Incoming(stderr)

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        try:
            while view:
                self._stdin.send(bytes(view[:_PIECE]))
                view = view[_PIECE:]
        except (SremoteError, OSError) as error:
            raise ConnectionLost(f"{self._name}: the command takes no more input") from error

    def close_stdin(self) -> None:
        self._stdin.close()

    def read(self, size: int = 1 << 17) -> bytes:
        return self._read(self._stdout, size)

    def read_stderr(self, size: int = 1 << 17) -> bytes:
        return self._read(self._stderr, size)

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._waiting.acquire(timeout=-1 if timeout is None else timeout):
            raise self._late(timeout)
        try:
            if self._status is None:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                self._status = int(self._control.receive(left))
            status = self._status
        except ChannelTimeout:
            raise self._late(timeout) from None
        except (EOFError, SremoteError) as error:
            raise self._lost(error) from error
        finally:
            self._waiting.release()
        return self.outcome(status)

    def outcome(self, status: int) -> int:
        """Return the command's exit status, given that of what runs over there."""
        return status

    def kill(self) -> None:
        self._killed = True
        for channel in (self._control, self._stdin, self._stdout.channel, self._stderr.channel):
            channel.close()

    def _read(self, stream: _Incoming, size: int) -> bytes:
        try:
            return stream.read(size)
        except SremoteError as error:
            if self._killed:
                return b""
            raise self._lost(error) from error

    def _late(self, timeout: float | None) -> LineTimeout:
        return LineTimeout(f"{self._name}: the command had not ended after {timeout:g} s")

    def _lost(self, error: Exception) -> ConnectionLost:
        if self._killed:
            return ConnectionLost(f"{self._name}: the command was ended from here")
        return ConnectionLost(f"{self._name}: the line dropped: {error}")


class _Incoming:
    """A run of bytes that comes in pieces."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes as soon as there are some; b"" at the end."""
        if not self._rest:
            try:
                self._rest = memoryview(self.channel.receive())
            except EOFError:
                return b""
        data, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return data


def relayed_connection(session: Session, host: str, port: int, timeout: float, name: str) -> socket.socket:
    """Return a socket that is connected to a port as the session's host sees it.

    It is one end of a connection within this machine, so that everything that takes a
    socket takes it.  Raises HostUnreachable where that host cannot connect.
    """
    channel = session.open_channel(_RELAY, "connect", host=host, port=port, timeout=timeout)
    refusal = channel.receive()
    if refusal is not None:
        raise HostUnreachable(f"{name}: {host} port {port}, as seen from {session.host.where}: {refusal}")
    ours, theirs = _connected_pair()
    for work in (_send_on, _bring_in):
        threading.Thread(target=work, args=(channel, theirs), name=f"sremote relay {name}", daemon=True).start()
    return ours


def _connected_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection within this process."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        ours = socket.create_connection(listener.getsockname())
        while True:
            theirs, peer = listener.accept()
            if peer == ours.getsockname():  # nobody else has come in between
                theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return ours, theirs
            theirs.close()


def _send_on(channel: Channel, connection: socket.socket) -> None:
    with contextlib.suppress(OSError, SremoteError):
        while data := connection.recv(_PIECE):
            channel.send(data)
    channel.close()


def _bring_in(channel: Channel, connection: socket.socket) -> None:
    with contextlib.suppress(OSError, SremoteError):
        for data in channel:
            connection.sendall(data)
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
