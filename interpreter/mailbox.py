"""A mailbox: one long process that carries out what is left for it in a folder, and leaves the answers there.

So a client that can only put and get files starts commands here and talks with them.

    claim       made by the one process that serves the mailbox
    state       JSON: beat, host, process, home, seconds left, and why it ended
    in/1 …      letters for this process, which removes each once it has taken it
    out/1 …     letters for the client, removed once the client has taken them

Letters are numbered without gaps, so one that is put twice is taken once.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from typing import Any, Deque, Dict, List, Optional

from . import letters
from .processes import HOST

HEARTBEAT = 2.0
"""Seconds between two writings of ``state``."""
PAUSES = (0.01, 0.25)
"""Seconds between two looks for letters: soon after one came, and later."""
SLOWING = 1.2
GAP = 0.03
"""Seconds to gather output for a letter."""
KILL_GRACE = 2.0
CHUNK = 1 << 17
EXIT_TAKEN = 75
"""EX_TEMPFAIL of sysexits.h: another process serves this mailbox."""


class _Channel:
    """A command, and what is on its way to and from it."""

    def __init__(self, number: int, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.number = number
        self.process = process
        self.stdin: Optional[int] = process.stdin.fileno()
        self.outputs = {process.stdout.fileno(): letters.OUTPUT, process.stderr.fileno(): letters.ERRORS}
        self.input: Deque[bytes] = deque()
        self.input_ends = False
        self.sent = 0
        """Bytes of output that the client has not taken yet."""
        self.kill_at: Optional[float] = None
        """When it is killed that was asked to end."""

    def signal(self, number: int) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, number)


class Mailbox:
    """Serves one folder until it is told to stop, for ``seconds``, or until nobody has written for ``idle`` seconds."""

    def __init__(self, directory: str, seconds: Optional[float], idle: Optional[float]) -> None:
        self.directory = directory
        now = time.monotonic()
        self._deadline = None if seconds is None else now + seconds
        self._idle = idle
        self._last_letter = now
        self._taken = 0
        self._told_taken = 0
        self._written = 0
        self._read = 0
        self._outgoing: List[bytes] = []
        self._outgoing_size = 0
        self._outgoing_since = 0.0
        self._channels: Dict[int, _Channel] = {}
        self._left: List["subprocess.Popen[bytes]"] = []
        self._selector = selectors.DefaultSelector()
        self._beat = 0
        self._next_beat = 0.0
        self._pause = PAUSES[0]
        self._end = ""

    def claim(self) -> bool:
        """Become the one process that serves this mailbox."""
        try:
            os.mkdir(self._path("claim"), 0o700)
        except FileExistsError:
            return False
        for name in ("in", "out"):
            os.makedirs(self._path(name), mode=0o700, exist_ok=True)
        return True

    def serve(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop("it was stopped"))
        signal.signal(signal.SIGHUP, lambda *_: None)  # a handler, as commands would inherit that it is ignored
        while not self._end:
            self._write_state()
            self._take_letters()
            self._move()
            self._reap()
            self._send()
            now = time.monotonic()
            if self._deadline is not None and now >= self._deadline:
                self._stop("its time was up")
            elif self._idle is not None and now - self._last_letter > self._idle:
                self._stop("nobody had written for {:.0f} s".format(self._idle))
            elif not os.path.isdir(self._path("claim")):
                self._stop("its folder was removed")
        self._close()

    def _stop(self, reason: str) -> None:
        self._end = self._end or reason

    def _path(self, *names: str) -> str:
        return os.path.join(self.directory, *names)

    # Letters

    def _take_letters(self) -> None:
        self._pause = min(self._pause * SLOWING, PAUSES[1])
        try:
            there = set(os.listdir(self._path("in")))
        except OSError:
            return
        for name in there:
            if name.isdigit() and int(name) <= self._taken:  # one that was put once more
                self._remove("in", name)
        while str(self._taken + 1) in there:
            name = str(self._taken + 1)
            try:
                with open(self._path("in", name), "rb") as file:
                    letter = letters.read_letter(file.read())
            except OSError:
                return
            if letter is None:
                return
            self._taken += 1
            self._last_letter = time.monotonic()
            self._pause = PAUSES[0]
            read, parts = letter
            for number in range(self._read + 1, min(read, self._written) + 1):
                self._remove("out", str(number))
            self._read = max(self._read, min(read, self._written))
            for kind, number, payload in parts:
                self._handle(kind, number, payload)
            self._remove("in", name)

    def _remove(self, *names: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._path(*names))

    def _handle(self, kind: int, number: int, payload: bytes) -> None:
        if kind == letters.START:
            self._start(number, json.loads(payload.decode("utf-8")))
        elif kind == letters.STOP:
            self._stop("it was told to")
        elif number in self._channels:
            channel = self._channels[number]
            if kind == letters.INPUT:
                channel.input.append(payload)
            elif kind == letters.END_OF_INPUT:
                channel.input_ends = True
            elif kind == letters.KILL:
                channel.signal(signal.SIGTERM)
                channel.kill_at = time.monotonic() + KILL_GRACE
                self._close_input(channel)
            elif kind == letters.LEAVE:
                self._left.append(channel.process)
                self._forget(channel)
            elif kind == letters.TAKEN:
                channel.sent -= letters.read_count(payload)

    def _start(self, number: int, request: Dict[str, Any]) -> None:
        argv = [word.encode("utf-8", "surrogateescape") for word in request["argv"]]
        # What cannot be started is left to a shell to say, with status 126 or 127.
        for command in (argv, [b"/bin/sh", b"-c", b'exec "$@"', b"sh"] + argv):
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=os.path.expanduser("~"),
                    start_new_session=True,
                )
                break
            except OSError as error:
                reason = str(error.strerror)
        else:
            self._tell(letters.ERRORS, number, reason.encode() + b"\n")
            self._tell(letters.ENDED, number, letters.pack_status(126))
            return
        channel = self._channels[number] = _Channel(number, process)
        assert channel.stdin is not None
        os.set_blocking(channel.stdin, False)
        for descriptor in channel.outputs:
            self._selector.register(descriptor, selectors.EVENT_READ, channel)

    def _tell(self, kind: int, number: int, payload: bytes) -> None:
        if not self._outgoing:
            self._outgoing_since = time.monotonic()
        self._outgoing.append(letters.pack_part(kind, number, payload))
        self._outgoing_size += len(payload)

    def _send(self, at_once: bool = False) -> None:
        if self._outgoing:
            waited = time.monotonic() - self._outgoing_since
            if not at_once and waited < GAP and self._outgoing_size < letters.LETTER:
                return
        elif self._taken - self._told_taken < 8:
            return
        letter = letters.pack_letter(self._taken, self._outgoing)
        if self._write("out/{}".format(self._written + 1), letter):
            self._written += 1
            self._told_taken = self._taken
            self._outgoing, self._outgoing_size = [], 0
        else:
            time.sleep(PAUSES[1])

    def _write(self, name: str, content: bytes) -> bool:
        """Write a file in one step; say whether there was room for it."""
        beside = self._path(name + ".part")
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
            os.rename(beside, self._path(name))
            return True
        except OSError as error:
            sys.stderr.write("sremote: {}: {}\n".format(self._path(name), error.strerror))
            return False

    # The commands

    def _move(self) -> None:
        """Move input and output, waiting a little for either."""
        for channel in self._channels.values():
            for descriptor in channel.outputs:
                self._watch(descriptor, selectors.EVENT_READ, channel.sent < letters.WINDOW, channel)
            if channel.stdin is not None:
                if channel.input:
                    self._watch(channel.stdin, selectors.EVENT_WRITE, True, channel)
                elif channel.input_ends:
                    self._close_input(channel)
                else:
                    self._watch(channel.stdin, selectors.EVENT_WRITE, False, channel)
        pause = min(self._pause, GAP) if self._outgoing else self._pause
        if self._outgoing_size >= letters.LETTER:
            return
        for key, _ in self._selector.select(pause):
            if key.fd == key.data.stdin:
                self._feed(key.data)
            else:
                self._drain(key.data, key.fd)

    def _watch(self, descriptor: int, event: int, wanted: bool, channel: _Channel) -> None:
        there = descriptor in self._selector.get_map()
        if wanted and not there:
            self._selector.register(descriptor, event, channel)
        elif there and not wanted:
            self._selector.unregister(descriptor)

    def _feed(self, channel: _Channel) -> None:
        if channel.stdin is None:
            return
        data = channel.input.popleft()
        try:
            written = os.write(channel.stdin, data)
        except BlockingIOError:
            written = 0
        except OSError:
            self._close_input(channel)
            return
        if written < len(data):
            channel.input.appendleft(data[written:])
        if written:
            self._tell(letters.TAKEN, channel.number, letters.pack_count(written))

    def _close_input(self, channel: _Channel) -> None:
        waiting = sum(len(data) for data in channel.input)
        channel.input.clear()
        if waiting:
            self._tell(letters.TAKEN, channel.number, letters.pack_count(waiting))
        if channel.stdin is not None:
            self._watch(channel.stdin, selectors.EVENT_WRITE, False, channel)
            channel.stdin = None
            with contextlib.suppress(OSError):
                channel.process.stdin.close()  # type: ignore[union-attr]

    def _drain(self, channel: _Channel, descriptor: int) -> None:
        data = os.read(descriptor, CHUNK)
        if data:
            channel.sent += len(data)
            self._tell(channel.outputs[descriptor], channel.number, data)
            return
        self._selector.unregister(descriptor)
        del channel.outputs[descriptor]

    def _reap(self) -> None:
        self._left = [process for process in self._left if process.poll() is None]
        for channel in list(self._channels.values()):
            if channel.kill_at is not None and time.monotonic() >= channel.kill_at:
                channel.signal(signal.SIGKILL)
            if channel.stdin is not None and channel.process.poll() is not None:
                self._close_input(channel)
            if not channel.outputs and channel.process.poll() is not None:
                self._tell(letters.ENDED, channel.number, letters.pack_status(channel.process.returncode))
                self._forget(channel)

    def _forget(self, channel: _Channel) -> None:
        self._close_input(channel)
        for descriptor in list(channel.outputs):
            self._watch(descriptor, selectors.EVENT_READ, False, channel)
        for file in (channel.process.stdout, channel.process.stderr):
            file.close()  # type: ignore[union-attr]
        del self._channels[channel.number]

    # Its own state

    def _write_state(self, ended: str = "") -> None:
        now = time.monotonic()
        if now < self._next_beat and not ended:
            return
        self._next_beat = now + HEARTBEAT
        self._beat += 1
        state = {
            "beat": self._beat,
            "host": HOST,
            "pid": os.getpid(),
            "home": os.path.expanduser("~"),
            "seconds_left": None if self._deadline is None else max(0.0, self._deadline - now),
            "ended": ended,
        }
        self._write("state", json.dumps(state).encode())

    def _close(self) -> None:
        for number, grace in ((signal.SIGTERM, KILL_GRACE), (signal.SIGKILL, KILL_GRACE)):
            end = time.monotonic() + grace
            for channel in self._channels.values():
                channel.signal(number)
            while self._channels and time.monotonic() < end:
                self._move()
                self._reap()
        for channel in list(self._channels.values()):  # what they started holds on to their outputs
            self._tell(letters.ENDED, channel.number, letters.pack_status(-signal.SIGKILL))
            self._forget(channel)
        self._send(at_once=True)
        if self._end == "it was told to":
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            self._write_state(self._end)


def serve_mailbox(directory: str, seconds: Optional[float], idle: Optional[float]) -> int:
    """Serve the mailbox in ``directory``; return the exit status."""
    mailbox = Mailbox(os.path.abspath(directory), seconds, idle)
    if not mailbox.claim():
        sys.stderr.write("sremote: the mailbox {} is served by another process\n".format(directory))
        return EXIT_TAKEN
    mailbox.serve()
    return 0
