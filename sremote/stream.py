"""An open stream to the interpreter on a host: frames both ways.

A command starts the interpreter, which is pushed first where it is missing.  The
first frames ride along with that command, since a server takes no input before the
command runs: so starting, request and response share one round trip.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import suppress

from sremote.bundle import interpreter_bundle, interpreter_digest, interpreter_files
from sremote.connectors.base import Completed, Process
from sremote.errors import ConnectionLost, FormatError, LineTimeout, SremoteError
from sremote.host import EXIT_NO_ROOT, Host, Probe
from sremote.interpreter import frames
from sremote.interpreter.wire import Buffer

log = logging.getLogger("sremote")

INLINE = 3000
"""Bytes of the first frames, at most; csh takes no words much longer."""
HELLO_TIMEOUT = 120.0
"""Seconds for the interpreter to start: a Python on a cold Lustre takes its time."""
CLOSE_TIMEOUT = 5.0
"""Seconds for the far side to end by itself once its input has ended."""
_SMALL = 1 << 14
"""Bytes of a payload that are copied behind its head, so that both go in one packet."""


class Stream:
    """Starts the interpreter on ``host``; ``first`` are whole frames of at most INLINE bytes.

    One thread may read while others write.
    """

    def __init__(self, host: Host, first: bytes = b"") -> None:
        self._host = host
        self._sending = threading.Lock()
        self._greeted = threading.Event()
        self._errors = bytearray()
        self._process: Process = host.connector.start(host.command(_command(host, first)))
        self._error_reader = threading.Thread(target=self._read_errors, name=f"sremote errors {host.name}", daemon=True)
        self._error_reader.start()

    def write(self, head: bytes, payload: Buffer = b"") -> None:
        """Send the head of a frame and its payload, which other threads' frames do not part."""
        with self._sending:
            if len(payload) < _SMALL:
                self._process.write(head + bytes(payload))
            else:
                self._process.write(head)
                self._process.write(memoryview(payload))

    def read(self) -> Iterator[frames.Frame]:
        """Yield the frames that arrive, until the stream ends.

        A payload is good until the next frame is asked for.  The greeting is dealt
        with here.  Raises why the interpreter could not start, FormatError where
        what arrives is not frames, and LineError where the line fails.
        """
        reader = frames.FrameReader()
        while data := self._process.read():
            for kind, number, payload in reader.feed(data):
                if kind == frames.HELLO:
                    self._greet(payload)
                else:
                    yield kind, number, payload
        status = self._process.wait(CLOSE_TIMEOUT)
        if status == EXIT_NO_ROOT or (not self._greeted.is_set() and status > 0):
            self._error_reader.join(CLOSE_TIMEOUT)
            raise self._host.failure_to_start(Completed(status, b"", bytes(self._errors)))

    def wait_for_greeting(self) -> None:
        """Wait until the host has said what it is, while another thread reads.  Raises LineTimeout."""
        if not self._greeted.wait(HELLO_TIMEOUT):
            raise LineTimeout(f"{self._host.where}: the interpreter there has not started in {HELLO_TIMEOUT:.0f} s")

    def give_up_greeting(self) -> None:
        """Let go of whoever waits for a greeting that will not come."""
        self._greeted.set()

    def status(self, timeout: float = CLOSE_TIMEOUT) -> int:
        """Return the exit status of the interpreter, which has ended or is about to."""
        return self._process.wait(timeout)

    def close(self) -> None:
        """End the interpreter's input, and wait a little for it to end by itself."""
        with suppress(SremoteError):
            self._process.close_stdin()
            self._process.wait(CLOSE_TIMEOUT)
        self._process.kill()

    def kill(self) -> None:
        """End the stream at once."""
        self._process.kill()

    def _greet(self, payload: memoryview) -> None:
        try:
            found = json.loads(bytes(payload))
            missing = found.pop("missing", False)
        except (ValueError, AttributeError, TypeError) as error:
            raise FormatError(f"{self._host.where}: the interpreter's greeting is damaged: {error}") from None
        self._host.greet(Probe.from_hello(found))
        if missing:
            log.info("%s: pushing the interpreter", self._host.where)
            self.write(frames.pack(frames.BUNDLE, 0, interpreter_bundle()))
        self._greeted.set()

    def _read_errors(self) -> None:
        with suppress(SremoteError):
            while data := self._process.read_stderr():
                log.debug("%s: %s", self._host.where, data.decode("utf-8", "replace").rstrip())
                self._errors[:] = (self._errors + data)[-4096:]


def lost(host: Host) -> ConnectionLost:
    """Return the error for a stream that ended though nobody had closed it."""
    return ConnectionLost(f"{host.where}: the line dropped")


def _command(host: Host, first: bytes) -> list[str]:
    files = interpreter_files()
    arguments = [
        files["bootstrap.py"].decode(),
        host.root,
        host.shared or "",
        interpreter_digest(),
        *host.wanted_environment,
        base64.b64encode(first).decode(),
    ]
    python = f"SREMOTE_PYTHON={host.python or ''}"
    return ["env", python, "sh", "-c", files["interpreter.sh"].decode(), "interpreter.sh", "--serve", *arguments]
