"""How many requests a call takes where the way to the host is no stream: put, execute and get alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import BinaryIO, ClassVar

from benchmarks.place import Place
from benchmarks.results import OURS, Row, at_most
from sremote.client import Client
from sremote.connectors.address import parse_address
from sremote.connectors.base import Capability, Completed, Connector, OutputSink
from sremote.connectors.local import LocalConnector
from sremote.host import Host


class CountingConnector(Connector):
    """This machine without streams; ``requests`` counts what is asked of it."""

    scheme: ClassVar[str] = "counting"
    capabilities: ClassVar[Capability] = Capability.EXECUTE | Capability.EXIT_STATUS

    def __init__(self) -> None:
        address = parse_address("local:")
        super().__init__(address)
        self._local = LocalConnector(address)
        self.requests = 0

    def connect(self) -> None:
        """Nothing: this machine is here."""

    def close(self) -> None:
        """Nothing."""

    def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | BinaryIO = b"",
        output: OutputSink | None = None,
        timeout: float | None = None,
    ) -> Completed:
        self.requests += 1
        return self._local.execute(argv, stdin=stdin, output=output, timeout=timeout)

    def put(self, source: bytes | BinaryIO, path: str, *, mode: int = 0o600) -> None:
        self.requests += 1
        self._local.put(source, path, mode=mode)

    def get(self, path: str, target: BinaryIO) -> None:
        self.requests += 1
        self._local.get(path, target)


def measure(place: Place) -> Iterator[Row]:
    """Yield the requests of a warm call, clean-up of the call before included."""
    connector = CountingConnector()
    counts = []
    with Client(Host(connector)) as client:
        client.call("operator", "neg", [5])
        for _ in range(place.rounds(10)):
            before = connector.requests
            client.call("operator", "neg", [5])
            counts.append(float(connector.requests - before))
    yield Row(
        "requests of a call without a stream",
        "requests",
        {OURS: counts},
        "at most 3",
        at_most(median(counts), 3, "requests"),
    )
