"""Shows a component's window on this terminal, whatever the way to its host."""

from __future__ import annotations

import os
import signal
import struct
import sys
import termios
import threading
import tty
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sremote.connectors.base import Capability, Process
from sremote.errors import SremoteError, UsageError
from sremote.host import Host
from sremote.interpreter.starting import start_line

_READ = 1 << 14


def attach(host: Host, command: Sequence[str]) -> int:
    """Run a command of the host on this terminal until it ends; return its exit status.

    Raises UsageError where this is no terminal, or the host's connector has no streams.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("there is no terminal here to attach", f"On {host.where} type: {' '.join(command)}")
    if Capability.STREAM not in host.connector.capabilities:
        raise UsageError(
            f"{host.where}: its connector has no streams, so nothing can be attached to",
            f"There type: {' '.join(command)}",
        )
    host.ensure_interpreter()
    probe = host.probe()
    size = os.get_terminal_size()
    words = ["env", f"TERM={os.environ.get('TERM', 'xterm')}", probe.python, "-sSE", "-c", start_line("attachment")]
    words += [probe.interpreter, str(size.columns), str(size.lines), *command]
    process = host.connector.start(host.command(words))
    modes = termios.tcgetattr(0)
    before: Any = signal.getsignal(signal.SIGWINCH)
    try:
        tty.setraw(0)
        signal.signal(signal.SIGWINCH, lambda *_: _send_size(process))
        threading.Thread(target=_send_keys, args=[process], daemon=True).start()
        while data := process.read():
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        return process.wait(5.0)
    finally:
        signal.signal(signal.SIGWINCH, before)
        termios.tcsetattr(0, termios.TCSADRAIN, modes)
        process.kill()


def _send_keys(process: Process) -> None:
    with suppress(SremoteError, OSError):
        while data := os.read(0, _READ):
            process.write(struct.pack(">cH", b"d", len(data)) + data)


def _send_size(process: Process) -> None:
    size = os.get_terminal_size()
    with suppress(SremoteError):
        process.write(struct.pack(">cHHH", b"w", 4, size.lines, size.columns))
