"""A loopback TCP proxy that makes a line slow, silent or broken."""

import contextlib
import queue
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self

CHUNK = 1 << 16
IN_FLIGHT = 1024
"""Chunks that may be under way in one direction: the line's own buffer."""


class DelayingProxy:
    """Passes bytes to ``target`` on 127.0.0.1, each direction late by ``delay`` seconds.

    ``connections`` counts those accepted, ``sent`` and ``received`` the bytes that went
    to the target and came from it.
    """

    def __init__(self, target: int, delay: float = 0.0) -> None:
        self.target = target
        self.delay = delay
        self.connections = 0
        self.sent = 0
        self.received = 0
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = False
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._run(self._accept)

    def stall(self) -> None:
        """Hold back all bytes from now on, leaving connections open, as a firewall that forgot them does."""
        self._flowing.clear()

    def resume(self) -> None:
        """Let the bytes flow again."""
        self._flowing.set()

    def cut(self) -> None:
        """Reset every connection; go on accepting new ones."""
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut all and listen no more."""
        self._closed = True
        self._flowing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._run(self._serve, near)

    def _serve(self, near: socket.socket) -> None:
        with near:
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            with far:
                self._sockets |= {near, far}
                if self._closed:
                    self.cut()
                for each in (near, far):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ways = [self._run(self._pass, near, far, "sent"), self._run(self._pass, far, near, "received")]
                for way in ways:
                    way.join()
                self._sockets -= {near, far}

    def _pass(self, source: socket.socket, target: socket.socket, count: str) -> None:
        line: queue.Queue[tuple[float, bytes]] = queue.Queue(IN_FLIGHT)
        arrival = self._run(self._deliver, line, target, count)
        try:
            while data := source.recv(CHUNK):
                line.put((time.monotonic() + self.delay, data))
        except OSError:
            self._break(source, target)
        line.put((time.monotonic() + self.delay, b""))
        arrival.join()

    def _deliver(self, line: "queue.Queue[tuple[float, bytes]]", target: socket.socket, count: str) -> None:
        broken = False
        while True:
            due, data = line.get()
            if not data:
                break
            time.sleep(max(0.0, due - time.monotonic()))
            self._flowing.wait()
            try:
                if not broken:
                    target.sendall(data)
                    setattr(self, count, getattr(self, count) + len(data))
            except OSError:
                broken = True  # go on emptying the line, or its other end waits for ever
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    @staticmethod
    def _break(*pair: socket.socket) -> None:
        for each in pair:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _run(self, target: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()
        return thread
