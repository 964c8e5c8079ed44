"""A living process: it carries out calls one after the other and keeps what they import and make.

The main thread reads the stream and makes the calls.  Where channels are open, or a
call takes its time, the watcher reads instead: a second thread, which also passes on
what child processes and C libraries print, and ends the process when the client goes.
So a call that comes alone passes from no thread to another.
"""

import contextlib
import fcntl
import importlib
import json
import os
import select
import signal
import struct
import sys
import threading
import time
import traceback
from collections import deque
from functools import partial
from typing import Callable, Deque, Dict, List, Optional

from . import frames
from .bells import Bell
from .channel import Channel
from .channel_exec import ExecModel, FarChannels
from .errors import ChannelClosed
from .execution import carry_out, prepare
from .processes import HOST
from .session_output import Output
from .values import encode
from .wire import Buffer, Header, Message, parse

HANGUP_GRACE = 3.0
"""Seconds for a call to end by itself once the client has gone."""
PATIENCE = 50
"""Milliseconds that a call may take, and the same again, before the watcher reads."""
PIPE_SIZE = 1 << 20
"""Bytes that a pipe of the stream is to hold; Linux has 64 KiB otherwise, at each of which two processes take turns."""
EXIT_DAMAGED = 65
"""What the process ends with where what comes is not frames."""
_NAME = struct.Struct(">H")
_SIZE = struct.Struct(">Q")
F_SETPIPE_SZ = 1031
"""As fcntl has it on Linux, from Python 3.10."""
_HUNG_UP = getattr(select, "POLLRDHUP", 0)


def preload(modules: List[str]) -> None:
    """Import modules, so that later calls find them imported."""
    for name in modules:
        importlib.import_module(name)


class _Arriving:
    """A request that comes in parts."""

    def __init__(self, size: int, then: Callable[[Message], None]) -> None:
        self.missing = size
        self.then = then
        self.request = bytearray()


class Session:
    """The far end of a client's ``Session``; the stream is two file descriptors."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._sending = threading.Lock()
        self._frames = frames.FrameReader()
        self._header: Header = {}
        self._arriving: Dict[int, _Arriving] = {}
        self._channels = FarChannels(self._send)
        self._output = Output(self._send)
        self._tasks: Deque[Callable[[], None]] = deque()
        self._bell = Bell()
        # Whose turn it is to read.
        self._turn = threading.Lock()
        self._watcher_reads = False
        self._watcher_sleeps = False
        self._started = 0
        self._busy = False
        self._over = False
        self._waking, self._wakeup = os.pipe()

    def run(self, first: bytes) -> None:
        """Serve the stream until it ends; ``first`` is what has been read of it."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)  # so that it can be ended with all its children, and with nothing else
        for pipe in (self._incoming, self._outgoing):
            with contextlib.suppress(OSError):  # it may be none, or the user may have too many
                fcntl.fcntl(pipe, F_SETPIPE_SZ, PIPE_SIZE)
        self._output.take()
        threading.Thread(target=self._watch, daemon=True).start()
        data = first
        while True:
            self._feed(data)
            while not self._take_turn():
                self._work()
            data = os.read(self._incoming, 2 * frames.CHUNK)
            if not data:
                break
        self._end()

    # Who reads

    def _take_turn(self) -> bool:
        """Say whether the main thread is to read now; otherwise there is work, or there will be."""
        with self._turn:
            if self._channels and not self._watcher_reads:
                self._watcher_reads = True
                os.write(self._wakeup, b"\0")
            if self._tasks or self._channels and not self._over:
                return False
            self._watcher_reads = False
            return True

    def _work(self) -> None:
        """Carry out the next task; wait for one where there is none."""
        if not self._tasks:
            self._bell.wait()
            return
        task = self._tasks.popleft()
        self._started += 1
        self._busy = True
        if self._watcher_sleeps and not self._watcher_reads:
            self._watcher_sleeps = False
            os.write(self._wakeup, b"\0")
        task()
        self._busy = False

    def _watch(self) -> None:
        """Pass on what is printed, read while the main thread cannot, and end the process when the client has gone."""
        poll = select.poll()
        for pipe in (self._waking, *self._output.pipes):
            poll.register(pipe, select.POLLIN)
        seen = -1
        while True:
            reads = self._watcher_reads
            # Where it reads, or nothing has been done for a while, it need not look after the main thread:
            # the next task wakes it.  That may have begun just now.
            self._watcher_sleeps = reads or (not self._busy and self._started == seen)
            if not reads and self._started != seen:
                self._watcher_sleeps = False
            poll.register(self._incoming, _HUNG_UP | (select.POLLIN if reads else 0))
            found = dict(poll.poll(None if self._watcher_sleeps else PATIENCE))
            event = found.pop(self._incoming, 0)
            if self._waking in found:
                os.read(self._waking, 512)
            if reads and event & select.POLLIN:
                self._read_instead()
            elif event & (_HUNG_UP | select.POLLHUP | select.POLLERR):
                self._hang_up()
            if found:
                self._output.drain()
            if self._busy and self._started == seen:
                with self._turn:
                    self._watcher_reads = self._watcher_reads or (self._busy and self._started == seen)
            seen = self._started

    def _read_instead(self) -> None:
        with self._turn:
            if not self._watcher_reads:
                return
            data = os.read(self._incoming, 2 * frames.CHUNK)
            try:
                self._feed(data)
            except Exception:
                traceback.print_exc()
                os._exit(EXIT_DAMAGED)
        if not data:
            self._hang_up()
        if self._tasks or not self._channels:
            self._bell.ring()

    def _hang_up(self) -> None:
        """End the process with all its children, unless it ends by itself in time."""
        self._end()
        self._over = True
        self._bell.ring()
        for number in (signal.SIGTERM, signal.SIGKILL):
            time.sleep(HANGUP_GRACE)
            os.kill(0, number)

    def _end(self) -> None:
        self._channels.end(ChannelClosed("the client has gone"), quietly=True)

    # What comes

    def _feed(self, data: bytes) -> None:
        """Take the next bytes of the stream; never waits for anything but the line."""
        for kind, number, payload in self._frames.feed(data):
            if kind == frames.EVALUATE:
                self._tasks.append(partial(self._evaluate, number, payload))
            elif kind == frames.CLOSE and number == 0:
                os.kill(0, signal.SIGKILL)
            elif kind >= frames.ITEM:
                self._channels.handle(kind, number, payload)
            elif kind == frames.DATA:
                self._take(number, payload)
            elif kind == frames.CALL:
                self._begin(number, payload[1 + payload[0] :], partial(self._call, number))
            elif kind == frames.OPEN:
                self._begin(number, payload, partial(self._remote_exec, self._channels.open(number)))
            elif kind == frames.SESSION:
                self._tasks.append(partial(self._open, json.loads(bytes(payload).decode("utf-8"))))

    def _begin(self, number: int, payload: memoryview, then: Callable[[Message], None]) -> None:
        (size,) = _SIZE.unpack_from(payload)
        self._arriving[number] = _Arriving(size, then)
        self._take(number, payload[_SIZE.size :])

    def _take(self, number: int, payload: memoryview) -> None:
        """Take a part of a request, and go on with it once it is whole."""
        arriving = self._arriving[number]
        arriving.request += payload
        arriving.missing -= len(payload)
        if arriving.missing == 0:
            del self._arriving[number]
            arriving.then(parse(arriving.request))

    def _remote_exec(self, channel: Channel, request: Message) -> None:
        self._channels.executing.add(channel.number)
        run = partial(self._channels.remote_exec, request, channel, self._output.flush)
        where = request.header.get("thread")
        if where == "main" or (where == "free" and not self._busy and not self._tasks):
            self._tasks.append(run)
        else:
            threading.Thread(target=run, name="channel {}".format(channel.number)).start()

    # Calls

    def _open(self, options: Header) -> None:
        """Take on the surroundings and import what was asked for."""
        self._header = {"id": options["id"], "allow": options["allow"]}
        self._channels.allow(options["allow"])
        self._channels.owner.id = options.get("name") or options["id"]
        self._channels.owner.execmodel = ExecModel(options.get("execmodel") or "thread")
        request = Message({"target": {"kind": "name", "module": __name__, "function": "preload"}})
        encode(request, "value", ([options["preload"]], {}))
        self._carry_out(0, request, options)

    def _evaluate(self, number: int, payload: memoryview) -> None:
        (length,) = _NAME.unpack_from(payload)
        module, _, function = bytes(payload[2 : 2 + length]).decode("utf-8").partition(":")
        request = Message(dict(self._header, target={"kind": "name", "module": module, "function": function}))
        request.add("value", bytes(payload[2 + length :]))
        self._carry_out(number, request)

    def _call(self, number: int, request: Message) -> None:
        self._tasks.append(partial(self._carry_out, number, request))

    def _carry_out(self, number: int, request: Message, surroundings: Optional[Header] = None) -> None:
        response = Message({})
        outcome = carry_out(request, response, lambda: prepare(surroundings) if surroundings else None)
        self._output.flush()
        if outcome == {"outcome": "returned"} and len(response.sections) == 1:
            value = response.get("value")
            if len(value) <= frames.CHUNK:
                self._send(frames.VALUE, number, value)
                return
        response.header = dict(
            outcome,
            format=1,
            kind="response",
            id=request.header.get("id", self._header["id"]),
            host=HOST,
            python=list(sys.version_info[:3]),
            implementation=sys.implementation.name,
        )
        self._send_response(number, response)

    def _send_response(self, number: int, response: Message) -> None:
        chunks = response.chunks()
        size = sum(len(memoryview(chunk).cast("B")) for chunk in chunks)
        kind, head = frames.RESPONSE, _SIZE.pack(size)
        for piece in frames.pieces(chunks, frames.CHUNK - len(head)):
            with self._sending:
                self._write(frames.HEAD.pack(kind, number, len(head) + len(piece)) + head)
                self._write(piece)
            kind, head = frames.DATA, b""

    def _send(self, kind: int, number: int, payload: Buffer) -> None:
        head = frames.HEAD.pack(kind, number, len(payload))
        with self._sending:
            if len(payload) < frames.SMALL:
                self._write(head + bytes(payload))
            else:
                self._write(head)
                self._write(payload)

    def _write(self, data: Buffer) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._outgoing, view) :]
