"""A client for programs with threads: it knows them apart, and notices when the host falls silent."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import deque
from typing import Any

from sremote.errors import LineTimeout, SremoteError
from sremote.objects.client import ObjectClient
from sremote.objects.connection import MAIN, Connection
from sremote.objects.lanes import Lane
from sremote.objects.responses import NonblockingResponse, Options

_numbers = itertools.count(1)


class ThreadedConnection(Connection):
    """A connection on which each thread here has a thread of its own over there."""

    def __init__(
        self,
        client: ObjectClient,
        *arguments: Any,
        keep_alive_interval: float = 10.0,
        keep_alive_timeout: float = 60.0,
        **options: Any,
    ) -> None:
        super().__init__(client, *arguments, **options)
        self._local = threading.local()
        self._over: deque[str] = deque()
        self._stop = threading.Event()
        self._keeper = threading.Thread(
            target=_keep_alive,
            args=(weakref.ref(self), self._stop, keep_alive_interval, keep_alive_timeout),
            name="sremote keep-alive",
            daemon=True,
        )
        self._keeper.start()

    def close(self) -> None:
        self._stop.set()
        super().close()

    def started(self, lane: Lane, options: Options) -> None:
        lane.drain()

    def note_end(self, response: NonblockingResponse) -> None:
        response.complete()

    def _thread_of(self, options: Options) -> Any:
        if options.threadid is not None:
            return options.threadid
        if self.default_thread != MAIN:
            return self.default_thread
        mark = getattr(self._local, "mark", None)
        if mark is None:
            mark = self._local.mark = _Mark(self)
        return mark.name

    def thread_ended(self, name: str) -> None:
        """Note that a thread here has ended; called by a finalizer, so it takes no lock."""
        self._over.append(name)
        self._release_bell.ring()

    def _open_lane(self, thread: Any = None) -> Lane:
        self._start_releaser()
        return super()._open_lane(thread)

    def send_released(self) -> None:
        while self._over:
            self.stop_thread(self._over.popleft())
        super().send_released()

    def keep_alive(self, timeout: float) -> None:
        """Ask for a sign of life, and end the session where none comes within ``timeout`` seconds."""
        if not self.ping(timeout):
            self.session.kill(
                LineTimeout(f"{self.where}: no sign of life for {timeout:g} s; the session has ended", "Connect again.")
            )


class _Mark:
    """Lives in the local storage of a thread here, and so as long as that."""

    def __init__(self, connection: ThreadedConnection) -> None:
        self.name = f"thread {next(_numbers)}"
        self._connection = weakref.ref(connection)

    def __del__(self) -> None:
        connection = self._connection()
        if connection is not None and not connection.closed:
            connection.thread_ended(self.name)


def _keep_alive(
    connection: weakref.ref[ThreadedConnection], stop: threading.Event, interval: float, timeout: float
) -> None:
    while not stop.wait(interval):
        here = connection()
        if here is None:
            return
        try:
            here.keep_alive(timeout)
        except (OSError, SremoteError):
            return
        del here


class ThreadedObjectClient(ObjectClient):
    """An ObjectClient that gives each thread here a thread of its own over there, which ends with it.

    Completions are called as soon as an answer is there, in a thread that reads.  Every
    ``keep_alive_interval`` seconds it asks for a sign of life, and ends the session
    where none comes within ``keep_alive_timeout`` seconds.
    """

    _connection_class = ThreadedConnection
