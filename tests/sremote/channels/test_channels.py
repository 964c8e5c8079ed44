"""Channels: values between this program and code that runs on a host, over every way and with every Python there."""

import datetime
import decimal
import gc
import os
import pathlib
import queue
import signal
import threading
import types
from collections import OrderedDict
from typing import Any

import pytest

import sremote
from sremote.errors import ChannelClosed, ChannelTimeout, NotInstalled, RemoteError, UsageError, ValueRefused

ECHO = "for item in channel: channel.send(item)"


def multiply(channel: Any, factor: int) -> None:
    for item in channel:
        channel.send(product(item, factor))


def product(item: int, factor: int) -> int:
    return item * factor


def module_from(text: str, path: pathlib.Path) -> types.ModuleType:
    import importlib.util

    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestWhatRuns:
    def test_source_finds_its_channel(self, session: sremote.Session) -> None:
        channel = session.remote_exec("channel.send(6 * 7)")
        assert channel.receive() == 42

    def test_source_may_be_indented(self, session: sremote.Session) -> None:
        channel = session.remote_exec("""
            if __name__ == "__channelexec__":
                channel.send("here")
        """)
        assert channel.receive() == "here"

    def test_a_function_gets_the_channel_and_its_arguments(self, session: sremote.Session) -> None:
        channel = session.remote_exec(multiply, factor=3)
        channel.send(14)
        assert channel.receive() == 42
        channel.close()

    def test_a_module_is_sent_as_its_source(self, session: sremote.Session, tmp_path: pathlib.Path) -> None:
        module = module_from("if __name__ == '__channelexec__': channel.send(__name__)", tmp_path / "sent.py")
        assert session.remote_exec(module).receive() == "__channelexec__"

    def test_a_function_of_the_host_is_found_by_its_name(self, session: sremote.Session) -> None:
        channel = session.open_channel("builtins", "print")
        channel.waitclose(60)

    def test_each_has_names_of_its_own(self, session: sremote.Session) -> None:
        first = session.remote_exec("value = 1\nchannel.receive()\nchannel.send(value)")
        second = session.remote_exec("channel.receive()\nchannel.send('value' in globals())")
        for channel in (first, second):
            channel.send(None)
        assert (first.receive(), second.receive()) == (1, False)

    def test_it_runs_in_the_sessions_process_beside_its_calls(self, session: sremote.Session) -> None:
        channel = session.remote_exec("import os\nchannel.send(os.getpid())\nchannel.receive()\nchannel.send('done')")
        assert session.call("os", "getpid") == channel.receive()
        channel.send(None)
        assert channel.receive() == "done"

    def test_it_starts_while_a_call_goes_on(self, session: sremote.Session, tmp_path: pathlib.Path) -> None:
        path = str(tmp_path / "released")
        caller = threading.Thread(target=session.call_function, args=[wait_for_file, path])
        caller.start()
        channel = session.remote_exec("channel.send(channel.receive())")
        channel.send("beside")
        assert channel.receive(60) == "beside"
        pathlib.Path(path).touch()
        caller.join()

    def test_what_it_prints_is_shown_here(self, session: sremote.Session, capsys: pytest.CaptureFixture[str]) -> None:
        session.remote_exec("print('hello')").waitclose(60)
        assert capsys.readouterr().out == "hello\n"


def wait_for_file(path: str) -> None:
    import os
    import time

    while not os.path.exists(path):
        time.sleep(0.01)


class TestValues:
    @pytest.mark.parametrize(
        "value",
        [
            None,
            -(2**31) - 1,
            10**100,
            1.5,
            "\N{SNOWMAN}\ud800",
            b"\0\xff",
            bytearray(b"bytes"),
            [1, (2, {3}), {"four": [5, frozenset([6])]}],
            datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC),
            decimal.Decimal("1.10"),
            pathlib.PurePosixPath("/a/b"),
            OrderedDict([("b", 1), ("a", 2)]),
            3 + 4j,
        ],
        ids=repr,
    )
    def test_plain_data_comes_back_as_it_went(self, session: sremote.Session, value: object) -> None:
        channel = session.remote_exec(ECHO)
        channel.send(value)
        back = channel.receive()
        channel.close()
        assert back == value
        assert type(back) is type(value)

    def test_a_value_may_be_large(self, session: sremote.Session) -> None:
        content = bytes(range(256)) * 20_000
        channel = session.remote_exec(ECHO)
        channel.send(content)
        channel.send({"text": "ä" * 1_000_000})
        assert channel.receive() == content
        assert channel.receive() == {"text": "ä" * 1_000_000}
        channel.close()

    def test_a_value_may_be_deep(self, session: sremote.Session) -> None:
        deep: list[Any] = []
        for _ in range(150):
            deep = [deep]
        channel = session.remote_exec(ECHO)
        channel.send(deep)
        assert channel.receive() == deep
        channel.close()

    def test_what_is_not_plain_data_is_refused_and_the_channel_goes_on(self, session: sremote.Session) -> None:
        channel = session.remote_exec(ECHO)
        with pytest.raises(ValueRefused, match="lock"):
            channel.send(threading.Lock())
        channel.send("next")
        assert channel.receive() == "next"
        channel.close()

    def test_what_is_not_plain_data_over_there_is_an_error_there(self, session: sremote.Session) -> None:
        channel = session.remote_exec("import threading\nchannel.send(threading.Lock())")
        with pytest.raises(RemoteError, match="not plain data"):
            channel.receive()


class TestReceiving:
    def test_values_come_in_order(self, session: sremote.Session) -> None:
        channel = session.remote_exec("for number in range(1000): channel.send(number)")
        assert list(channel) == list(range(1000))

    def test_waits_no_longer_than_it_is_told(self, session: sremote.Session) -> None:
        channel = session.remote_exec("channel.receive()")
        with pytest.raises(ChannelTimeout):
            channel.receive(timeout=0.01)
        with pytest.raises(TimeoutError):
            channel.waitclose(timeout=0.01)
        channel.close()

    def test_ends_with_the_code_over_there(self, session: sremote.Session) -> None:
        channel = session.remote_exec("channel.send(1)")
        assert channel.receive() == 1
        for _ in range(2):
            with pytest.raises(EOFError):
                channel.receive()

    def test_what_was_sent_before_the_end_can_be_received_after_it(self, session: sremote.Session) -> None:
        channel = session.remote_exec("channel.send('before')")
        channel.waitclose(60)
        assert channel.isclosed()
        assert list(channel) == ["before"]

    def test_what_was_raised_over_there_is_raised_here_once(self, session: sremote.Session) -> None:
        channel = session.remote_exec("channel.send(1)\nraise KeyError('name')")
        assert channel.receive() == 1
        with pytest.raises(RemoteError, match="KeyError: 'name'") as caught:
            channel.receive()
        assert caught.value.type_name == "builtins.KeyError"
        assert caught.value.remote is not None
        assert "raise KeyError('name')" in caught.value.remote.traceback
        with pytest.raises(EOFError):
            channel.receive()

    def test_code_that_cannot_be_read_is_an_error(self, session: sremote.Session) -> None:
        with pytest.raises(RemoteError, match="SyntaxError"):
            session.remote_exec("this is no Python").waitclose(60)

    def test_a_function_that_is_not_there_is_named(self, session: sremote.Session) -> None:
        with pytest.raises(NotInstalled, match="nowhere"):
            session.open_channel("nowhere", "function").waitclose(60)

    def test_several_threads_share_what_comes(self, session: sremote.Session) -> None:
        channel = session.remote_exec("for number in range(200): channel.send(number)")
        found: list[int] = []
        threads = [threading.Thread(target=lambda: found.extend(channel)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == list(range(200))


class TestClosing:
    def test_wakes_the_receiver_over_there_with_eoferror(self, session: sremote.Session) -> None:
        result = session.newchannel()
        channel = session.remote_exec("""
            result = channel.receive()
            try:
                channel.receive()
            except EOFError:
                result.send("woken")
        """)
        channel.send(result)
        channel.close()
        assert result.receive(60) == "woken"

    def test_with_an_error_raises_that_over_there(self, session: sremote.Session) -> None:
        result = session.newchannel()
        channel = session.remote_exec("""
            result = channel.receive()
            try:
                channel.receive()
            except Exception as error:
                result.send(str(error))
        """)
        channel.send(result)
        channel.close("enough")
        assert result.receive(60) == "enough"

    def test_ends_sending(self, session: sremote.Session) -> None:
        channel = session.remote_exec(ECHO)
        channel.close()
        with pytest.raises(ChannelClosed, match="closed"):
            channel.send(1)

    def test_over_there_ends_sending_here(self, session: sremote.Session) -> None:
        channel = session.remote_exec("pass")
        channel.waitclose(60)
        with pytest.raises(OSError, match="cannot send"):
            channel.send(1)

    def test_twice_is_once(self, session: sremote.Session) -> None:
        channel = session.remote_exec(ECHO)
        channel.close()
        channel.close("again")
        assert channel.isclosed()

    def test_happens_when_nobody_holds_the_channel(self, session: sremote.Session) -> None:
        result = session.newchannel()
        channel = session.remote_exec("result = channel.receive()\nresult.send(list(channel))")
        channel.send(result)
        channel.send("last")
        del channel
        gc.collect()
        assert result.receive(60) == ["last"]


class TestCallbacks:
    def test_get_what_comes_and_the_endmarker(self, session: sremote.Session) -> None:
        found: queue.Queue[object] = queue.Queue()
        channel = session.remote_exec("channel.receive()\nfor number in range(3): channel.send(number)")
        channel.setcallback(found.put, endmarker="end")
        channel.send("go")
        assert [found.get(timeout=60) for _ in range(4)] == [0, 1, 2, "end"]

    def test_get_what_has_come_already(self, session: sremote.Session) -> None:
        found: list[object] = []
        channel = session.remote_exec("channel.send(1)")
        channel.waitclose(60)
        channel.setcallback(found.append, endmarker=None)
        channel.waitclose(60)
        assert found == [1, None]

    def test_are_done_when_the_channel_is_closed(self, session: sremote.Session) -> None:
        found: list[object] = []
        channel = session.remote_exec("channel.receive()\nfor number in range(100): channel.send(number)")
        channel.setcallback(found.append)
        channel.send("go")
        channel.waitclose(60)
        assert found == list(range(100))

    def test_leave_nothing_to_receive(self, session: sremote.Session) -> None:
        channel = session.remote_exec(ECHO)
        channel.setcallback(lambda item: None)
        with pytest.raises(OSError, match="callback"):
            channel.receive()
        channel.close()

    def test_may_send(self, session: sremote.Session) -> None:
        channel = session.remote_exec("""
            total = 0
            for number in range(100):
                channel.send(number)
                total += channel.receive()
            raise ValueError(total)
        """)
        channel.setcallback(lambda number: channel.send(2 * number))
        with pytest.raises(RemoteError, match="9900"):
            channel.waitclose(60)

    def test_that_fail_close_the_channel(self, session: sremote.Session, capsys: pytest.CaptureFixture[str]) -> None:
        result = session.newchannel()
        channel = session.remote_exec("""
            result = channel.receive()
            channel.send(0)
            try:
                channel.receive()
            except Exception as error:
                result.send(str(error))
        """)
        channel.setcallback(lambda number: 1 // number)
        channel.send(result)
        assert "ZeroDivisionError" in result.receive(60)
        assert channel.isclosed()


class TestChannelsInValues:
    def test_lead_to_the_one_that_was_sent(self, session: sremote.Session) -> None:
        extra = session.newchannel()
        channel = session.remote_exec("found = channel.receive()\nfound['to'].send(found['text'])")
        channel.send({"to": extra, "text": "hello"})
        assert extra.receive(60) == "hello"

    def test_can_be_made_over_there(self, session: sremote.Session) -> None:
        channel = session.remote_exec("""
            extra = channel.gateway.newchannel()
            channel.send(extra)
            extra.send("first")
            channel.send(extra.receive())
        """)
        extra = channel.receive()
        assert extra.receive() == "first"
        extra.send("second")
        assert channel.receive() == "second"

    def test_keep_what_was_sent_on_them_before_they_arrived(self, session: sremote.Session) -> None:
        gate, extra = session.newchannel(), session.newchannel()
        channel = session.remote_exec("channel.receive().receive()\nchannel.send(list(channel.receive()))")
        channel.send(gate)
        channel.send(extra)
        for number in range(10):
            extra.send(number)
        extra.close()
        gate.send("open")
        assert channel.receive(60) == list(range(10))

    def test_of_another_session_are_refused(self, session: sremote.Session, client: sremote.Client) -> None:
        with client.session() as other:
            channel = session.remote_exec(ECHO)
            with pytest.raises(ValueRefused, match="another session"):
                channel.send(other.newchannel())
            channel.close()


class TestFiles:
    def test_writes_are_sent(self, session: sremote.Session) -> None:
        channel = session.remote_exec(ECHO)
        with channel.makefile("w", proxyclose=True) as file:
            file.write("one\n")
            file.writelines(["two\n", "three\n"])
            file.flush()
            assert [channel.receive() for _ in range(3)] == ["one\n", "two\n", "three\n"]
        assert channel.isclosed()

    def test_prints_of_code_over_there_can_go_to_one(self, session: sremote.Session) -> None:
        channel = session.remote_exec("print('hello', file=channel.makefile('w'))")
        assert "".join(channel) == "hello\n"

    @pytest.mark.parametrize("empty", ["", b""], ids=["text", "bytes"])
    def test_reads_take_what_comes(self, session: sremote.Session, empty: Any) -> None:
        def cast(text: str) -> Any:
            return text if isinstance(empty, str) else text.encode()

        channel = session.remote_exec(ECHO)
        for text in ("one\ntw", "o\nthree", "\nfour\nrest"):
            channel.send(cast(text))
        channel.send(None)
        file = channel.makefile("r")
        assert file.readline() == cast("one\n")
        assert file.read(2) == cast("tw")
        assert next(iter(file)) == cast("o\n")
        assert file.read(6) == cast("three\n")
        channel.close()

    def test_reads_end_with_the_channel(self, session: sremote.Session) -> None:
        file = session.remote_exec("channel.send('a\\nb')").makefile("r")
        assert list(file) == ["a\n", "b"]
        assert file.read() == ""

    def test_have_two_modes(self, session: sremote.Session) -> None:
        channel = session.newchannel()
        with pytest.raises(ValueError, match="'a'"):
            channel.makefile("a")


class TestManyChannels:
    def test_work_side_by_side(self, session: sremote.Session) -> None:
        channels = [session.remote_exec(ECHO) for _ in range(50)]
        for number, channel in enumerate(channels):
            channel.send(number)
        assert [channel.receive() for channel in reversed(channels)] == list(reversed(range(50)))
        for channel in channels:
            channel.close()

    def test_one_that_is_not_read_holds_up_no_other(self, session: sremote.Session) -> None:
        stuck = session.remote_exec("while True: channel.send(bytes(100000))")
        channel = session.remote_exec(ECHO)
        for number in range(20):
            channel.send([number] * 1000)
            assert channel.receive() == [number] * 1000
        assert session.call("math", "sqrt", [4]) == 2.0
        stuck.close()
        channel.close()


def test_arguments_go_with_a_function_alone(session: sremote.Session) -> None:
    with pytest.raises(UsageError, match="function"):
        session.remote_exec("pass", factor=3)


def receive_until_interrupted(channel: Any) -> None:
    timer = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    try:
        channel.receive()
    finally:
        timer.join()


def test_an_interrupted_wait_leaves_the_channel_as_it_was(local_session: sremote.Session) -> None:
    channel = local_session.remote_exec("channel.receive()\nchannel.send('whole')")
    with pytest.raises(KeyboardInterrupt):
        receive_until_interrupted(channel)
    channel.send(None)
    assert channel.receive(60) == "whole"


def test_one_program_does_it_all_with_each_python_there(python_session: sremote.Session) -> None:
    found: list[object] = []
    extra = python_session.newchannel()
    channel = python_session.remote_exec("""
        import sys
        extra = channel.receive()
        for item in channel:
            if item is None:
                break
            channel.send(item)
        print("written", file=extra.makefile("w"))
        extra.close()
        raise ValueError(sys.version_info[1])
    """)
    values = [1, "text", b"bytes" * 100_000, {"deep": [(1, {2})]}, datetime.date(2024, 2, 29), 1.5]
    channel.send(extra)
    for value in values:
        channel.send(value)
    channel.send(None)
    extra.setcallback(found.append, endmarker="end")
    assert [channel.receive(60) for _ in values] == values
    with pytest.raises(RemoteError, match="ValueError: "):
        channel.receive(60)
    extra.waitclose(60)
    assert "".join(map(str, found)) == "written\nend"
