"""A command with open streams over a WebSocket; ``connectors/newt_stream.py`` says what the messages are.

When the line drops, the command is left as an ssh server leaves one: its input ends and
nobody takes its output.  When the client kills it, it gets SIGHUP as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Sequence
from typing import Any, cast

from starlette.websockets import WebSocket, WebSocketDisconnect

from sremote.connectors.newt_stream import PIECE, WINDOW
from sremote.connectors.shell import check_argv
from sremote.errors import UsageError

BEGIN_TIMEOUT = 30.0
"""Seconds for the first message."""
_UNUSABLE = 1003
_POLICY = 1008

log = logging.getLogger("sremote.gateway")


async def serve_command(socket: WebSocket, home: str) -> None:
    """Start the command that the first message names, and carry its streams until it has ended."""
    try:
        message = json.loads(await asyncio.wait_for(socket.receive_text(), BEGIN_TIMEOUT))
        argv = message["argv"]
        if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
            raise TypeError
        check_argv(argv)
    except WebSocketDisconnect:
        return
    except (ValueError, KeyError, TypeError, UsageError, TimeoutError):
        await socket.close(_UNUSABLE, "the first message names no command")
        return
    command = _Command(socket)
    try:
        await command.start(argv, home)
    except OSError as error:
        await socket.close(1011, (error.strerror or "cannot start it")[:100])
        return
    sending = asyncio.create_task(command.send())
    receiving = asyncio.create_task(command.receive())
    try:
        await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        command.let_go()
        for task in (sending, receiving):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await task
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await socket.close()


class _Command(asyncio.SubprocessProtocol):
    """A process, with what its streams hold that is still to be sent."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._waiting: asyncio.Queue[bytes | str | None] = asyncio.Queue()
        self._room = {1: WINDOW, 2: WINDOW}
        self._open = {1, 2}
        self._input_room = WINDOW
        self._owed = 0
        """Bytes of input that the command's pipe has not taken yet."""
        self._paused = False
        self._takes_input = True
        self._is_let_go = False
        self._has_exited = False
        self._transport: asyncio.SubprocessTransport

    async def start(self, argv: Sequence[str], home: str) -> None:
        loop = asyncio.get_running_loop()
        words = [os.fsencode(word) for word in argv]
        try:
            await loop.subprocess_exec(lambda: self, *words, cwd=home, start_new_session=True)
        except OSError:
            # A shell says why it cannot be started, with status 126 or 127 as on every other host.
            shell = ["/bin/sh", "-c", 'exec "$@"', "sh"]
            await loop.subprocess_exec(lambda: self, *shell, *words, cwd=home, start_new_session=True)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._room[fd] -= len(data)
        if self._room[fd] <= 0:
            self._pipe(fd).pause_reading()
        for place in range(0, len(data), PIECE):
            self._waiting.put_nowait(bytes([fd]) + data[place : place + PIECE])

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 0:
            self._takes_input = False
            self._tell({"closed": 0})
        elif fd in self._open:
            self._open.discard(fd)
            self._tell({"end": fd})
            self._end_if_done()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._tell_taken()

    def process_exited(self) -> None:
        self._has_exited = True
        self._tell({"status": self._transport.get_returncode()})
        self._end_if_done()
        if self._is_let_go:
            self._transport.close()

    async def send(self) -> None:
        """Send what waits, until the command has ended and all its output has gone."""
        while (message := await self._waiting.get()) is not None:
            if isinstance(message, bytes):
                await self._socket.send_bytes(message)
            else:
                await self._socket.send_text(message)

    async def receive(self) -> None:
        """Take messages until the client hangs up."""
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                data = message.get("bytes")
                if data is not None:
                    self._write(data)
                else:
                    self._take(json.loads(message["text"]))

    def let_go(self) -> None:
        """Close the command's streams; the loop goes on watching for its end."""
        self._is_let_go = True
        if self._has_exited:
            self._transport.close()
            return
        for number in (0, 1, 2):  # the transport's own close would kill the process
            pipe = self._transport.get_pipe_transport(number)
            if pipe is not None:
                pipe.close()

    def _write(self, data: bytes) -> None:
        self._input_room -= len(data) - 1
        if data[:1] != b"\0" or self._input_room < 0:
            raise WebSocketDisconnect(_POLICY)
        pipe = self._transport.get_pipe_transport(0)
        if pipe is not None and self._takes_input:
            cast(asyncio.WriteTransport, pipe).write(data[1:])
        self._owed += len(data) - 1
        if not self._paused:
            self._tell_taken()

    def _tell_taken(self) -> None:
        self._input_room += self._owed
        self._tell({"took": [0, self._owed]})
        self._owed = 0

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"took": [1 | 2 as number, int(size)]} if size >= 0:
                before = self._room[number]
                self._room[number] += size
                if before <= 0 < self._room[number] and number in self._open:
                    self._pipe(number).resume_reading()
            case {"end": 0}:
                pipe = self._transport.get_pipe_transport(0)
                if pipe is not None:
                    pipe.close()
            case {"kill": True}:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._transport.get_pid(), signal.SIGHUP)
                raise WebSocketDisconnect

    def _tell(self, message: dict[str, Any]) -> None:
        self._waiting.put_nowait(json.dumps(message))

    def _end_if_done(self) -> None:
        if not self._open and self._has_exited:
            self._waiting.put_nowait(None)

    def _pipe(self, number: int) -> asyncio.ReadTransport:
        return cast(asyncio.ReadTransport, self._transport.get_pipe_transport(number))
