"""Calls to hosts that only take and give files and jobs: each is a batch job, and runs once whatever gets lost."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sremote
from sremote.client import Client
from sremote.connectors.address import parse_address
from sremote.connectors.batch import BatchJob, BatchState, Resources
from sremote.connectors.errors import LineError
from sremote.connectors.local import LocalConnector
from sremote.connectors.ssh import SshConnector
from sremote.connectors.through_batch import ThroughBatch
from sremote.errors import (
    ConnectionLost,
    HostError,
    HostUnreachable,
    LineTimeout,
    NotInstalled,
    OutcomeUnknown,
    PythonMissing,
)
from sremote.exchanges import with_execute
from sremote.host import Host
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


def append(path: str) -> int:
    with open(path, "a") as file:
        file.write("once\n")
    print("appended")
    return 1


def test_a_call_takes_a_file_a_job_and_a_file(bare: BareConnector, client: Client) -> None:
    client.call("math", "sqrt", [16])
    bare.requests.clear()

    assert client.call("math", "hypot", [3, 4]) == 5.0

    assert [request.split()[0] for request in bare.requests].count("put") == 1
    assert len(bare.queue.submitted) == 2
    assert bare.queue.submitted[-1].name.startswith("sremote-20")


def test_the_interpreter_goes_there_once(bare: BareConnector, client: Client, root: str) -> None:
    client.call("math", "sqrt", [16])
    bare.requests.clear()
    other = Client(Host(with_execute(bare, root), root=root))

    other.call("math", "sqrt", [16])

    assert [request for request in bare.requests if ".run" in request and request.startswith("put")] == []


def test_output_errors_and_exceptions_come_back(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="math domain error"):
        client.call("math", "sqrt", [-1])
    assert client.run(["sh", "-c", "echo out; echo err >&2; exit 3"]).status == 3
    client.call("builtins", "print", ["hello"])
    assert capfd.readouterr().out == "hello\n"


def test_functions_of_this_program_go_there(client: Client, tmp_path: Path) -> None:
    assert client.call_function(append, str(tmp_path / "log")) == 1
    assert client.last_response is not None
    assert client.last_response.stdout == "appended\n"


def test_calls_go_side_by_side(client: Client) -> None:
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda n: client.call("math", "sqrt", [n * n]), range(4))) == [0, 1, 2, 3]


@pytest.mark.parametrize("error", [LineTimeout("408"), ConnectionLost("dropped")], ids=["408", "dropped"])
def test_a_submission_whose_answer_is_lost_is_adopted(
    bare: BareConnector, client: Client, tmp_path: Path, error: LineError
) -> None:
    client.call("math", "sqrt", [16])
    bare.queue.lost = [error]
    bare.queue.submitted.clear()

    client.call_function(append, str(tmp_path / "log"))

    assert (tmp_path / "log").read_text() == "once\n"
    assert len({script.name for script in bare.queue.submitted}) == len(bare.queue.submitted)


def test_a_submission_that_cannot_be_found_is_sent_again_and_runs_once(
    bare: BareConnector, client: Client, tmp_path: Path
) -> None:
    client.call_function(append, str(tmp_path / "first"))
    bare.queue.submitted.clear()
    bare.queue.lost, bare.queue.hidden = [LineTimeout("408")], 1000
    bare.queue.inner.find = lambda _name: None  # type: ignore[method-assign]

    client.call_function(append, str(tmp_path / "log"))

    assert [script.name for script in bare.queue.submitted] == [bare.queue.submitted[0].name] * 2
    time.sleep(0.5)
    assert (tmp_path / "log").read_text() == "once\n"


def test_a_gateway_that_was_not_reached_is_asked_again(bare: BareConnector, client: Client) -> None:
    bare.queue.refused = [HostUnreachable("busy"), HostUnreachable("busy")]

    assert client.call("math", "sqrt", [16]) == 4.0


def test_a_job_that_is_not_known_at_first_is_waited_for(bare: BareConnector, client: Client) -> None:
    bare.queue.hidden = 3

    assert client.call("math", "sqrt", [16]) == 4.0


@pytest.mark.parametrize("lost", [1, 2, 4])
def test_an_answer_that_is_lost_changes_nothing(bare: BareConnector, client: Client, tmp_path: Path, lost: int) -> None:
    """Each of the requests of a call in turn loses its answer."""
    client.call("math", "sqrt", [16])
    bare.requests.clear()
    bare.fault = lambda _request: ConnectionLost("dropped") if len(bare.requests) == lost else None

    assert client.run(["sh", "-c", f"echo once >>{tmp_path}/log; echo $$"]).status == 0

    assert (tmp_path / "log").read_text() == "once\n"


def test_a_job_that_leaves_the_call_to_another_is_not_its_end(bare: BareConnector, client: Client) -> None:
    """Where the script was submitted twice, the one that is known may not be the one that runs it."""
    client.call("math", "sqrt", [16])
    bare.queue.jobs = lambda ids: {  # type: ignore[method-assign]
        ids[0]: BatchJob(ids[0], "", BatchState.FAILED, exit_status=75)
    }

    assert client.run(["sleep", "2"]).status == 0  # longer than a response may be late


def test_a_job_that_dies_says_so(bare: BareConnector, client: Client) -> None:
    with pytest.raises(OutcomeUnknown, match=r"failed with status 7 and left no .*: no such module"):
        Client(Host(client.host.connector, root=client.host.root, preamble="echo no such module >&2; exit 7")).call(
            "math", "sqrt", [16]
        )


def test_a_preamble_that_fails_is_named(client: Client) -> None:
    failing = Host(client.host.connector, root=client.host.root, preamble="echo no such module >&2; false")
    with pytest.raises(HostError, match=r"the preamble .* failed: no such module"):
        Client(failing).call("math", "sqrt", [16])


def test_a_host_without_python_is_said(client: Client) -> None:
    with pytest.raises(PythonMissing, match="looked for no-such-python"):
        Client(Host(client.host.connector, root=client.host.root, python="no-such-python")).call("math", "sqrt", [16])


def test_a_gateway_that_fails_for_good_leaves_the_outcome_unknown(bare: BareConnector, client: Client) -> None:
    client.call("math", "sqrt", [16])
    assert isinstance(client.host.connector, ThroughBatch)
    client.host.connector.patience = type(bare.patience)(away_for=0.3, first_pause=0.05, longest_pause=0.1)
    bare.fault = lambda request: ConnectionLost("dropped") if "response" in request else None

    with pytest.raises(OutcomeUnknown, match="may have been running: dropped") as raised:
        client.call("math", "sqrt", [16])
    assert raised.value.job_id in str(raised.value)


def test_a_time_limit_is_the_jobs(bare: BareConnector, client: Client) -> None:
    with pytest.raises(sremote.errors.WalltimeExceeded):
        client.call("time", "sleep", [60], timeout=1)
    assert bare.queue.submitted[-1].resources.walltime == 61.0


def test_jobs_ask_for_what_the_settings_say(bare: BareConnector, root: str) -> None:
    bare.resources = Resources(account="m1234", queue="debug", walltime=600)  # type: ignore[attr-defined]
    with Client(Host(with_execute(bare, root), root=root)) as client:
        client.call("math", "sqrt", [16])

    assert bare.queue.submitted[-1].resources == Resources(account="m1234", queue="debug", walltime=600)


def test_a_missing_environment_is_said(bare: BareConnector, root: str) -> None:
    with Client(Host(with_execute(bare, root), root=root, environment="none")) as client:
        with pytest.raises(NotInstalled, match="there is no environment 'none'"):
            client.facts()
        with pytest.raises(NotInstalled, match="there is no environment 'none'"):
            client.call("math", "sqrt", [16])


def test_facts_leftovers_and_cleaning_work(client: Client) -> None:
    client.call("math", "sqrt", [16])
    assert client.facts().root == client.host.root
    client.run(["true"])
    client.host.connector.execute(["true"])
    assert "batch" in {entry.kind for entry in client.leftovers() if entry.state == "finished"}
    client.clean()
    kept = [entry for entry in client.leftovers() if entry.state == "finished"]
    assert len(kept) <= 2  # of the looking itself


def test_a_job_goes_to_the_queue(bare: BareConnector, client: Client, tmp_path: Path) -> None:
    job = client.submit("math", "sqrt", [16])

    assert job.result() == 4.0
    assert len(bare.queue.submitted) >= 2


def test_an_environment_is_made_by_jobs(client: Client) -> None:
    assert client.install(dry_run=True, offline=True).changed


def test_files_are_copied(client: Client, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").write_bytes(bytes(range(256)))

    client.push(str(tmp_path / "here"), str(tmp_path / "there"))

    assert (tmp_path / "there" / "file").read_bytes() == bytes(range(256))


def test_a_session_says_that_it_needs_streams(client: Client) -> None:
    with pytest.raises(sremote.errors.UsageError, match="no streams"):
        client.session()


class TestCommandsAsJobs:
    @pytest.fixture
    def connector(self, client: Client) -> ThroughBatch:
        assert isinstance(client.host.connector, ThroughBatch)
        return client.host.connector

    def test_arguments_input_output_and_status_are_exact(self, connector: ThroughBatch) -> None:
        script = 'printf "%s\\0" "$@"; cat; echo err >&2; exit 7'
        words = ["two  words", "$HOME\n", "naïve 'Ω'"]
        done = connector.execute(["sh", "-c", script, "sh", *words], stdin=bytes(range(256)))

        assert done.stdout == b"".join(word.encode() + b"\0" for word in words) + bytes(range(256))
        assert (done.status, done.stderr) == (7, b"err\n")

    def test_signals_and_missing_programs_show(self, connector: ThroughBatch) -> None:
        assert connector.execute(["sh", "-c", "kill -TERM $$"]).status == -15
        assert connector.execute(["no-such-program"]).status == 127

    def test_output_goes_to_a_sink(self, connector: ThroughBatch) -> None:
        seen = {"stdout": 0, "stderr": 0}

        def sink(stream: str, data: bytes) -> None:
            seen[stream] += len(data)

        connector.execute(["sh", "-c", "head -c 3000000 /dev/zero; echo err >&2"], output=sink)
        assert seen == {"stdout": 3000000, "stderr": 4}

    def test_a_command_that_takes_too_long_is_cancelled(self, connector: ThroughBatch, tmp_path: Path) -> None:
        with pytest.raises(LineTimeout, match=r"sleep: .* had not ended after 1 s"):
            connector.execute(["sleep", "300"], timeout=1)

    def test_a_command_runs_once_though_its_job_was_submitted_twice(
        self, bare: BareConnector, connector: ThroughBatch, tmp_path: Path
    ) -> None:
        bare.queue.lost, bare.queue.hidden = [LineTimeout("408")], 1000
        bare.queue.inner.find = lambda _name: None  # type: ignore[method-assign]

        assert connector.execute(["sh", "-c", f"echo once >>{tmp_path}/log"]).status == 0

        assert len(bare.queue.submitted) == 2
        time.sleep(0.5)
        assert (tmp_path / "log").read_text() == "once\n"

    def test_a_refused_submission_is_an_error(self, bare: BareConnector, connector: ThroughBatch) -> None:
        def refuse(_script: object) -> str:
            raise HostError("no such account")

        bare.queue.submit = refuse  # type: ignore[method-assign]
        with pytest.raises(HostError, match="no such account"):
            connector.execute(["true"])


def test_it_is_the_same_over_ssh(ssh_address: str, root: str) -> None:
    bare = BareConnector(SshConnector(parse_address(ssh_address)))
    bare.connect()
    with Client(Host(with_execute(bare, root), root=root)) as client:
        assert client.call("math", "hypot", [3, 4]) == 5.0
