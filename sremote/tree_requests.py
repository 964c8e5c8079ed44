"""Copies of files over a connector that has no streams: two commands, with all that is said before each begins."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Literal

from sremote.connectors.base import Completed
from sremote.errors import ConnectionLost
from sremote.host import Host
from sremote.interpreter.tree_frames import ignore
from sremote.interpreter.tree_receiver import Receiver
from sremote.interpreter.tree_sender import Sender
from sremote.tree_line import far_command


def push_by_requests(
    host: Host, sender_of: Callable[[Callable[[memoryview], None]], Sender], remote: str, options: list[str]
) -> Sender:
    """Send the list; then the list again and what of it was wanted."""
    with tempfile.TemporaryFile() as said:

        def write(data: memoryview) -> None:
            said.write(data)

        sender = sender_of(write)
        sender.list()
        said.seek(0)
        command = far_command(host, "receive", remote, [*options, "request"])
        if sender.answer(_checked(host, host.execute(command, stdin=said)).stdout):
            said.seek(0)
            done = _checked(host, host.execute(far_command(host, "receive", remote, options), stdin=said))
            if not sender.conclude(done.stdout):
                raise ConnectionLost(f"{host.where}: what was sent was cut on its way", "Try again.")
    return sender


def pull_by_requests(
    host: Host, remote: str, receiver_of: Callable[[Callable[[memoryview], None]], Receiver]
) -> Receiver:
    """Get the list; then the list again and what of it is wanted."""
    command = far_command(host, "send", remote, ["request"])
    answers = bytearray()
    receiver = receiver_of(answers.extend)
    try:
        receiver.feed(_checked(host, host.execute(command)).stdout)
        receiver.wait_until_answered()
    finally:
        receiver.close()
    if receiver.done or not receiver.needs_more:
        return receiver
    receiver = receiver_of(ignore)
    try:

        def take(stream: Literal["stdout", "stderr"], data: bytes) -> None:
            if stream == "stdout":
                receiver.feed(data)

        _checked(host, host.execute(command, stdin=bytes(answers), output=take))
        if not receiver.done:
            raise ConnectionLost(f"{host.where}: what it sent was cut on its way", "Try again.")
    finally:
        receiver.close()
    return receiver


def _checked(host: Host, done: Completed) -> Completed:
    if done.status != 0:
        raise host.failure_to_start(done, "cannot copy")
    return done
