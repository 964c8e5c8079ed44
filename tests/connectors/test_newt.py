"""What a NEWT gateway does wrong, and what the connector makes of it."""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import sremote
from sremote.connectors.address import parse_address
from sremote.connectors.base import Capability
from sremote.connectors.batch import BatchScript, BatchState, Resources
from sremote.connectors.errors import (
    ConnectionLost,
    FileMissing,
    HostError,
    HostUnreachable,
    LineTimeout,
    SignInRefused,
    UsageError,
)
from sremote.connectors.newt import NewtConnector
from tests.kit.newt_server import MACHINE, PASSWORD, USER, NewtServer
from tests.kit.web import running

BIG = bytes(range(256)) * 2000


@pytest.fixture(params=[1, 2], ids=["newt 1", "newt 2"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> NewtServer:
    home = tmp_path / "there"
    home.mkdir()
    return NewtServer(request.param, home)


@pytest.fixture
def url(gateway: NewtServer) -> Iterator[str]:
    with running(gateway.application()) as url:
        yield url


@pytest.fixture
def connect(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., NewtConnector]]:
    """Makes connected connectors, whose password is in the environment unless told otherwise."""
    monkeypatch.setenv("NEWT_PASSWORD", PASSWORD)
    with ExitStack() as stack:

        def connect(**options: object) -> NewtConnector:
            address = parse_address(f"newt+{url.replace('://', f'://{USER}@')}/{MACHINE}")
            given = {"password_env": "NEWT_PASSWORD", **options}
            return stack.enter_context(NewtConnector(address, **given))  # type: ignore[arg-type]

        yield connect


# --- signing in ---------------------------------------------------------------------------


def test_the_dialect_is_found_out(gateway: NewtServer, connect: Callable[..., NewtConnector]) -> None:
    connector = connect()

    assert connector._spoken().name == str(gateway.version)
    assert Capability.STREAM not in connector.capabilities


def test_a_dialect_that_is_not_spoken_there_is_refused(
    gateway: NewtServer, connect: Callable[..., NewtConnector]
) -> None:
    with pytest.raises(HostUnreachable, match="no NEWT gateway answers"):
        connect(dialect="2" if gateway.version == 1 else "1")


def test_a_wrong_password_is_refused_though_the_gateway_answers_200(
    gateway: NewtServer, connect: Callable[..., NewtConnector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWT_PASSWORD", "not-the-password")

    with pytest.raises(SignInRefused, match="does not let alice in") as refusal:
        connect()
    assert gateway.sign_ins == 1
    assert "not-the-password" not in str(refusal.value)


def test_a_refusal_may_have_a_status_too(
    gateway: NewtServer, connect: Callable[..., NewtConnector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWT_PASSWORD", "wrong")
    gateway.fault.login_status = 403

    with pytest.raises(SignInRefused, match="does not let alice in"):
        connect()


def test_a_one_time_code_goes_right_behind_the_password(
    gateway: NewtServer, connect: Callable[..., NewtConnector]
) -> None:
    gateway.code = "123456"

    connect(code_command="echo 123456")

    assert gateway.forms == [{"username": USER, "password": PASSWORD + "123456"}]


def test_the_user_is_asked_for_what_is_not_given(gateway: NewtServer, connect: Callable[..., NewtConnector]) -> None:
    gateway.code = "654321"
    asked = []

    def prompt(text: str, echo: bool) -> str:
        asked.append((text, echo))
        return PASSWORD if text.startswith("Password of alice") else "654321"

    connect(password_env=None, prompt=prompt, code=True)

    assert asked[0][0].startswith("Password of alice")
    assert asked[1][0].startswith("One-time code")
    assert not any(echo for _, echo in asked)


def test_where_nobody_can_be_asked_the_options_are_named(
    gateway: NewtServer, connect: Callable[..., NewtConnector]
) -> None:
    with pytest.raises(SignInRefused, match="password_file"):
        connect(password_env=None)
    assert gateway.sign_ins == 0


def test_closing_ends_the_session_there(gateway: NewtServer, connect: Callable[..., NewtConnector]) -> None:
    connector = connect()
    assert len(gateway.sessions) == 1

    connector.close()

    assert gateway.sessions == set()


# --- sessions that end, and gateways that are busy or broken ---------------------------------


def test_a_session_that_has_ended_is_begun_anew_once(
    gateway: NewtServer, connect: Callable[..., NewtConnector]
) -> None:
    connector = connect()
    gateway.sessions.clear()

    assert connector.execute(["echo", "hello"]).stdout == b"hello\n"
    assert gateway.sign_ins == 2


def test_a_session_that_ends_while_a_large_file_is_on_its_way(
    gateway: NewtServer, connect: Callable[..., NewtConnector], tmp_path: Path
) -> None:
    connector = connect()
    gateway.fault.expire = 1

    connector.put(io.BytesIO(BIG), str(tmp_path / "file"))

    assert (tmp_path / "file").read_bytes() == BIG
    assert gateway.sign_ins == 2


def test_a_session_that_is_refused_again_is_an_error_and_not_a_loop(
    gateway: NewtServer, connect: Callable[..., NewtConnector], monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = connect()
    gateway.sessions.clear()
    monkeypatch.setenv("NEWT_PASSWORD", "changed meanwhile")

    with pytest.raises(SignInRefused):
        connector.execute(["true"])
    assert gateway.sign_ins == 2


def test_a_busy_gateway_is_asked_again_when_it_says_so(
    gateway: NewtServer, connect: Callable[..., NewtConnector], tmp_path: Path
) -> None:
    connector = connect()
    gateway.fault.busy = 2

    connector.execute(["sh", "-c", f"echo ran >>{tmp_path}/count"])

    assert (tmp_path / "count").read_text() == "ran\n"
    assert gateway.fault.busy == 0


def test_a_gateway_that_is_busy_for_long_is_not_waited_for(
    gateway: NewtServer, connect: Callable[..., NewtConnector]
) -> None:
    connector = connect()
    gateway.fault.busy, gateway.fault.retry_after = 1, "3600"

    with pytest.raises(HostUnreachable, match=r"busy \(429 Too Many Requests\)\s+Try again in 3600 s"):
        connector.execute(["true"])


@pytest.mark.parametrize("fault", ["bad_gateway", "lost_answers"])
def test_a_command_whose_answer_is_lost_runs_once(
    gateway: NewtServer, connect: Callable[..., NewtConnector], tmp_path: Path, fault: str
) -> None:
    """Where nobody knows whether it ran, it is asked for again by the same token."""
    connector = connect()
    setattr(gateway.fault, fault, 2)

    done = connector.execute(["sh", "-c", f"echo ran >>{tmp_path}/count; echo out; exit 3"])

    assert (done.status, done.stdout) == (3, b"out\n")
    assert (tmp_path / "count").read_text() == "ran\n"


def test_a_gateway_that_stays_broken_is_an_error(
    gateway: NewtServer, connect: Callable[..., NewtConnector], tmp_path: Path
) -> None:
    connector = connect()
    gateway.fault.bad_gateway = 100

    with pytest.raises(ConnectionLost, match="502"):
        connector.execute(["sh", "-c", f"echo ran >>{tmp_path}/count"])
    assert not (tmp_path / "count").exists()


def test_a_sign_in_is_never_sent_twice(gateway: NewtServer, connect: Callable[..., NewtConnector]) -> None:
    """A code is good for one try, and sites lock accounts after a few."""
    gateway.fault.login_status = 502
    gateway.code = "other"

    with pytest.raises((ConnectionLost, SignInRefused)):
        connect()
    assert gateway.sign_ins == 1


# --- commands -----------------------------------------------------------------------------


def test_what_login_scripts_print_is_left_out(gateway: NewtServer, connect: Callable[..., NewtConnector]) -> None:
    gateway.fault.noise = "Welcome!\nYou have mail: "
    connector = connect()

    assert connector.execute(["echo", "hello"]).stdout == b"hello\n"


def test_a_command_that_takes_long_is_waited_for_with_several_requests(
    gateway: NewtServer, connect: Callable[..., NewtConnector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sremote.connectors.newt_plain.ASK_AGAIN", 1)
    connector = connect()
    before = len(gateway.requests)

    done = connector.execute(["sh", "-c", "sleep 2.5; echo done; exit 4"])

    assert (done.status, done.stdout) == (4, b"done\n")
    assert len(gateway.requests) - before >= 2


def test_a_command_outlives_the_request_that_began_it(
    gateway: NewtServer, connect: Callable[..., NewtConnector], tmp_path: Path
) -> None:
    connector = connect()

    with pytest.raises(LineTimeout):
        connector.execute(["sh", "-c", f"sleep 1.5; echo done >{tmp_path}/late"], timeout=0.5)
    connector.execute(["sh", "-c", f"while ! [ -s {tmp_path}/late ]; do sleep 0.1; done"], timeout=60)

    assert (tmp_path / "late").read_text() == "done\n"


def test_a_small_command_and_a_small_file_take_one_request_each(
    gateway: NewtServer, connect: Callable[..., NewtConnector], tmp_path: Path
) -> None:
    connector = connect()
    before = len(gateway.requests)

    connector.put(b"content", f"{tmp_path}/file")
    assert connector.read(f"{tmp_path}/file") == b"content"
    connector.execute(["cat"], stdin=b"\0\xff input")

    assert len(gateway.requests) - before == 3


def test_nothing_is_left_behind(gateway: NewtServer, connect: Callable[..., NewtConnector], tmp_path: Path) -> None:
    connector = connect()
    connector.put(BIG, f"{tmp_path}/file")
    assert connector.read(f"{tmp_path}/file") == BIG
    assert connector.execute(["cat"], stdin=BIG).stdout == BIG

    connector.close()

    assert list((gateway.home / ".sremote/spool").iterdir()) == []


# --- files --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["error_pages", "cut_downloads"])
def test_what_is_not_the_file_is_never_written_over_a_local_one(
    gateway: NewtServer, connect: Callable[..., NewtConnector], tmp_path: Path, fault: str
) -> None:
    (tmp_path / "there.bin").write_bytes(BIG)
    connector = connect()
    setattr(gateway.fault, fault, 1)
    target = io.BytesIO()

    with pytest.raises((HostError, ConnectionLost)):
        connector.get(f"{tmp_path}/there.bin", target)
    assert target.getvalue() == b""
    assert connector.read(f"{tmp_path}/there.bin") == BIG


def test_a_file_that_was_cut_on_its_way_there_leaves_the_old_one(
    gateway: NewtServer, connect: Callable[..., NewtConnector], tmp_path: Path
) -> None:
    connector = connect()
    connector.put(b"old", f"{tmp_path}/file")
    gateway.fault.cut_uploads = 1

    with pytest.raises(ConnectionLost, match="was cut on its way"):
        connector.put(BIG, f"{tmp_path}/file")
    assert connector.read(f"{tmp_path}/file") == b"old"


def test_input_that_was_cut_on_its_way_starts_no_command(
    gateway: NewtServer, connect: Callable[..., NewtConnector], tmp_path: Path
) -> None:
    connector = connect()
    gateway.fault.cut_uploads = 1

    with pytest.raises(ConnectionLost, match="was not started"):
        connector.execute(["tee", f"{tmp_path}/count"], stdin=BIG)
    assert not (tmp_path / "count").exists()


def test_a_folder_is_listed_and_a_file_deleted(
    gateway: NewtServer, connect: Callable[..., NewtConnector], tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "one").write_bytes(b"1")
    (folder / "two words").write_bytes(b"22")
    connector = connect()

    assert {entry["name"]: entry["size"] for entry in connector.list(str(folder))} == {"one": "1", "two words": "2"}
    connector.delete(f"{folder}/two words")
    assert [entry["name"] for entry in connector.list(str(folder))] == ["one"]
    with pytest.raises(FileMissing):
        connector.delete(f"{folder}/two words")
    with pytest.raises(FileMissing):
        connector.list(f"{folder}/nowhere")


# --- the queue ---------------------------------------------------------------------------


def test_a_job_is_submitted_seen_found_and_cancelled(
    gateway: NewtServer, connect: Callable[..., NewtConnector]
) -> None:
    connector = connect(batch=True)
    script = BatchScript("sremote-1", ["echo", "two  words"], Resources(nodes=2, walltime=90), "/scratch/alice")
    assert Capability.BATCH in connector.capabilities

    number = connector.batch.submit(script)

    assert "#SBATCH --nodes=2\n" in gateway.scripts[number]
    assert "exec echo 'two  words'" in gateway.scripts[number]
    found = connector.batch.find("sremote-1")
    assert found is not None
    assert (found.id, found.state) == (number, BatchState.QUEUED)
    gateway.jobs[number]["status"] = "C"
    assert connector.batch.jobs([number, "9999"])[number].state is BatchState.COMPLETED
    assert "9999" not in connector.batch.jobs([number, "9999"])
    connector.batch.cancel([number, "9999"])
    assert connector.batch.jobs([number])[number].state is BatchState.CANCELLED


def test_a_submission_whose_answer_is_lost_is_not_sent_again(
    gateway: NewtServer, connect: Callable[..., NewtConnector]
) -> None:
    connector = connect(batch=True)
    gateway.fault.bad_gateway = 1

    with pytest.raises(ConnectionLost):
        connector.batch.submit(BatchScript("sremote-2", ["true"], Resources(), "/scratch"))
    assert [line for line in gateway.requests if line.startswith("POST") and ("queue" in line or "job" in line)] == [
        f"POST {connector.batch._path}"
    ]


# --- calls --------------------------------------------------------------------------------


def test_a_call_goes_through_and_leaves_nothing(gateway: NewtServer, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEWT_PASSWORD", PASSWORD)
    address = f"newt+{url.replace('://', f'://{USER}@')}/{MACHINE}"

    with sremote.connect(address, password_env="NEWT_PASSWORD") as client:
        assert client.call("math", "hypot", [3, 4]) == 5.0
        assert client.run(["sh", "-c", "echo out; echo err >&2; exit 3"]).status == 3

    assert list((gateway.home / ".sremote/jobs").iterdir()) == []
    assert list((gateway.home / ".sremote/spool").iterdir()) == []


def test_a_call_whose_answer_is_lost_runs_once(
    gateway: NewtServer, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEWT_PASSWORD", PASSWORD)
    address = f"newt+{url.replace('://', f'://{USER}@')}/{MACHINE}"

    with sremote.connect(address, password_env="NEWT_PASSWORD") as client:
        client.call("math", "sqrt", [1])
        gateway.fault.lost_answers = 3
        client.run(["sh", "-c", f"echo ran >>{tmp_path}/count"])

    assert (tmp_path / "count").read_text() == "ran\n"


# --- addresses and secrets ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("newt+http://gateway.example.org/machine", "without TLS"),
        ("newt:machine", "names no gateway"),
        ("newt+https://alice:secret@gateway/machine", "a password does not belong"),
    ],
)
def test_addresses_that_cannot_be(address: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        NewtConnector(parse_address(address))
    assert "secret" not in str(error.value)


def test_a_password_never_shows(
    gateway: NewtServer, connect: Callable[..., NewtConnector], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        connector = connect()
        connector.execute(["true"])
        gateway.fault.bad_gateway = 100
        with pytest.raises(ConnectionLost) as error:
            connector.execute(["true"])

    session = next(iter(gateway.sessions))
    for secret in (PASSWORD, "open%20sesame", "open+sesame", session):
        assert secret not in caplog.text
        assert secret not in repr(error.value) + str(error.value)
    assert "POST" in caplog.text
