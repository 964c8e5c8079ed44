"""A loopback TCP proxy that writes down what passes, and may change it."""

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

Change = Callable[[int, bytes], bytes]
"""Gets the position of some bytes in their direction's stream, and the bytes; returns those to pass on."""


class Recorder:
    """Passes bytes to ``target`` on 127.0.0.1; ``sent`` went there and ``received`` came back, over all connections.

    ``change_sent`` and ``change_received`` may change them on their way.
    """

    def __init__(
        self, target: int, *, change_sent: Change | None = None, change_received: Change | None = None
    ) -> None:
        self.target = target
        self.sent = bytearray()
        self.received = bytearray()
        self.change_sent = change_sent
        self.change_received = change_received
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in [self._listener, *self._sockets]:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            self._sockets += [near, far]
            for way in (
                (near, far, self.sent, lambda: self.change_sent),
                (far, near, self.received, lambda: self.change_received),
            ):
                self._threads.append(threading.Thread(target=self._pass, args=way))
                self._threads[-1].start()

    def _pass(
        self,
        source: socket.socket,
        target: socket.socket,
        noted: bytearray,
        change_now: Callable[[], Change | None],
    ) -> None:
        position = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                noted += data
                change = change_now()
                target.sendall(change(position, data) if change else data)
                position += len(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
