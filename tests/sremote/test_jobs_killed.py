"""Exactly once: at each stage of a job's life each part that takes part in it is killed with SIGKILL.

Every run of the function adds a line to a file; there is one line in the end, and
whoever asks gets the value, or is told that the job's own process was killed.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import sremote
from sremote.errors import RemoteKilled
from sremote.index import Index, index
from tests.interpreter.far_side import is_running, wait_for
from tests.kit.clients import connect_through, connect_to
from tests.kit.proxy import DelayingProxy
from tests.kit.sshd import SshServer, ssh_server

PATIENCE = 60.0
"""Seconds for something to happen on a busy machine."""
LARGE = 24 << 20
"""Bytes of a request that is still under way when the line stands still."""
PARTLY = 1 << 20
"""Bytes of it that have gone by then."""

STAGES = ("sending", "queued", "running", "ending", "finished")
VICTIMS = ("client", "connection", "sshd", "interpreter", "supervisor", "job")
ABSENT = {
    ("sending", "supervisor"),
    ("sending", "job"),
    ("queued", "job"),
    ("finished", "supervisor"),
    ("finished", "job"),
}
"""Victims that do not exist at a stage."""
CELLS = [(stage, victim) for stage in STAGES for victim in VICTIMS if (stage, victim) not in ABSENT]


def work(folder: str, load: bytes) -> int:
    """Note the run, wait for the gate; then end slowly, as a process that has much to tidy up does."""
    import atexit
    import os
    import time

    def wait_for(name: str) -> None:
        while not os.path.exists(os.path.join(folder, name)):
            time.sleep(0.01)

    def end() -> None:
        open(os.path.join(folder, "ends"), "w").close()
        wait_for("end")

    with open(os.path.join(folder, "ledger"), "a") as file:
        file.write(f"{os.getpid()}\n")
    atexit.register(end)
    wait_for("go")
    return len(load)


CLIENT = """
import sys, sremote
from tests.sremote.test_jobs_killed import Submitter
address, key_file, known_hosts, root, folder, size = sys.argv[1:]
with sremote.connect(address, root=root, key_file=key_file, known_hosts=known_hosts) as client:
    submitter = Submitter(client)
    print(submitter.supervisor, flush=True)
    sys.stdin.readline()
    submitter.submit(folder, int(size))
    sys.stdin.readline()
"""


class Submitter:
    """A client with another job that runs, so that there is a supervisor before the job that matters."""

    def __init__(self, client: sremote.Client) -> None:
        self.client = client
        self.blocker = client.submit("time", "sleep", [1000])
        self.interpreter: int = client.call("os", "getppid")
        heartbeat = Path(client.host.probe().root) / "jobs" / self.blocker.id / "heartbeat"
        wait_for(heartbeat.exists)
        self.supervisor: int = json.loads(heartbeat.read_text())["supervisor"]["pid"]

    def submit(self, folder: str, size: int) -> None:
        """Submit the job that matters."""
        self.client.submit_function(work, folder, bytes(size))


@dataclass
class Scene:
    """One job, and the processes that take part in it."""

    server: SshServer
    proxy: DelayingProxy
    observer: sremote.Client
    root: Path
    folder: Path
    index: Index
    """What the client knows of its jobs."""
    submit: Callable[[], None]
    """Has the client submit the job, and does not wait for that."""
    pids: dict[str, int]

    @property
    def runs(self) -> list[int]:
        ledger = self.folder / "ledger"
        return [int(line) for line in ledger.read_text().split()] if ledger.exists() else []

    def job_id(self) -> str:
        """Return the id that the client has given to the job, and noted before it sent anything."""
        return next(reversed([record.id for record in self.index.jobs() if record.target == "work"]), "")

    def open(self, gate: str) -> None:
        (self.folder / gate).touch()

    def kill(self, victim: str) -> None:
        """Kill a part with SIGKILL, and see that it has gone."""
        if victim == "connection":
            self.proxy.cut()
        elif victim == "sshd":
            os.kill(self.server.pid, signal.SIGKILL)
            self.server.stop()
            self.server.start()
        else:
            pid = self.runs[0] if victim == "job" else self.pids[victim]
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not is_running(pid))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("killed") / "server") as server:
        yield server


@pytest.fixture(scope="module")
def observer(server: SshServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sremote.Client]:
    """Who asks about the jobs in the end: a client with a line of its own, and no index of theirs."""
    with connect_to(server, root=str(tmp_path_factory.mktemp("root"))) as client:
        client.call("os", "getpid")
        yield client


@pytest.fixture(scope="module")
def proxy(server: SshServer) -> Iterator[DelayingProxy]:
    with DelayingProxy(server.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def client(
    server: SshServer, proxy: DelayingProxy, observer: sremote.Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sremote.Client]:
    """Whose jobs these are, unless it is to be killed itself; its line goes through the proxy."""
    root = observer.host.probe().root
    with connect_through(proxy, server, tmp_path_factory.mktemp("client"), root=root) as client:
        yield client


@pytest.fixture
def scene(request: pytest.FixtureRequest, stage: str, victim: str) -> Iterator[Scene]:
    """A client that is about to submit a job."""
    with client_to_kill(request, stage) if victim == "client" else client_to_keep(request, stage) as scene:
        try:
            yield scene
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(scene.pids["supervisor"], signal.SIGCONT)


@contextlib.contextmanager
def client_to_keep(request: pytest.FixtureRequest, stage: str) -> Iterator[Scene]:
    client: sremote.Client = request.getfixturevalue("client")
    observer: sremote.Client = request.getfixturevalue("observer")
    folder: Path = request.getfixturevalue("tmp_path")
    submitter = Submitter(client)
    thread = threading.Thread(target=submitter.submit, args=[str(folder), size_of(stage)])
    pids = {"interpreter": submitter.interpreter, "supervisor": submitter.supervisor}
    yield Scene(
        request.getfixturevalue("server"),
        request.getfixturevalue("proxy"),
        observer,
        Path(observer.host.probe().root),
        folder,
        index(),
        thread.start,
        pids,
    )
    thread.join()
    observer.job(submitter.blocker.id).cancel()


@contextlib.contextmanager
def client_to_kill(request: pytest.FixtureRequest, stage: str) -> Iterator[Scene]:
    """The client is a process of its own."""
    server: SshServer = request.getfixturevalue("server")
    proxy: DelayingProxy = request.getfixturevalue("proxy")
    observer: sremote.Client = request.getfixturevalue("observer")
    folder: Path = request.getfixturevalue("tmp_path")
    root = Path(observer.host.probe().root)
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(server.known_hosts_line(server.host_keys[0], f"[127.0.0.1]:{proxy.port}"))
    address = f"{server.user}@127.0.0.1:{proxy.port}"
    words = [address, server.key_file, known_hosts, root, folder, size_of(stage)]
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        stdin = process.stdin
        pids = {"client": process.pid, "supervisor": int(process.stdout.readline())}

        def submit() -> None:
            stdin.write("submit\n")
            stdin.flush()

        yield Scene(server, proxy, observer, root, folder, index(), submit, pids)
        process.kill()
    for record in index().jobs():
        observer.job(record.id).cancel()


def size_of(stage: str) -> int:
    return LARGE if stage == "sending" else 10


@pytest.mark.parametrize(("stage", "victim"), CELLS, ids=lambda word: word)
def test_a_job_runs_exactly_once_whatever_is_killed(scene: Scene, stage: str, victim: str) -> None:
    bytes_before = scene.proxy.sent
    if stage == "queued":
        os.kill(scene.pids["supervisor"], signal.SIGSTOP)
    scene.submit()

    if stage == "sending":
        wait_for(lambda: scene.proxy.sent > bytes_before + PARTLY)
        scene.proxy.stall()
    elif stage == "queued":
        wait_for(lambda: scene.job_id() and (scene.root / "jobs" / scene.job_id()).exists())
    else:
        wait_for(lambda: scene.runs)
        if stage != "running":
            scene.open("go")
            wait_for((scene.folder / "ends").exists)
        if stage == "finished":
            scene.open("end")
            wait_for((scene.root / "jobs" / f"{scene.job_id()}.done").exists)
    scene.kill(victim)
    scene.proxy.resume()
    if stage == "queued" and victim != "supervisor":
        scene.observer.job(scene.job_id()).status()  # whoever asks while the supervisor stands still starts another
        os.kill(scene.pids["supervisor"], signal.SIGCONT)
    scene.open("go")
    scene.open("end")

    if stage == "sending":
        if victim == "client":
            assert scene.observer.job(scene.job_id()).wait(PATIENCE).state == "LOST"  # submit had not returned
            assert scene.runs == []
            return
        wait_for(lambda: scene.runs)
    job = scene.observer.job(scene.job_id())
    if victim == "job":
        error = job.exception(PATIENCE)
        assert isinstance(error, RemoteKilled)
        assert error.signal == signal.SIGKILL
    else:
        assert job.result(PATIENCE) == size_of(stage)
    assert len(scene.runs) == 1
