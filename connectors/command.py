"""``command:`` is wherever a program takes a command: ``command:docker exec -i box``, ``command:sudo -n -u alice``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from sremote.connectors.address import Address
from sremote.connectors.base import DEFAULT_CONNECT_TIMEOUT, Process
from sremote.connectors.errors import HostError, HostUnreachable, LineTimeout, UsageError
from sremote.connectors.shell import command_line
from sremote.connectors.stream import StreamConnector
from sremote.connectors.subprocess_stream import SubprocessProcess

_AWKWARD = "two  words, $HOME, 'quotes' and a\nsecond line"
_PROBE = ["/bin/sh", "-c", 'printf %s "$1"; cat', "sh", _AWKWARD]
_INPUT = b"input\n"


class CommandConnector(StreamConnector):
    """A program in front of every command, which carries it to where it runs.

    ``prefix`` is that program with its arguments; without it, the address holds
    them, split as a shell would.  The command's words follow as they are, or, with
    ``shell``, as one line, for a program that hands them to a shell as ssh does.
    """

    scheme = "command"
    environment: Mapping[str, str] | None = None
    """The program's environment; None is this process's own."""

    def __init__(
        self,
        address: Address,
        *,
        prefix: Sequence[str] | None = None,
        shell: bool = False,
        connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    ) -> None:
        super().__init__(address, connect_timeout=connect_timeout)
        self.shell = shell
        self.prefix = _split(address) if prefix is None else list(prefix)
        if not self.prefix or not all(isinstance(word, str) for word in self.prefix) or isinstance(prefix, str):
            raise UsageError(
                f"{str(address)!r} names no program that carries commands",
                "Name it behind the colon, as in 'command:docker exec -i NAME', or in the option 'prefix' as a list.",
            )
        self._connected = False

    def connect(self) -> None:
        """Run one command, to see that arguments, input and output pass as they are."""
        if self._connected:
            return
        by_hand = f"Try it by hand: {shlex.join(self.prefix)} true"
        try:
            answer = self.execute(_PROBE, stdin=_INPUT, timeout=self.connect_timeout)
        except LineTimeout:
            raise HostUnreachable(f"{self.name}: no answer within {self.connect_timeout:g} seconds", by_hand) from None
        except HostError as error:
            hint = "" if self.shell else "\n  A program that hands its words to a shell, as ssh does, needs shell=True."
            raise HostUnreachable(error.message, by_hand + hint) from error
        if answer.stdout == _AWKWARD.encode():
            raise UsageError(
                f"{self.name}: the standard input of commands does not arrive",
                "docker, podman and kubectl need their option -i, srun must not have --input=none.",
            )
        if answer.stdout != _AWKWARD.encode() + _INPUT:
            raise UsageError(
                f"{self.name}: what passes through it is changed on the way",
                "Leave out an option such as -t, which puts a terminal between.",
            )
        self._connected = True

    def close(self) -> None:
        """Forget that the way has been tried; nothing stays open between commands."""
        self._connected = False

    def open(self, argv: Sequence[str]) -> Process:
        command = [*self.prefix, command_line(argv)] if self.shell else [*self.prefix, *argv]
        try:
            return SubprocessProcess(command, name=self.name, environment=self.environment)
        except FileNotFoundError:
            raise UsageError(
                f"{self.name}: there is no program {command[0]!r} on this machine", "Install it, or give its full path."
            ) from None
        except OSError as error:
            raise UsageError(f"{self.name}: cannot start {command[0]!r}: {error.strerror or error}") from error


def _split(address: Address) -> list[str]:
    try:
        return shlex.split(address.rest)
    except ValueError as error:
        raise UsageError(f"{address}: {error}", "Close the quotes, or give the option 'prefix' as a list.") from None
