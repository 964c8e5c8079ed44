"""A command that a mailbox runs, with its three streams."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from sremote.connectors.base import Process
from sremote.connectors.errors import ConnectionLost, LineTimeout
from sremote.interpreter import letters
from sremote.interpreter.errors import SremoteError

if TYPE_CHECKING:
    from sremote.connectors.mailbox_post import Post

log = logging.getLogger("sremote")


class MailboxProcess(Process):
    """A command that a mailbox runs."""

    def __init__(self, post: Post, number: int, program: str) -> None:
        self.number = number
        self._post = post
        self._program = program
        self._arrived = {letters.OUTPUT: bytearray(), letters.ERRORS: bytearray()}
        self._untold = 0
        self._room = letters.WINDOW
        self._status: int | None = None
        self._ended = False
        self._killed = False
        self._changed = threading.Condition()

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        while len(view) > 0:
            with self._changed:
                self._changed.wait_for(lambda: self._room > 0 or self._ended or self._killed)
                if self._ended or self._killed:
                    raise self._gone("has ended")
                piece, view = view[: min(self._room, letters.LETTER // 4)], view[min(self._room, letters.LETTER // 4) :]
                self._room -= len(piece)
            self._post.leave(letters.INPUT, self.number, bytes(piece))

    def close_stdin(self) -> None:
        if not self._ended and not self._killed:
            self._post.leave(letters.END_OF_INPUT, self.number)

    def read(self, size: int = 1 << 17) -> bytes:
        return self._read(letters.OUTPUT, size)

    def read_stderr(self, size: int = 1 << 17) -> bytes:
        return self._read(letters.ERRORS, size)

    def wait(self, timeout: float | None = None) -> int:
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended or self._killed, timeout):
                raise LineTimeout(f"{self._program} has not ended after {timeout:g} s")
            if self._status is None:
                raise self._gone("gave no status")
            return self._status

    def kill(self) -> None:
        with self._changed:
            if self._killed:
                return
            self._killed = True
            ended = self._ended
            self._changed.notify_all()
        if not ended and self._post.failure is None:
            try:
                self._post.leave(letters.KILL, self.number)
            except SremoteError as error:
                log.debug("%s", error.message)
        self._post.forget(self.number)

    def receive(self, kind: int, data: bytes) -> None:
        """Take output that has arrived."""
        with self._changed:
            self._arrived[kind] += data
            self._changed.notify_all()

    def give_room(self, size: int) -> None:
        """Let more input follow, as so much has been taken."""
        with self._changed:
            self._room += size
            self._changed.notify_all()

    def end(self, status: int | None) -> None:
        """Be at the end; without a status where the mailbox has gone."""
        with self._changed:
            self._ended = True
            self._status = status
            self._changed.notify_all()

    def _read(self, kind: int, size: int) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._arrived[kind] or self._ended or self._killed)
            if self._killed:
                return b""
            data = bytes(self._arrived[kind][:size])
            del self._arrived[kind][:size]
            self._untold += len(data)
            told = self._untold if self._untold >= letters.WINDOW // 4 and not self._ended else 0
            self._untold -= told
        if told:
            self._post.leave(letters.TAKEN, self.number, letters.pack_count(told))
        return data

    def _gone(self, what: str) -> SremoteError:
        failure = self._post.failure
        if failure is not None and not self._killed:
            return type(failure)(failure.message, failure.remedy)
        return ConnectionLost(f"{self._program} {what}")
