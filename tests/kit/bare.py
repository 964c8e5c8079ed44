"""A host that only takes and gives files, and has a queue: another connector's host with the rest taken away."""

from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from sremote.connectors.background import BackgroundProcesses
from sremote.connectors.base import Capability, Completed, Connector, OutputSink
from sremote.connectors.batch import BatchJob, BatchScript, BatchSystem
from sremote.connectors.batch_work import Patience
from sremote.connectors.errors import LineError


class FaultyBatch(BatchSystem):
    """A batch system whose answers get lost, or come late, as told."""

    name = "the queue"

    def __init__(self, inner: BatchSystem) -> None:
        self.inner = inner
        self.submitted: list[BatchScript] = []
        self.lost: list[LineError] = []
        """For each of the next submissions: it is taken, and this is what comes instead of the answer."""
        self.refused: list[LineError] = []
        """For each of the next submissions: it is not taken."""
        self.hidden = 0
        """For so many of the next questions no job is known."""

    def submit(self, script: BatchScript) -> str:
        if self.refused:
            raise self.refused.pop(0)
        self.submitted.append(script)
        job = self.inner.submit(script)
        if self.lost:
            raise self.lost.pop(0)
        return job

    def jobs(self, ids: Sequence[str]) -> Mapping[str, BatchJob]:
        if self.hidden > 0:
            self.hidden -= 1
            return {}
        return self.inner.jobs(ids)

    def find(self, name: str) -> BatchJob | None:
        if self.hidden > 0:
            self.hidden -= 1
            return None
        return self.inner.find(name)

    def cancel(self, ids: Sequence[str]) -> None:
        self.inner.cancel(ids)


class BareConnector(Connector):
    """Puts and gets files as another connector does, and cannot execute.  Its jobs are real processes over there."""

    scheme = "bare"
    capabilities = Capability.BATCH

    def __init__(self, connector: Connector) -> None:
        super().__init__(connector.address)
        self.inner = connector
        self.patience = Patience(not_found_for=2, first_pause=0.02, longest_pause=0.2, late_file=1, away_for=20)
        self.requests: list[str] = []
        self.fault: Callable[[str], LineError | None] = lambda _request: None
        """Is asked after each request, and returns what comes instead of its answer."""
        self.queue = FaultyBatch(BackgroundProcesses(connector))

    @property
    def batch(self) -> BatchSystem:
        return self.queue

    @property
    def home(self) -> str:
        return self.inner.execute(["sh", "-c", 'printf %s "$HOME"']).stdout.decode()

    def connect(self) -> None:
        self.inner.connect()

    def close(self) -> None:
        self.inner.close()

    def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | BinaryIO = b"",
        output: OutputSink | None = None,
        timeout: float | None = None,
    ) -> Completed:
        raise AssertionError("this host cannot execute")

    def put(self, source: bytes | BinaryIO, path: str, *, mode: int = 0o600) -> None:
        self.inner.put(source, path, mode=mode)
        self._answer(f"put {path}")

    def get(self, path: str, target: BinaryIO) -> None:
        self._answer(f"get {path}")
        self.inner.get(path, target)

    def _answer(self, request: str) -> None:
        self.requests.append(request)
        error = self.fault(request)
        if error is not None:
            raise error
