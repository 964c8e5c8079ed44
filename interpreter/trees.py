"""The far side of a copy of files: sends or receives a tree on its standard streams.

    __main__.py --tree send|receive OPTIONS

OPTIONS is a JSON object: ``path``, which starts at the home directory where it is
relative, and the options of ``Sender`` or ``Receiver``.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any, Dict, List

from .errors import FormatError
from .tree_frames import to_bytes
from .tree_receiver import Receiver
from .tree_sender import Sender

_READ = 1 << 17
_SET_PIPE_SIZE = 1031
"""F_SETPIPE_SZ of Linux: larger pipes change hands less often."""


def main(arguments: List[str]) -> int:
    """Do what ``arguments`` say and return the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    role, options = arguments[1], json.loads(arguments[2])
    path = to_bytes(options.pop("path"))
    os.chdir(os.path.expanduser(b"~"))
    _widen_pipes()
    try:
        if role == "send":
            return send(path, options)
        return receive(path, options)
    except BrokenPipeError:
        return 1
    except (FormatError, OSError) as error:
        sys.stderr.write("sremote: {}\n".format(error))
        return 1


def send(path: bytes, options: Dict[str, Any]) -> int:
    """Send the tree at ``path``."""
    sender = Sender(path, _write, **options)
    return 0 if sender.run(lambda: os.read(0, _READ)) else 1


def receive(path: bytes, options: Dict[str, Any]) -> int:
    """Receive a tree to ``path``; where the line drops, only what is whole stays."""
    receiver = Receiver(lambda _: path, _write, **options)
    try:
        while True:
            data = os.read(0, _READ)
            if not data:
                return 0 if receiver.done else 1
            receiver.feed(data)
    finally:
        receiver.close()


def _write(data: memoryview) -> None:
    while data:
        data = data[os.write(1, data) :]


def _widen_pipes() -> None:
    with suppress(ImportError, OSError):
        import fcntl

        for descriptor in (0, 1):
            fcntl.fcntl(descriptor, _SET_PIPE_SIZE, 1 << 20)
