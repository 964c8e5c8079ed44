"""The contract of a connector: put a file, get a file, execute a command.

Three verbs are enough for everything that sremote does.  What more a connector
can do it declares in ``capabilities``; that makes things faster, or replaces
``execute`` at sites that have none.

A connector for a host that gives a two-way byte stream to a command (ssh, a
program, a pipe) derives from ``StreamConnector`` and writes ``open``; the three
verbs come with it.  Any other derives from ``Connector`` and writes the verbs.
``sremote.testing`` holds the tests that every connector passes.
"""

from __future__ import annotations

import abc
import enum
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, ClassVar, Literal, Self

from sremote.connectors.address import Address
from sremote.connectors.batch import BatchSystem
from sremote.connectors.check import Check, State
from sremote.interpreter.errors import SremoteError

DEFAULT_CONNECT_TIMEOUT = 30.0
"""Seconds that a connector may take to reach a host and sign in."""

OutputSink = Callable[[Literal["stdout", "stderr"], bytes], None]
"""Receives a command's output as it arrives: which of the two it is, and the bytes."""


class Capability(enum.Flag):
    """What a connector can do; those marked * are additions to the three verbs."""

    EXECUTE = enum.auto()
    """``execute`` works.  A gateway without it carries calls as batch jobs."""
    EXIT_STATUS = enum.auto()
    """``execute`` tells a command's own exit status."""
    STREAM = enum.auto()
    """* ``start`` gives a running process with its three streams."""
    BATCH = enum.auto()
    """* ``batch`` is a batch system that the connector itself reaches, as gateways have."""


@dataclass(frozen=True)
class Completed:
    """A command that ended: its exit status, and its output where no sink took it.

    ``status`` is negative, minus the signal's number, where a signal ended it and
    the connector can tell; ssh servers report that, shells report 128 + signal.
    """

    status: int
    stdout: bytes
    stderr: bytes


class Process(abc.ABC):
    """A command running on the host, with its three streams.  Each may be used from its own thread."""

    @abc.abstractmethod
    def write(self, data: bytes | memoryview) -> None:
        """Send all of ``data`` to the command's standard input, waiting while the line is full.

        Raises ConnectionLost where the command or the line has gone.
        """

    @abc.abstractmethod
    def close_stdin(self) -> None:
        """End the command's standard input."""

    @abc.abstractmethod
    def read(self, size: int = 1 << 17) -> bytes:
        """Return up to ``size`` bytes of standard output as soon as there are some; b"" at its end."""

    @abc.abstractmethod
    def read_stderr(self, size: int = 1 << 17) -> bytes:
        """Return up to ``size`` bytes of standard error as soon as there are some; b"" at its end."""

    @abc.abstractmethod
    def wait(self, timeout: float | None = None) -> int:
        """Wait up to ``timeout`` seconds (default: for ever) for the exit status, as in ``Completed``.

        Raises LineTimeout when the time is up, ConnectionLost when no status will come any more.
        """

    @abc.abstractmethod
    def kill(self) -> None:
        """End it and close the streams; harmless when it has ended."""


class Connector(abc.ABC):
    """A way to one host.  Safe to use from several threads once connected.

    Errors: every method raises a ``LineError`` when the way to the host fails (so
    that the outcome may be unknown) and a ``HostError`` when the host refuses.
    """

    scheme: ClassVar[str]
    """The URL scheme that it answers to."""
    capabilities: Capability
    """What it can do; where that depends on the host, ``connect`` sets it anew."""

    def __init__(self, address: Address, *, connect_timeout: float = DEFAULT_CONNECT_TIMEOUT) -> None:
        """Note where to go; nothing is sent before ``connect``.

        Further keyword arguments are the connector's own options: a hosts file or
        ``sremote.connect`` passes them by name.
        """
        self.address = address
        self.connect_timeout = connect_timeout

    @property
    def name(self) -> str:
        """How messages call the host: as the user wrote it."""
        return str(self.address)

    @abc.abstractmethod
    def connect(self) -> None:
        """Reach the host and sign in; nothing where that is done already."""

    @abc.abstractmethod
    def close(self) -> None:
        """Hang up; nothing where that is done already."""

    @abc.abstractmethod
    def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | BinaryIO = b"",
        output: OutputSink | None = None,
        timeout: float | None = None,
    ) -> Completed:
        """Run a command on the host and wait for its end.

        ``argv`` reaches the program exactly as it is, whatever characters it holds
        and whatever the login shell is.  It starts in the home directory.  A program
        that is not there ends with status 127, one that cannot be run with 126, and
        stderr says which.  ``stdin`` is bytes or a binary file, sent and then closed.
        With ``output`` the command's output goes there as it arrives, and
        ``Completed`` holds none.  After ``timeout`` seconds the command is given up:
        LineTimeout, and it may be running on.
        """

    @abc.abstractmethod
    def put(self, source: bytes | BinaryIO, path: str, *, mode: int = 0o600) -> None:
        """Write a file on the host: beside its place first, then renamed into it.

        ``path`` is absolute, or relative to the home directory, with or without
        ``~/``; missing parent folders are made, with mode 0700.  ``mode`` is the
        file's permission bits.
        """

    @abc.abstractmethod
    def get(self, path: str, target: BinaryIO) -> None:
        """Copy a file of the host into ``target``.  Raises FileMissing before anything is written."""

    def leave(self, content: bytes, path: str) -> None:
        """Write a file whose reader sees for itself that it is whole, and may take it away at once.

        As ``put``; a connector whose ``put`` takes several steps may save some.
        """
        self.put(content, path)

    def read(self, path: str) -> bytes:
        """Return the content of a file of the host."""
        target = io.BytesIO()
        self.get(path, target)
        return target.getvalue()

    def start(self, argv: Sequence[str]) -> Process:
        """Start a command with its streams open; only with ``Capability.STREAM``."""
        raise TypeError(f"{type(self).__name__} has no streams")

    @property
    def batch(self) -> BatchSystem:
        """The batch system behind this connector; only with ``Capability.BATCH``."""
        raise TypeError(f"{type(self).__name__} has no batch system of its own")

    @property
    def home(self) -> str:
        """The home directory, absolute, once connected; only with ``Capability.BATCH``."""
        raise TypeError(f"{type(self).__name__} does not know the home directory")

    def diagnose(self) -> Iterator[Check]:
        """Connect, and yield each step of the way once it is tried; a failed one is the last.

        A connector whose way has several steps yields them one by one.
        """
        try:
            self.connect()
        except SremoteError as error:
            yield Check.of_error("connection", error)
        else:
            yield Check("connection", State.OK, f"reached {self.name}")

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
