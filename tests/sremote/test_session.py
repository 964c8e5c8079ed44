"""A session: one living process on a host, whose calls keep what they import and make."""

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest

import sremote
from sremote.errors import ConnectionLost, NotInstalled, RemoteExit, UsageError, ValueRefused, WalltimeExceeded
from tests.kit.clients import connect_through
from tests.kit.proxy import DelayingProxy
from tests.kit.sshd import SshServer


@sremote.allow
@dataclasses.dataclass
class Reading:
    where: str
    value: float


def remember(name: str, value: object) -> None:
    import builtins

    setattr(builtins, f"remembered_{name}", value)


def recall(name: str) -> object:
    import builtins

    return getattr(builtins, f"remembered_{name}")


def raise_lookup_error(key: str) -> None:
    raise KeyError(key)


@pytest.fixture
def session(client: sremote.Client) -> Iterator[sremote.Session]:
    with client.session() as session:
        yield session


class TestACall:
    def test_returns_the_functions_value(self, session: sremote.Session) -> None:
        assert session.call("math", "hypot", [3, 4]) == 5.0

    def test_takes_keywords(self, session: sremote.Session) -> None:
        assert session.call("builtins", "int", ["ff"], {"base": 16}) == 255
        assert session.call("builtins", "dict", {"a": 1}) == {"a": 1}

    def test_runs_in_the_same_process_as_the_one_before(self, session: sremote.Session) -> None:
        assert session.call("os", "getpid") == session.call("os", "getpid")

    def test_finds_what_an_earlier_one_has_left(self, session: sremote.Session) -> None:
        session.call_function(remember, "pi", 3.14)
        assert session.call_function(recall, "pi") == 3.14

    def test_raises_what_the_function_raised_and_the_session_goes_on(self, session: sremote.Session) -> None:
        with pytest.raises(KeyError) as caught:
            session.call_function(raise_lookup_error, "name")
        assert caught.value.args == ("name",)
        assert "raise_lookup_error" in caught.value.remote.traceback  # type: ignore[attr-defined]
        assert session.call("math", "sqrt", [4]) == 2.0

    def test_names_a_module_that_is_not_there(self, session: sremote.Session) -> None:
        with pytest.raises(NotInstalled, match="no module 'nowhere'"):
            session.call("nowhere", "function")

    def test_names_an_argument_that_cannot_travel(self, session: sremote.Session) -> None:
        with pytest.raises(ValueRefused, match=r"args\[0\] is"):
            session.call("builtins", "repr", [threading.Lock()])

    def test_names_a_value_that_cannot_travel(self, session: sremote.Session) -> None:
        with pytest.raises(ValueRefused, match="lock"):
            session.call("threading", "Lock")

    def test_carries_large_values_both_ways(self, session: sremote.Session) -> None:
        content = os.urandom(1 << 20)
        assert session.call("builtins", "bytes", [content]) == content

    def test_carries_arrays_both_ways(self, session: sremote.Session) -> None:
        doubled = session.call_function(lambda array: {"twice": array}, numpy.arange(100_000))
        assert (doubled["twice"] == numpy.arange(100_000)).all()

    def test_carries_allowed_types_both_ways(self, session: sremote.Session) -> None:
        assert session.call_function(lambda reading: [reading], Reading("roof", 2.5)) == [Reading("roof", 2.5)]

    def test_that_leaves_with_sys_exit_says_so_and_the_session_goes_on(self, session: sremote.Session) -> None:
        with pytest.raises(RemoteExit) as caught:
            session.call("sys", "exit", [3])
        assert caught.value.status == 3
        assert session.call("math", "sqrt", [4]) == 2.0

    def test_is_made_by_any_thread_one_after_the_other(self, session: sremote.Session) -> None:
        found: dict[int, int] = {}
        threads = [
            threading.Thread(
                target=lambda number=number: found.update({number: session.call("builtins", "abs", [number])})
            )
            for number in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {number: number for number in range(20)}


class TestOutput:
    def test_of_python_comes_before_the_call_returns(
        self, session: sremote.Session, capsys: pytest.CaptureFixture[str]
    ) -> None:
        session.call("builtins", "print", ["hello"])
        assert capsys.readouterr().out == "hello\n"

    def test_of_child_processes_comes_too(self, session: sremote.Session, capsys: pytest.CaptureFixture[str]) -> None:
        session.call("os", "system", ["echo out; echo err >&2"])
        assert capsys.readouterr() == ("out\n", "err\n")

    def test_can_be_kept_away(self, client: sremote.Client, capsys: pytest.CaptureFixture[str]) -> None:
        with client.session(echo=False) as session:
            session.call("builtins", "print", ["hello"])
        assert capsys.readouterr().out == ""

    def test_that_is_large_does_not_block(self, session: sremote.Session, capsys: pytest.CaptureFixture[str]) -> None:
        session.call("os", "system", ["head -c 1000000 /dev/zero | tr '\\0' x"])
        assert len(capsys.readouterr().out) == 1_000_000


class TestSurroundings:
    def test_hold_for_all_calls(self, client: sremote.Client) -> None:
        with client.session(env={"COLOUR": "blue"}, cwd="/") as session:
            assert session.call("os", "getenv", ["COLOUR"]) == "blue"
            assert session.call("os", "getcwd") == "/"

    def test_modules_can_be_imported_beforehand(self, client: sremote.Client) -> None:
        with client.session(preload=["sqlite3"]) as session:
            assert session.call_function(lambda: __import__("sys").modules.get("sqlite3") is not None)

    def test_a_module_to_import_beforehand_that_is_not_there_is_named(self, client: sremote.Client) -> None:
        with pytest.raises(ModuleNotFoundError, match="nowhere"):
            client.session(preload=["nowhere"])

    def test_a_working_directory_that_is_not_there_is_named(self, client: sremote.Client) -> None:
        with pytest.raises(UsageError, match="/nowhere"):
            client.session(cwd="/nowhere")


class TestTheEnd:
    def test_a_closed_session_says_so(self, client: sremote.Client) -> None:
        session = client.session()
        session.close()
        with pytest.raises(UsageError, match="the session is closed"):
            session.call("os", "getpid")

    def test_closing_ends_the_process(self, client: sremote.Client) -> None:
        session = client.session()
        pid = session.call("os", "getpid")
        session.close()
        assert not Path(f"/proc/{pid}").exists()

    def test_a_time_limit_ends_the_session(self, client: sremote.Client) -> None:
        session = client.session()
        with pytest.raises(WalltimeExceeded, match=r"time limit of 0\.2 s"):
            session.call("time", "sleep", [60], timeout=0.2)
        with pytest.raises(WalltimeExceeded):
            session.call("os", "getpid")
        session.close()

    def test_a_process_that_ends_by_itself_tells_its_status(self, client: sremote.Client) -> None:
        with client.session() as session, pytest.raises(RemoteExit, match="ended with status 7"):
            session.call("os", "_exit", [7])

    def test_a_process_that_is_killed_is_reported(self, client: sremote.Client) -> None:
        with client.session() as session:
            os.kill(session.call("os", "getpid"), signal.SIGKILL)
            with pytest.raises((RemoteExit, ConnectionLost)):
                session.call("os", "getpid")

    def test_a_dropped_line_ends_the_session_and_the_call_under_way(self, sshd: SshServer, tmp_path: Path) -> None:
        started = tmp_path / "started"
        with (
            DelayingProxy(sshd.port) as proxy,
            connect_through(proxy, sshd, tmp_path) as client,
            client.session() as session,
        ):
            pid = session.call("os", "getpid")
            cutter = threading.Thread(target=cut_once_there, args=(proxy, started))
            cutter.start()
            with pytest.raises(ConnectionLost):
                session.call_function(touch_and_sleep, str(started))
            cutter.join()
        wait_for(lambda: not Path(f"/proc/{pid}").exists())


def touch_and_sleep(path: str) -> None:
    import pathlib
    import time

    pathlib.Path(path).touch()
    time.sleep(60)


def cut_once_there(proxy: DelayingProxy, path: Path) -> None:
    wait_for(path.exists)
    proxy.cut()


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():  # the suite's time limit ends it
        time.sleep(0.05)
