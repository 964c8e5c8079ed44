"""A mailbox: put and get carry many calls through one long job, which ends when it is told to, or at its time."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sremote.client import Client
from sremote.connectors.address import parse_address
from sremote.connectors.base import Connector
from sremote.connectors.batch_work import Patience
from sremote.connectors.local import LocalConnector
from sremote.connectors.mailbox import MailboxConnector
from sremote.connectors.ssh import SshConnector
from sremote.connectors.stream import StreamConnector
from sremote.errors import (
    ConnectionLost,
    HostError,
    HostUnreachable,
    LineError,
    LineTimeout,
    MailboxEnded,
    OutcomeUnknown,
    PythonMissing,
    RemoteExit,
    UsageError,
)
from sremote.exchanges import with_execute
from sremote.host import Host
from sremote.mailbox import Mailbox
from sremote.testing_needs import eventually
from tests.kit.bare import BareConnector


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("root"))


@pytest.fixture
def bare() -> BareConnector:
    return BareConnector(LocalConnector(parse_address("local:")))


@pytest.fixture
def client(bare: BareConnector, root: str) -> Iterator[Client]:
    with Client(Host(with_execute(bare, root), name="site", root=root)) as client:
        yield client


@pytest.fixture
def mailbox(client: Client) -> Iterator[Mailbox]:
    with client.mailbox(walltime=600, longest_pause=0.05) as mailbox:
        yield mailbox


def pid_of(mailbox: Mailbox) -> int:
    import json

    return int(json.loads(Path(mailbox.folder, "state").read_text())["pid"])


def append(path: str, seconds: float = 0.0) -> int:
    import time

    with open(path, "a") as file:
        file.write("once\n")
    time.sleep(seconds)
    return 1


def test_one_job_carries_many_calls(bare: BareConnector, client: Client, mailbox: Mailbox) -> None:
    assert [client.call("math", "sqrt", [n * n]) for n in range(5)] == [0, 1, 2, 3, 4]
    assert len(bare.queue.submitted) == 1


def test_a_call_is_a_put_and_a_few_gets(bare: BareConnector, client: Client, mailbox: Mailbox) -> None:
    client.call("math", "sqrt", [16])
    time.sleep(0.3)
    bare.requests.clear()

    client.call("math", "sqrt", [16])

    assert sum(request.startswith("put") for request in bare.requests) <= 2


def test_what_waits_for_a_put_goes_with_the_next_one(bare: BareConnector, client: Client, mailbox: Mailbox) -> None:
    client.call("math", "sqrt", [16])
    bare.requests.clear()
    bare.fault = lambda request: time.sleep(0.3) if request.startswith("put") else None

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(lambda n: client.call("math", "sqrt", [n * n]), range(12))) == list(range(12))

    assert sum(request.startswith("put") for request in bare.requests) < 10


def test_output_comes_while_it_runs(client: Client, mailbox: Mailbox, tmp_path: Path) -> None:
    seen: list[bytes] = []

    def sink(_stream: str, data: bytes) -> None:
        seen.append(data)
        (tmp_path / "go").touch()

    script = f"echo ready; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done; echo done"
    assert client.run(["sh", "-c", script], echo=sink, timeout=60).status == 0
    assert b"".join(seen) == b"ready\ndone\n"


def test_sessions_and_copies_work(client: Client, mailbox: Mailbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(3_000_000))
    with client.session() as session:
        assert session.call("math", "sqrt", [16]) == 4.0
    client.push(str(tmp_path / "file"), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()


def test_closing_it_ends_the_job_and_leaves_nothing(bare: BareConnector, client: Client, root: str) -> None:
    mailbox = client.mailbox(walltime=600, longest_pause=0.05)
    pid = pid_of(mailbox)
    client.call("math", "sqrt", [16])

    mailbox.close()

    eventually(lambda: not Path(mailbox.folder).exists() and not Path(f"/proc/{pid}/cmdline").exists())
    bare.queue.submitted.clear()
    assert client.call("math", "sqrt", [25]) == 5.0
    assert len(bare.queue.submitted) == 1


def test_a_second_mailbox_is_refused(client: Client, mailbox: Mailbox) -> None:
    with pytest.raises(UsageError, match="a mailbox is open already"):
        client.mailbox()


@pytest.mark.parametrize("request_number", [1, 2, 4])
def test_an_answer_that_is_lost_changes_nothing(
    bare: BareConnector, client: Client, mailbox: Mailbox, tmp_path: Path, request_number: int
) -> None:
    client.call("math", "sqrt", [16])
    bare.requests.clear()
    bare.fault = lambda _request: ConnectionLost("dropped") if len(bare.requests) == request_number else None

    assert client.call_function(append, str(tmp_path / "log")) == 1

    assert (tmp_path / "log").read_text() == "once\n"


def test_a_letter_that_is_half_there_is_waited_for(
    bare: BareConnector, client: Client, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bare.inner.put

    def slowly(source: object, path: str, *, mode: int = 0o600) -> None:
        assert isinstance(source, bytes)
        if "/in/" in path:
            Path(path).write_bytes(source[: len(source) // 2])
            time.sleep(0.3)
        whole(source, path, mode=mode)

    monkeypatch.setattr(bare.inner, "put", slowly)

    assert client.call("math", "sqrt", [16]) == 4.0


def kill_the_server(mailbox: Mailbox, _bare: BareConnector) -> None:
    os.kill(pid_of(mailbox), signal.SIGKILL)


def cancel_the_job(mailbox: Mailbox, bare: BareConnector) -> None:
    bare.queue.cancel([mailbox.job])


@pytest.mark.parametrize("end", [kill_the_server, cancel_the_job])
def test_a_mailbox_that_is_gone_is_noticed(
    bare: BareConnector,
    client: Client,
    end: Callable[[Mailbox, BareConnector], None],
) -> None:
    mailbox = client.mailbox(walltime=600, longest_pause=0.05)
    assert client.call("math", "sqrt", [16]) == 4.0
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.call, "time", "sleep", [1000])
        time.sleep(0.5)
        end(mailbox, bare)
        with pytest.raises((OutcomeUnknown, MailboxEnded, RemoteExit), match="the mailbox"):
            call.result(60)
    with pytest.raises(MailboxEnded, match="has ended\n  Open another one"):
        client.call("math", "sqrt", [16])
    mailbox.close()
    assert client.call("math", "sqrt", [16]) == 4.0


def test_a_mailbox_that_may_be_renewed_is_and_calls_run_once(
    bare: BareConnector, client: Client, tmp_path: Path
) -> None:
    with client.mailbox(walltime=600, longest_pause=0.05, renew=True) as mailbox:
        assert client.call("math", "sqrt", [16]) == 4.0
        kill_the_server(mailbox, bare)
        time.sleep(1)
        for number in range(3):
            assert client.call_function(append, str(tmp_path / f"log{number}")) == 1
            assert (tmp_path / f"log{number}").read_text() == "once\n"
    assert len(bare.queue.submitted) >= 2


def test_it_ends_by_itself_at_its_wall_time(client: Client) -> None:
    mailbox = client.mailbox(walltime=4, longest_pause=0.05)
    pid = pid_of(mailbox)
    with pytest.raises((OutcomeUnknown, MailboxEnded), match="the mailbox has ended: its time was up"):
        client.call("time", "sleep", [1000])
    eventually(lambda: not Path(f"/proc/{pid}/cmdline").exists())
    mailbox.close()


def test_it_ends_by_itself_when_nobody_writes(bare: BareConnector, client: Client) -> None:
    mailbox = client.mailbox(walltime=600, idle=1, longest_pause=0.05)
    pid = pid_of(mailbox)
    eventually(lambda: not Path(f"/proc/{pid}/cmdline").exists())
    assert "nobody had written" in Path(mailbox.folder, "state").read_text()
    mailbox.close()
    assert "mailbox" in {entry.kind for entry in client.leftovers()}
    client.clean()
    assert not Path(mailbox.folder).exists()


def test_a_second_job_for_one_mailbox_ends_at_once(bare: BareConnector, client: Client, mailbox: Mailbox) -> None:
    """As where a submission was taken though its answer was lost, and was sent again."""
    again = bare.queue.submitted[-1]
    bare.inner.execute(["rm", "-f", f"{mailbox.folder}/process", f"{mailbox.folder}/status"])

    job = bare.queue.inner.submit(again)

    eventually(lambda: bare.queue.jobs([job])[job].exit_status == 75)
    assert client.call("math", "sqrt", [16]) == 4.0


def test_a_job_that_cannot_start_says_why(bare: BareConnector, root: str) -> None:
    client = Client(Host(with_execute(bare, root), root=root, preamble="echo no such module >&2; exit 1"))
    with client, pytest.raises(HostError, match=r"and left no .*/state: no such module"):
        client.mailbox()


def test_a_host_without_python_is_said(bare: BareConnector, root: str) -> None:
    client = Client(Host(with_execute(bare, root), root=root, python="no-such-python"))
    with client, pytest.raises(PythonMissing, match="looked for no-such-python"):
        client.mailbox()


def test_a_job_that_stays_in_the_queue_is_given_up_and_cancelled(bare: BareConnector, client: Client) -> None:
    script = bare.queue.inner.submit
    bare.queue.inner.submit = lambda _script: script(  # type: ignore[method-assign]
        type(_script)(_script.name, ["sleep", "1000"], _script.resources, _script.folder)
    )
    with pytest.raises(LineTimeout, match="had not ended"):
        client.mailbox(timeout=0.5)
    job = bare.queue.submitted[-1].folder
    eventually(lambda: bare.queue.jobs([job])[job].state.ended)


@pytest.mark.parametrize(
    ("options", "complaint"), [({"walltime": 0}, "no time to serve"), ({"wlltime": 5}, "there is no option 'wlltime'")]
)
def test_options_that_cannot_be_are_said(client: Client, options: dict[str, float], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        client.mailbox(**options)  # type: ignore[arg-type]


def ssh(address: str) -> StreamConnector:
    return SshConnector(parse_address(address))


@pytest.mark.parametrize("wrapped", [True, False], ids=["without execute", "with execute"])
def test_it_works_over_ssh(ssh_address: str, tmp_path: Path, wrapped: bool) -> None:
    connector: Connector = BareConnector(ssh(ssh_address)) if wrapped else ssh(ssh_address)
    connector.connect()
    root = str(tmp_path / "root")
    with Client(Host(with_execute(connector, root), root=root)) as client:
        with client.mailbox(walltime=600, longest_pause=0.1):
            assert isinstance(client.host.connector, MailboxConnector)
            assert client.call("math", "hypot", [3, 4]) == 5.0
        assert client.call("math", "hypot", [3, 4]) == 5.0


def test_a_mailbox_outlives_a_gateway_that_is_away(bare: BareConnector, root: str, tmp_path: Path) -> None:
    bare.patience = Patience(first_pause=0.02, longest_pause=0.2, away_for=0.3)
    with Client(Host(with_execute(bare, root), root=root)) as client, client.mailbox(longest_pause=0.05):
        assert client.call("math", "sqrt", [16]) == 4.0
        bare.fault = lambda _request: HostUnreachable("the site is closed")

        with pytest.raises(LineError, match="the site is closed"):
            client.host.connector.execute(["true"])
        bare.fault = lambda _request: None
        assert client.call_function(append, str(tmp_path / "log")) == 1
        assert (tmp_path / "log").read_text() == "once\n"
    assert len(bare.queue.submitted) == 1
