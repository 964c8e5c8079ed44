"""Carries the streams of a command, or of a TCP connection, that this host makes for a client behind a session."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
from typing import Any, Callable, List

from .channel import Channel

CHUNK = 1 << 16
KILL_GRACE = 0.5
"""Seconds between SIGTERM, on which a program cleans up, and SIGKILL."""


def run(channel: Channel, argv: List[str]) -> None:
    """Run a command in the home directory, and send its exit status, minus the signal's number where one ended it.

    The first value is a list of three channels for its standard input, output and
    error, each a run of bytes.  The command is ended when ``channel`` is closed.
    """
    streams: List[Channel] = channel.receive()
    process = _start(argv)
    assert process.stdin is not None
    readers = [
        _thread(_pump, _reader(file), stream) for file, stream in zip((process.stdout, process.stderr), streams[1:])
    ]
    _thread(_feed, streams[0], process.stdin.write, process.stdin.close)
    _thread(_end_with, channel, process)
    for reader in readers:
        reader.join()
    channel.send(process.wait())


def connect(channel: Channel, host: str, port: int, timeout: float) -> None:
    """Connect to a port, and carry bytes both ways; the first value sent is None, or why that is not possible."""
    try:
        connection = socket.create_connection((host, port), timeout)
    except (OSError, UnicodeError) as error:
        channel.send(getattr(error, "strerror", None) or str(error) or type(error).__name__)
        return
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    channel.send(None)
    with connection:
        feeder = _thread(_feed, channel, connection.sendall, lambda: connection.shutdown(socket.SHUT_RDWR))
        _pump(lambda: connection.recv(CHUNK), channel)
        feeder.join()


def _start(argv: List[str]) -> "subprocess.Popen[bytes]":
    # What cannot be started is left to a shell to say, with status 126 or 127.
    failure: Any = None
    for command in (argv, ["/bin/sh", "-c", 'exec "$@"', "sh"] + argv):
        try:
            return subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                cwd=os.path.expanduser("~"),
            )
        except OSError as error:
            failure = error
    raise failure


def _thread(function: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def _reader(file: Any) -> Callable[[], bytes]:
    return lambda: os.read(file.fileno(), CHUNK)


def _pump(read: Callable[[], bytes], channel: Channel) -> None:
    """Send what is read, to its end."""
    with contextlib.suppress(OSError):
        while True:
            data = read()
            if not data:
                break
            channel.send(data)
    channel.close()


def _feed(channel: Channel, write: Callable[[Any], Any], close: Callable[[], None]) -> None:
    """Write what is received, to its end."""
    with contextlib.suppress(OSError, ValueError):
        for data in channel:
            view = memoryview(data)
            while view:
                written = write(view)
                view = view[len(view) if written is None else written :]
    with contextlib.suppress(OSError):
        close()
    channel.close()


def _end_with(channel: Channel, process: "subprocess.Popen[bytes]") -> None:
    """End a command with all its children when its channel is closed from the other side."""
    with contextlib.suppress(Exception):
        channel.waitclose()
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(OSError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_GRACE)
