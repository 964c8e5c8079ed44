"""The far side of a copy of files: sends or receives a tree on its standard streams.

Started as ``python -c START FOLDER ROLE PATH OPTION...``, where FOLDER is this one,
ROLE is ``send`` or ``receive``, and PATH starts at the home directory where it is
relative.  Options are ``always-copy``, ``delete``, ``scattered``, ``compress``,
``no-compress``, and ``request`` where there is no stream: what is said to it has been said when it starts,
and it ends when it has answered.
"""

import os
import sys

from .errors import FormatError
from .starting import start_line
from .tree_receiver import Receiver
from .tree_sender import Sender

try:
    from _signal import SIGHUP, SIGTERM, signal  # type: ignore[import-not-found, unused-ignore]  # not its enums
except ImportError:
    from signal import SIGHUP, SIGTERM, signal

START = start_line("trees")
"""Makes FOLDER a package with the fewest imports, and runs ``main``."""

_READ = 1 << 17
_SET_PIPE_SIZE = 1031
"""F_SETPIPE_SZ of Linux: larger pipes change hands less often."""


def main(role: str, path: str, *options: str) -> int:
    """Do what the arguments say and return the exit status."""
    for number in (SIGTERM, SIGHUP):
        signal(number, lambda *_: sys.exit(1))
    os.chdir(os.path.expanduser("~"))
    _widen_pipes()
    place = os.fsencode(path)
    try:
        if role == "send":
            return send(place, *options)
        return receive(place, *options)
    except BrokenPipeError:
        return 1
    except (FormatError, OSError) as error:
        sys.stderr.write("sremote: {}\n".format(error))
        return 1


def send(path: bytes, *options: str) -> int:
    """Send the tree at ``path``."""
    compress = True if "compress" in options else False if "no-compress" in options else None
    sender = Sender(path, _write, compress=compress)
    if "request" not in options:
        return 0 if sender.run(lambda: os.read(0, _READ)) else 1
    sender.list()
    answers = b"".join(iter(lambda: os.read(0, _READ), b""))
    if answers:
        sender.answer(answers)
    return 0


def receive(path: bytes, *options: str) -> int:
    """Receive a tree to ``path``; where the line drops, only what is whole stays."""
    receiver = Receiver(
        lambda _: path,
        _write,
        always_copy="always-copy" in options,
        delete="delete" in options,
        scattered="scattered" in options,
    )
    try:
        while True:
            data = os.read(0, _READ)
            if not data and "request" in options:
                receiver.wait_until_answered()
            if not data:
                return 0 if receiver.done or "request" in options else 1
            receiver.feed(data)
    finally:
        receiver.close()


def _write(data: memoryview) -> None:
    while data:
        data = data[os.write(1, data) :]


def _widen_pipes() -> None:
    try:
        from fcntl import fcntl

        for descriptor in (0, 1):
            fcntl(descriptor, _SET_PIPE_SIZE, 1 << 20)
    except (ImportError, OSError):  # not a pipe, or not Linux
        pass
