"""The line of a session on this side: who reads it, and where each frame goes.

A thread that waits for a call reads the line itself, so that the answer passes from
no thread to another.  Where channels are open, a thread of its own reads instead,
and the caller waits for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

from sremote.channel import ClientChannels
from sremote.connectors.base import OutputSink
from sremote.errors import ConnectionLost, FormatError, RemoteExit, SremoteError
from sremote.host import Host
from sremote.interpreter import frames
from sremote.interpreter.bells import Bell
from sremote.interpreter.channels import Write
from sremote.interpreter.wire import Buffer
from sremote.line import Call
from sremote.stream import Stream, lost

AT_ONCE = 0.5
"""Seconds for a process to end that has been told to end at once."""


class Answer:
    """What a call waits for: ``value`` is the pickle of a short one, ``response`` a long one once it is whole."""

    def __init__(self, number: int, job_id: str) -> None:
        self.number = number
        self.value: bytes | None = None
        self.response = Call(job_id, (), None)
        self.bell = Bell()

    @property
    def is_there(self) -> bool:
        """Whether it has come, in whole."""
        return self.value is not None or self.response.missing == 0


class SessionLine:
    """A stream to a session's process; ``first`` are the frames that start it.

    ``output`` gets what is printed over there, in the thread that reads.  One call at
    a time may wait for its answer, beside any number of channels, which ``make_channels``
    makes of how to send a frame.
    """

    def __init__(
        self, host: Host, first: bytes, output: OutputSink | None, make_channels: Callable[[Write], ClientChannels]
    ) -> None:
        self._host = host
        self._output = output
        self._answer: Answer | None = None
        self._turn = threading.Lock()
        self._is_read = False
        self.ended: SremoteError | None = None
        """Why nothing more comes; set at the latest when reading has ended."""
        self._stream = Stream(host, first)
        self._frames = self._stream.read()
        self.channels = make_channels(self.write)

    def write(self, kind: int, number: int, payload: Buffer) -> None:
        """Send a frame.  Raises why the session has ended."""
        self.write_head(frames.HEAD.pack(kind, number, len(payload)), payload)

    def write_head(self, head: bytes, payload: Buffer) -> None:
        """Send the head of a frame and the rest of it."""
        if self.ended is not None:
            raise self.ended
        try:
            self._stream.write(head, payload)
        except ConnectionLost:
            raise self.fail() from None
        except BaseException:  # a part of a frame may have gone
            self.kill(ConnectionLost(f"{self._host.where}: the session was interrupted"))
            raise

    def expect(self, answer: Answer) -> None:
        """Have the answer to a call taken; before the call is sent."""
        self._answer = answer

    def wait(self, answer: Answer) -> None:
        """Wait until the answer is there.  Raises why the session has ended."""
        while not answer.is_there:
            if self._take_turn():
                try:
                    self._read_for(answer)
                finally:
                    self._leave_turn()
            else:
                answer.bell.wait()
            if self.ended is not None and not answer.is_there:
                raise self.ended

    def read_channels(self) -> None:
        """Have the line read from now on as long as channels are open."""
        if self._take_turn():
            self._start_reading()

    def close(self, reason: SremoteError) -> None:
        """End the process over there; nothing where it has ended."""
        self.ended = self.ended or reason
        self._stream.close()
        self.channels.end(self.ended)

    def kill(self, reason: SremoteError) -> None:
        """End the line at once."""
        self.ended = self.ended or reason
        self._stream.kill()
        self.channels.end(self.ended)

    def end_at_once(self, reason: SremoteError) -> None:
        """End the process over there with all its children, whatever it does; the line, too, where it is stuck."""

        def ask() -> None:
            with suppress(SremoteError):
                self.write(frames.CLOSE, 0, b"")
                self._stream.status(AT_ONCE)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(2 * AT_ONCE)
        self.kill(reason)

    def fail(self) -> SremoteError:
        """End the session, and return why it has ended."""
        if self.ended is None:
            try:
                status = self._stream.status()
            except SremoteError as error:
                found: SremoteError = error
            else:
                dropped = status < 0 or status == 255
                found = (
                    lost(self._host)
                    if dropped
                    else RemoteExit(
                        f"{self._host.where}: the session's process has ended with status {status}", status=status
                    )
                )
            self.ended = self.ended or found
        self.kill(self.ended)
        return self.ended

    # Who reads

    def _take_turn(self) -> bool:
        with self._turn:
            taken, self._is_read = not self._is_read, True
        return taken

    def _leave_turn(self) -> None:
        with self._turn:
            self._is_read = bool(self.channels) and self.ended is None
            goes_on = self._is_read
        if goes_on:
            self._start_reading()

    def _start_reading(self) -> None:
        threading.Thread(target=self._read_on, name=f"sremote session {self._host.name}", daemon=True).start()

    def _read_on(self) -> None:
        """Read until no channel is open, and no call waits for this."""
        for _ in self._handled():
            if not self.channels:
                with self._turn:
                    if not self.channels and (self._answer is None or self._answer.is_there):
                        self._is_read = False
                        return
        with self._turn:
            self._is_read = False
            answer = self._answer
        if answer is not None:
            answer.bell.ring()

    def _read_for(self, answer: Answer) -> None:
        for _ in self._handled():
            if answer.is_there:
                return

    def _handled(self) -> Iterator[None]:
        """Handle the frames that come, one a step; at their end note why."""
        try:
            for kind, number, payload in self._frames:
                self._handle(kind, number, payload)
                yield
        except ConnectionLost:
            pass
        except SremoteError as error:
            self.kill(error)
            return
        self.fail()

    def _handle(self, kind: int, number: int, payload: memoryview) -> None:
        answer = self._answer
        if kind == frames.VALUE:
            if answer is not None and answer.number == number:
                answer.value = bytes(payload)
                answer.bell.ring()
        elif kind >= frames.OPEN:
            self._handle_channel(kind, number, payload)
        elif kind in (frames.STDOUT, frames.STDERR):
            if self._output is not None:
                self._output("stdout" if kind == frames.STDOUT else "stderr", bytes(payload))
        elif answer is not None and answer.number == number and answer.response.take(payload):
            answer.bell.ring()

    def _handle_channel(self, kind: int, number: int, payload: memoryview) -> None:
        try:
            self.channels.handle(kind, number, payload)
        except FormatError as error:
            raise FormatError(f"{self._host.where}: {error.message}", error.remedy) from None
