"""A channel to one thread over there: requests go and answers come in the same order."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from sremote.errors import SremoteError
from sremote.interpreter.errors import ChannelTimeout
from sremote.interpreter.objects import CLASS, expanded, shortened
from sremote.interpreter.wire import Buffer
from sremote.objects.responses import NonblockingResponse

if TYPE_CHECKING:
    from sremote.channel import Channel
    from sremote.objects.connection import Connection

BACKLOG = 1 << 16
"""Bytes of requests without an answer, above which a thread takes in the answers: else both ends might wait to send."""


class Lane:
    """One thread over there, as the client sees it.

    Whoever waits for an answer reads; others who wait meanwhile are told of theirs.
    """

    def __init__(self, connection: Connection, channel: Channel, *, compress: bool) -> None:
        self._connection = connection
        self._channel = channel
        self._compress = compress
        self._pending: deque[tuple[NonblockingResponse, int]] = deque()
        self._backlog = 0
        self._sending = threading.Lock()
        self._changed = threading.Condition()
        self._is_read = False
        self._error: BaseException | None = None
        self._drains = False
        self._closes = False

    def send(self, response: NonblockingResponse, request: list[Buffer]) -> None:
        """Send a request, whose answer goes to ``response``.  Raises why the session has ended."""
        if self._compress:
            request = shortened(request)
        size = sum(len(memoryview(each).cast("B")) for each in request)
        with self._sending:
            if self._error is not None:
                raise self._error
            self._pending.append((response, size))
            self._backlog += size
            if len(self._pending) > 1 and self._backlog > BACKLOG:
                self.drain()
            try:
                self._channel.send_bytes(request)
            except (OSError, SremoteError) as error:
                self._fail(error)
                raise self._error or error from error

    def wait(self, response: NonblockingResponse, timeout: float | None = None) -> bool:
        """Wait until a response is there, up to ``timeout`` seconds; say whether it is."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not response.is_done:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            with self._changed:
                if response.is_done:
                    break
                if self._is_read:
                    self._changed.wait(left)
                    continue
                self._is_read = True
            try:
                self._read_one(left)
            except ChannelTimeout:
                return False
            finally:
                with self._changed:
                    self._is_read = False
                    self._changed.notify_all()
        return True

    def drain(self) -> None:
        """Have a thread take in the answers until none is missing."""
        if not self._drains:
            self._drains = True
            threading.Thread(target=self._drain, name=f"sremote objects {self._connection.where}", daemon=True).start()

    @property
    def has_pending(self) -> bool:
        """Say whether answers are missing."""
        return bool(self._pending)

    def close(self) -> None:
        """End the thread over there, once it has done what it was asked."""
        self._channel.close()

    def close_when_idle(self) -> None:
        """End it once all answers are there, without waiting for them here."""
        self._closes = True
        if self._pending:
            self.drain()
        else:
            self.close()

    def _drain(self) -> None:
        while True:
            try:
                response, _ = self._pending[-1]
            except IndexError:
                with self._sending:
                    if not self._pending:
                        self._drains = False
                        break
                continue
            self.wait(response)
        if self._closes:
            self.close()

    def _read_one(self, timeout: float | None) -> None:
        """Take in one message."""
        try:
            data = expanded(self._channel.receive_bytes(timeout))
            if bytes(data[:1]) == CLASS:
                self._connection.learn_class(bytes(data[1:]))
                return
        except ChannelTimeout:
            raise
        except (EOFError, OSError, SremoteError) as error:
            self._fail(error)
            return
        try:
            first = self._pending[0]
        except IndexError:  # a sender found that the session has ended
            return
        response, size = first
        try:
            value = self._connection.read_answer(data)
        except BaseException as error:
            response.fail(error)
        else:
            response.succeed(value)
        self._backlog -= size
        if self._pending and self._pending[0] is first:
            self._pending.popleft()

    def _fail(self, error: BaseException) -> None:
        """Fail all that waits, since nothing more comes."""
        self._error = self._error or self._connection.why_ended(error)
        while self._pending:
            self._pending.popleft()[0].fail(self._error)
