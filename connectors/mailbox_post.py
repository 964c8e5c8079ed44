"""The letters between a client and a mailbox: what waits goes with the next one, what comes is handed on."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from sremote.connectors.base import Connector
from sremote.connectors.errors import (
    ConnectionLost,
    FileMissing,
    HostUnreachable,
    LineError,
    LineTimeout,
    MailboxEnded,
    SchedulerAway,
)
from sremote.connectors.mailbox_process import MailboxProcess
from sremote.interpreter import letters
from sremote.interpreter.errors import SremoteError

log = logging.getLogger("sremote")

_PASSING = (ConnectionLost, HostUnreachable, LineTimeout, SchedulerAway)
_SLOWING = 1.5


@dataclass(frozen=True)
class Pace:
    """How often a mailbox is asked; all in seconds."""

    first_pause: float = 0.1
    longest_pause: float = 2.0
    """Between two looks for letters: soon after something went or came, and later."""
    look_every: float = 15.0
    """While nothing comes, the mailbox's state is looked at, to see that it lives."""
    away_for: float = 120.0
    """For so long the way to the host may fail before the mailbox is given up."""


class Post:
    """The letters between this client and one mailbox, which is a folder on the host.

    ``why_ended`` says why the process there has ended, or nothing while it has not;
    what is under way then fails with an error of the class ``loss``.
    """

    def __init__(
        self,
        connector: Connector,
        folder: str,
        pace: Pace,
        why_ended: Callable[[], str],
        loss: type[LineError] = MailboxEnded,
    ) -> None:
        self.folder = folder
        self.failure: SremoteError | None = None
        self.over = False
        """Whether the mailbox has ended; else a failure is one of the way there."""
        self._connector = connector
        self._pace = pace
        self._why_ended = why_ended
        self._loss = loss
        self._numbers = count(1)
        self._channels: dict[int, MailboxProcess] = {}
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._stirred = threading.Event()
        self._taken = 0
        self._told = 0
        self._written = 0
        self._letter = b""
        """The letter that was written last, until it is known to be there."""
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._begin()

    def start(self, argv: Sequence[str]) -> MailboxProcess:
        """Start a command."""
        process = MailboxProcess(self, next(self._numbers), argv[0])
        with self._changed:
            self._check()
            self._channels[process.number] = process
        request = json.dumps({"argv": list(argv)}).encode("ascii")
        self.leave(letters.START, process.number, request)
        return process

    def leave(self, kind: int, channel: int, payload: bytes = b"") -> None:
        """Have a part go with the next letter."""
        with self._changed:
            self._check()
            self._waiting.append(letters.pack_part(kind, channel, payload))
            self._changed.notify_all()

    def forget(self, number: int) -> None:
        """Let go of a command that has ended."""
        with self._changed:
            self._channels.pop(number, None)

    def stop(self) -> None:
        """Tell the mailbox to end, and wait until that letter is there, or cannot be left."""
        with self._changed:
            if self.failure is None and not self._stopping:
                self._waiting.append(letters.pack_part(letters.STOP, 0))
            self._stopping = True
            self._changed.notify_all()
        self._stirred.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._fail(ConnectionLost(f"{self._connector.name}: the mailbox was closed here"))

    def revive(self) -> None:
        """Go on after a failure of the way there; what was under way is given up, as where a line drops."""
        for thread in self._threads:
            thread.join()
        self.failure = None
        self._begin()

    def _begin(self) -> None:
        self._threads = [
            threading.Thread(target=self._guard, args=[work], name="sremote mailbox", daemon=True)
            for work in (self._send, self._receive)
        ]
        for thread in self._threads:
            thread.start()

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _fail(self, error: SremoteError) -> None:
        with self._changed:
            if self.failure is None:
                self.failure = error
            channels, self._channels = list(self._channels.values()), {}
            self._waiting.clear()
            self._waiting.extend(letters.pack_part(letters.LEAVE, channel.number) for channel in channels)
            self._changed.notify_all()
        self._stirred.set()
        for channel in channels:
            channel.end(None)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except SremoteError as error:
            self._fail(error)
        except Exception as error:
            self._fail(ConnectionLost(f"{self._connector.name}: the mailbox sends nonsense: {error!r}"))

    # The thread that sends

    def _send(self) -> None:
        while True:
            if not self._letter and not self._write():
                return
            # The same letter at the same place does nothing twice.
            self._persist(lambda: self._connector.leave(self._letter, f"{self.folder}/in/{self._written}"))
            self._letter = b""
            self._stirred.set()

    def _write(self) -> bool:
        """Wait for something to write, and write it; say whether there was."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping or self.failure is not None)
            if self.failure is not None or not self._waiting:
                return False
            parts: list[bytes] = []
            size = 0
            while self._waiting and (not parts or size + len(self._waiting[0]) <= letters.LETTER):
                parts.append(self._waiting.popleft())
                size += len(parts[-1])
            self._told = self._taken
            self._letter = letters.pack_letter(self._taken, parts)
            self._written += 1
            return True

    def _persist(self, step: Callable[[], None]) -> None:
        """Do a step, again while the way fails and may come back."""
        began, pause = time.monotonic(), self._pace.first_pause
        while True:
            try:
                step()
                return
            except _PASSING as error:
                if time.monotonic() - began > self._pace.away_for or self.failure is not None:
                    raise
                log.info("%s: %s", self._connector.name, error.message)
            time.sleep(pause)
            pause = min(pause * 2, self._pace.longest_pause)
            self._connect()

    def _connect(self) -> None:
        try:
            self._connector.connect()
        except _PASSING as error:
            log.info("%s: %s", self._connector.name, error.message)

    # The thread that receives

    def _receive(self) -> None:
        pause = self._pace.first_pause
        answered = looked = time.monotonic()
        ended = ""
        while not self._stopping and self.failure is None:
            self._stirred.clear()
            try:
                letter = self._fetch()
                answered = time.monotonic()
            except _PASSING as error:
                if time.monotonic() - answered > self._pace.away_for:
                    raise
                log.info("%s: %s", self._connector.name, error.message)
                letter = None
                self._connect()
            if letter is not None:
                self._take(letter)
                pause, looked = self._pace.first_pause, time.monotonic()
                continue
            if ended:
                self.over = True
                raise self._loss(f"{self._connector.name}: the mailbox has ended: {ended}", "Open another one.")
            if time.monotonic() - looked > self._pace.look_every:
                looked = time.monotonic()
                ended = self._why_ended()
                continue
            if self._stirred.wait(pause):
                pause = self._pace.first_pause
            else:
                pause = min(pause * _SLOWING, self._pace.longest_pause)

    def _fetch(self) -> Any:
        target = io.BytesIO()
        try:
            self._connector.get(f"{self.folder}/out/{self._taken + 1}", target)
        except FileMissing:
            return None
        return letters.read_letter(target.getvalue())

    def _take(self, letter: Any) -> None:
        _, parts = letter
        self._taken += 1
        for kind, number, payload in parts:
            with self._changed:
                channel = self._channels.get(number)
            if channel is None:
                continue
            if kind in (letters.OUTPUT, letters.ERRORS):
                channel.receive(kind, payload)
            elif kind == letters.TAKEN:
                channel.give_room(letters.read_count(payload))
            elif kind == letters.ENDED:
                self.forget(number)
                channel.end(letters.read_status(payload))
        if self._taken - self._told >= 8:
            with self._changed:
                self._waiting.append(letters.pack_part(letters.TAKEN, 0, letters.pack_count(0)))
                self._changed.notify_all()
