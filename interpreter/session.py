"""A living process: it carries out calls one after the other and keeps what they import and make.

The main thread reads the stream and makes the calls.  A second one passes on what
child processes and C libraries print, and ends the process when the client goes.
"""

import contextlib
import importlib
import io
import json
import os
import select
import signal
import struct
import sys
import threading
import time
from typing import Any, Dict, Iterator, List, Optional

from . import frames
from .execution import carry_out, prepare
from .processes import HOST
from .values import encode
from .wire import Buffer, Header, Message, parse

HANGUP_GRACE = 3.0
"""Seconds for a call to end by itself once the client has gone."""
_NAME = struct.Struct(">H")
_SIZE = struct.Struct(">Q")
_HUNG_UP = getattr(select, "POLLRDHUP", 0)


def preload(modules: List[str]) -> None:
    """Import modules, so that later calls find them imported."""
    for name in modules:
        importlib.import_module(name)


class Session:
    """The far end of a client's ``Session``; the stream is two file descriptors."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._sending = threading.Lock()
        self._draining = threading.Lock()
        self._frames = frames.FrameReader()
        self._header: Header = {}
        self._request = bytearray()
        self._missing = 0
        self._printed: Dict[int, int] = {}

    def run(self, first: bytes) -> None:
        """Serve the stream until it ends; ``first`` is what has been read of it."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)  # so that it can be ended with all its children, and with nothing else
        self._take_output()
        threading.Thread(target=self._watch, daemon=True).start()
        for kind, number, payload in self._receive(first):
            if kind == frames.EVALUATE:
                self._evaluate(number, payload)
            elif kind in (frames.CALL, frames.DATA):
                self._take(kind, number, payload)
            elif kind == frames.SESSION:
                self._open(json.loads(bytes(payload).decode("utf-8")))

    def _receive(self, data: bytes) -> "Iterator[frames.Frame]":
        while data:
            for frame in self._frames.feed(data):
                yield frame
            data = os.read(self._incoming, frames.CHUNK)

    def _open(self, options: Header) -> None:
        """Take on the surroundings and import what was asked for."""
        self._header = {"id": options["id"], "allow": options["allow"]}
        request = Message({"target": {"kind": "name", "module": __name__, "function": "preload"}})
        encode(request, "value", ([options["preload"]], {}))
        self._carry_out(0, request, options)

    def _evaluate(self, number: int, payload: memoryview) -> None:
        (length,) = _NAME.unpack_from(payload)
        module, _, function = bytes(payload[2 : 2 + length]).decode("utf-8").partition(":")
        request = Message(dict(self._header, target={"kind": "name", "module": module, "function": function}))
        request.add("value", bytes(payload[2 + length :]))
        self._carry_out(number, request)

    def _take(self, kind: int, number: int, payload: memoryview) -> None:
        """Take a part of a request in its long form, and carry it out once it is whole."""
        if kind == frames.CALL:
            start = 1 + payload[0]
            (self._missing,) = _SIZE.unpack_from(payload, start)
            payload = payload[start + _SIZE.size :]
            self._request = bytearray()
        self._request += payload
        self._missing -= len(payload)
        if self._missing == 0:
            request, self._request = self._request, bytearray()
            self._carry_out(number, parse(request))

    def _carry_out(self, number: int, request: Message, surroundings: Optional[Header] = None) -> None:
        response = Message({})
        outcome = carry_out(request, response, lambda: prepare(surroundings) if surroundings else None)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        while self._drain():
            pass
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
        frame = frames.pack(kind, number, payload)
        with self._sending:
            self._write(frame)

    def _write(self, data: Buffer) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._outgoing, view) :]

    # What is printed

    def _take_output(self) -> None:
        """Send on what Python prints at once, and what is written to descriptors 1 and 2 through pipes."""
        for number, kind in ((1, frames.STDOUT), (2, frames.STDERR)):
            readable, writable = os.pipe()
            os.dup2(writable, number)
            os.close(writable)
            os.set_blocking(readable, False)
            self._printed[readable] = kind
        sys.stdout = sys.__stdout__ = self._text_stream(1, frames.STDOUT)  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self._text_stream(2, frames.STDERR)  # type: ignore[misc]

    def _text_stream(self, number: int, kind: int) -> io.TextIOWrapper:
        binary = io.BufferedWriter(_Printer(self, number, kind))
        return io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", line_buffering=True)

    def print(self, kind: int, data: Buffer) -> None:
        """Send output on."""
        for piece in frames.pieces([data], frames.CHUNK):
            self._send(kind, 0, piece)

    def _drain(self) -> bool:
        """Pass on what the pipes hold; say whether they held anything."""
        with self._draining:  # so that what the other thread has read is on its way before a value is
            readable, _, _ = select.select(list(self._printed), [], [], 0)
            for pipe in readable:
                self.print(self._printed[pipe], os.read(pipe, frames.CHUNK))
        return bool(readable)

    def _watch(self) -> None:
        """Pass on what is printed during a call; end the process when the client has gone and a call goes on."""
        poll = select.poll()
        poll.register(self._incoming, _HUNG_UP)
        for pipe in self._printed:
            poll.register(pipe, select.POLLIN)
        while True:
            for found, event in poll.poll():
                if found == self._incoming and event & (_HUNG_UP | select.POLLHUP | select.POLLERR):
                    time.sleep(HANGUP_GRACE)
                    os.kill(0, signal.SIGTERM)
                    time.sleep(HANGUP_GRACE)
                    os.kill(0, signal.SIGKILL)
            self._drain()


class _Printer(io.RawIOBase):
    """Takes what Python prints, and is the descriptor that child processes inherit."""

    def __init__(self, session: Session, number: int, kind: int) -> None:
        super().__init__()
        self._session = session
        self._number = number
        self._kind = kind

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: Any) -> int:
        self._session.print(self._kind, bytes(data))
        return len(data)
