"""The least that a call over a channel can be: a pickle with its length in front, there and back."""

from __future__ import annotations

import pickle
import struct
from types import TracebackType
from typing import Self

from sremote.connectors.base import Connector

_LENGTH = struct.Struct(">I")
_SERVER = """
import pickle, struct, sys
read, write = sys.stdin.buffer.read, sys.stdout.buffer
while True:
    head = read(4)
    if not head:
        break
    value = pickle.loads(read(*struct.unpack(">I", head)))
    answer = pickle.dumps(-value, 4)
    write.write(struct.pack(">I", len(answer)) + answer)
    write.flush()
"""


class BareEcho:
    """A program on the host that negates the numbers it gets."""

    def __init__(self, connector: Connector) -> None:
        self._process = connector.start(["python3", "-u", "-c", _SERVER])

    def call(self, value: int) -> int:
        """Have a number negated."""
        content = pickle.dumps(value, 4)
        self._process.write(_LENGTH.pack(len(content)) + content)
        answer = self._process.read()
        while len(answer) < _LENGTH.size or len(answer) < _LENGTH.size + _LENGTH.unpack_from(answer)[0]:
            answer += self._process.read()
        number: int = pickle.loads(answer[_LENGTH.size :])
        return number

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
