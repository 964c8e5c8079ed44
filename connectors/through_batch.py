"""Commands as batch jobs, for gateways that have no other way to run one.

Each command waits in the queue.  It takes a file for its input, a job, and a file that
holds its status and output; a claim keeps a job that was submitted twice from running it twice.
"""

from __future__ import annotations

import posixpath
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Literal, cast

from sremote.connectors.base import Capability, Completed, Connector, OutputSink
from sremote.connectors.batch import BatchScript, BatchSystem, Resources
from sremote.connectors.batch_work import Patience, await_file, cancel_quietly, submit_once
from sremote.connectors.check import Check
from sremote.connectors.errors import HostError, LineTimeout
from sremote.connectors.shell import command_line

# $1: the job's folder, $2: the command as a line, $3 and so on: folders of earlier commands, to remove.
_SCRIPT = """
folder=$1 line=$2
shift 2
mkdir "$folder/claim" || exit 0
for old; do rm -rf "$old"; done
cd || exit
sh -c "$line" <"$folder/stdin" >"$folder/stdout" 2>"$folder/stderr"
status=$?
cd "$folder" || exit
{ printf '%d %d %d\\n' $status $(wc -c <stdout) $(wc -c <stderr); cat stdout stderr; } >result.part &&
mv result.part result && rm -f stdin stdout stderr
"""
_CHUNK = 1 << 20


class ThroughBatch(Connector):
    """A connector that has a batch system and no ``execute``, with one made of the other.

    ``folder`` is where the files of its jobs are, ``resources`` what each job asks for.
    """

    scheme = "batch"
    capabilities = Capability.EXECUTE | Capability.EXIT_STATUS | Capability.BATCH

    def __init__(
        self,
        connector: Connector,
        *,
        folder: str = ".sremote/batch",
        resources: Resources | None = None,
        patience: Patience | None = None,
    ) -> None:
        super().__init__(connector.address, connect_timeout=connector.connect_timeout)
        self.connector = connector
        self.resources = resources or Resources()
        self.patience = patience or Patience()
        self._folder = folder
        self.fetched: list[str] = []
        """Folders of calls' jobs whose responses have been fetched; the next job removes them."""
        self._done: list[str] = []

    @property
    def name(self) -> str:
        return self.connector.name

    @property
    def batch(self) -> BatchSystem:
        return self.connector.batch

    @property
    def home(self) -> str:
        return self.connector.home

    def connect(self) -> None:
        self.connector.connect()

    def close(self) -> None:
        self.connector.close()

    def diagnose(self) -> Iterator[Check]:
        return self.connector.diagnose()

    def put(self, source: bytes | BinaryIO, path: str, *, mode: int = 0o600) -> None:
        self.connector.put(source, path, mode=mode)

    def get(self, path: str, target: BinaryIO) -> None:
        self.connector.get(path, target)

    def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | BinaryIO = b"",
        output: OutputSink | None = None,
        timeout: float | None = None,
    ) -> Completed:
        line = command_line(argv)
        name = f"sremote-{secrets.token_hex(8)}"
        folder = posixpath.join(self.home, self._folder, name)
        self.connector.put(stdin, f"{folder}/stdin")
        done = [self._done.pop() for _ in range(len(self._done))]
        script = BatchScript(name, ["sh", "-c", _SCRIPT, "sh", folder, line, *done], self.resources, folder)
        job = submit_once(self.batch, script, self.patience)
        with tempfile.SpooledTemporaryFile(_CHUNK) as spool:
            result = cast(BinaryIO, spool)
            try:
                await_file(self.connector, self.batch, job, f"{folder}/result", result, self.patience, timeout)
            except LineTimeout as error:
                cancel_quietly(self.batch, job)
                raise LineTimeout(f"{self.name}: {argv[0]}: {error.message}", error.remedy) from error
            except BaseException:
                cancel_quietly(self.batch, job)
                raise
            self._done.append(folder)
            result.seek(0)
            return self._read(result, output)

    def _read(self, result: BinaryIO, output: OutputSink | None) -> Completed:
        """Return what a result file tells, or hand its output on."""
        try:
            status, *sizes = (int(word) for word in result.readline(100).split())
            first, second = sizes
        except ValueError:
            raise HostError(f"{self.name}: the result of a command is damaged") from None
        if status > 128:
            status = 128 - status  # a signal, as a shell tells of it
        if output is None:
            return Completed(status, result.read(first), result.read(second))
        streams: list[tuple[Literal["stdout", "stderr"], int]] = [("stdout", first), ("stderr", second)]
        for stream, size in streams:
            while size > 0 and (data := result.read(min(size, _CHUNK))):
                size -= len(data)
                output(stream, data)
        return Completed(status, b"", b"")
