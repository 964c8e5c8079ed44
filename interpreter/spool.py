"""A command whose streams are files, for a client that can only run one command after the other.

    spool.py start FOLDER ARGV...        starts it, in the background
    spool.py exchange FOLDER IN OUT      takes standard input as piece IN; prints what has come from piece OUT on
    spool.py end FOLDER IN               ends its input before piece IN
    spool.py kill FOLDER                 ends it, and removes the folder

In FOLDER: ``in/N`` are the pieces of its input, ``out/N`` those of its output, each of which
begins with 1 or 2 for standard output or error; ``status`` is how it ended; ``seen`` changes with each
exchange.  Pieces are put in place by a rename and have numbers, so that an exchange may be repeated.
What ``exchange`` prints is a line of JSON, the ``status`` or null and the ``sizes`` of the pieces, and the pieces.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Any, List, Optional

PIECE = 1 << 18
MOST_WAITING = 16
"""Pieces of output that may wait to be fetched; then the command has to wait."""
PATIENCE = 0.5
"""Seconds that an exchange waits for something to come."""
LOOK = 0.01
"""Seconds between looks at the folder."""
FORGOTTEN = 300.0
"""Seconds without an exchange after which the command is ended."""


def start(folder: str, argv: List[str]) -> None:
    """Start the command, and a process that carries its streams."""
    for name in ("in", "out"):
        os.makedirs(os.path.join(folder, name), 0o700)
    _put(os.path.join(folder, "seen"), b"")
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(null, number)
            try:
                _carry(folder, argv)
            finally:
                os._exit(0)
        os._exit(0)
    os.wait()


def exchange(folder: str, incoming: int, outgoing: int) -> None:
    """Take a piece of input, unless it is here already, forget the output before ``outgoing``, print the rest."""
    data = sys.stdin.buffer.read()
    _put(os.path.join(folder, "seen"), str(incoming).encode())
    path = os.path.join(folder, "in", str(incoming))
    if data and not os.path.exists(path):
        _put(path, data)
    for number in _numbers(os.path.join(folder, "out")):
        if number < outgoing:
            os.unlink(os.path.join(folder, "out", str(number)))
    deadline = time.monotonic() + (0.0 if data else PATIENCE)
    while True:
        status = _read(os.path.join(folder, "status"))
        found = _numbers(os.path.join(folder, "out"))
        if found or status is not None or time.monotonic() > deadline:
            break
        time.sleep(LOOK)
    pieces = [_read(os.path.join(folder, "out", str(number))) or b"" for number in found]
    head = {"status": None if status is None else int(status), "sizes": [len(piece) for piece in pieces]}
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + b"".join(pieces))


def kill(folder: str) -> None:
    """End the command with its children, and remove the folder."""
    group = _read(os.path.join(folder, "group"))
    if group and _read(os.path.join(folder, "status")) is None:
        with contextlib.suppress(OSError):
            os.killpg(int(group), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def _carry(folder: str, argv: List[str]) -> None:
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
    except OSError:
        _put(os.path.join(folder, "status"), b"127")
        return
    _put(os.path.join(folder, "group"), str(process.pid).encode())
    numbering = _Numbering(os.path.join(folder, "out"))
    readers = [
        threading.Thread(target=_collect, args=(kind, file, numbering), daemon=True)
        for kind, file in ((b"1", process.stdout), (b"2", process.stderr))
    ]
    for reader in readers:
        reader.start()
    threading.Thread(target=_feed, args=(folder, process.stdin), daemon=True).start()
    while process.poll() is None:
        time.sleep(LOOK)
        if _is_forgotten(folder):
            kill(folder)
            return
    for reader in readers:
        while reader.is_alive() and not _is_forgotten(folder):
            reader.join(1.0)
    _put(os.path.join(folder, "status"), str(process.returncode).encode())
    while os.path.isdir(folder) and not _is_forgotten(folder):
        time.sleep(1.0)
    shutil.rmtree(folder, ignore_errors=True)


def _is_forgotten(folder: str) -> bool:
    try:
        return time.time() - os.stat(os.path.join(folder, "seen")).st_mtime > FORGOTTEN
    except OSError:
        return True


class _Numbering:
    """Puts pieces of output in their place, one after the other, whichever stream they are of."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._next = 0
        self._lock = threading.Lock()

    def put(self, data: bytes) -> None:
        """Put a piece in place; wait while as many as may wait have not been fetched."""
        while len(_numbers(self._folder)) >= MOST_WAITING:
            time.sleep(LOOK)
        with self._lock:
            _put(os.path.join(self._folder, str(self._next)), data)
            self._next += 1


def _collect(kind: bytes, file: Any, numbering: _Numbering) -> None:
    with contextlib.suppress(OSError):
        while True:
            data = os.read(file.fileno(), PIECE)
            if not data:
                return
            numbering.put(kind + data)


def _feed(folder: str, stdin: Any) -> None:
    number = 0
    with contextlib.suppress(OSError, ValueError):
        while True:
            path = os.path.join(folder, "in", str(number))
            data = _read(path)
            if data is not None:
                number += 1
                stdin.write(data)
                stdin.flush()
                _put(path, b"")  # so that it is not taken for new when it comes again
            elif os.path.exists(os.path.join(folder, "in", "end.{}".format(number))):
                break
            else:
                time.sleep(LOOK)
    with contextlib.suppress(OSError):
        stdin.close()


def _numbers(folder: str) -> List[int]:
    try:
        return sorted(int(name) for name in os.listdir(folder) if name.isdigit())
    except OSError:
        return []


def _put(path: str, data: bytes) -> None:
    """Write a file beside its place, then rename it into that."""
    partial = "{}.{}.{}.part".format(path, os.getpid(), threading.get_ident())
    with open(partial, "wb") as file:
        file.write(data)
    os.rename(partial, path)


def _read(path: str) -> Optional[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def main(arguments: List[str]) -> None:
    """Do what the command line says."""
    verb, folder = arguments[:2]
    if verb == "start":
        start(folder, arguments[2:])
    elif verb == "exchange":
        exchange(folder, int(arguments[2]), int(arguments[3]))
    elif verb == "end":
        _put(os.path.join(folder, "in", "end." + arguments[2]), b"")
    else:
        kill(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
