"""``client.call``: values there and back, errors as they were, output, surroundings, limits."""

import json
import os
import re
import signal
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest

import sremote
from sremote.errors import (
    FormatError,
    NotInstalled,
    RemoteError,
    RemoteExit,
    RemoteKilled,
    UsageError,
    ValueRefused,
    WalltimeExceeded,
)

SLOW_START = 60.0
"""Seconds for something to happen on a busy machine."""


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SLOW_START
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def numpy_client(local_client: sremote.Client) -> Iterator[sremote.Client]:
    with sremote.connect("local:", root=local_client.host.root, python=sys.executable) as client:
        yield client


class TestArguments:
    @pytest.mark.matrix
    def test_a_list_is_positional(self, client):
        assert client.call("operator", "sub", [5, 2]) == 3

    def test_a_tuple_is_positional(self, client):
        assert client.call("operator", "sub", (5, 2)) == 3

    def test_a_mapping_alone_is_keywords(self, client):
        assert client.call("fractions", "Fraction", {"numerator": 1, "denominator": 2}).denominator == 2

    def test_a_list_and_keywords_go_together(self, client):
        assert client.call("builtins", "sorted", [[1, 3, 2]], {"reverse": True}) == [3, 2, 1]

    def test_none_at_all_will_do(self, client):
        assert client.call("builtins", "list") == []

    def test_keywords_given_twice_are_refused(self, client):
        with pytest.raises(UsageError, match="args is a mapping"):
            client.call("builtins", "dict", {"a": 1}, {"b": 2})

    def test_a_bare_string_is_refused(self, client):
        with pytest.raises(UsageError, match="not a list, tuple or mapping") as caught:
            client.call("builtins", "len", "abc")
        assert "[value]" in caught.value.remedy

    def test_a_dotted_function_is_found(self, client):
        assert client.call("datetime", "date.fromordinal", [1]).isoformat() == "0001-01-01"

    def test_values_are_the_same_there_and_back(self, client):
        value = {"a": [1, -2.5, 1 << 70, None, True], "b": (b"\0\xff", "ü\n\ud7ff"), 3: {frozenset({1}), 1j}}
        assert client.call("copy", "copy", [value]) == value

    def test_a_value_larger_than_any_buffer_comes_whole(self, client):
        for _ in range(4):
            value = os.urandom(5_000_000)
            assert client.call("copy", "copy", [value]) == value

    def test_what_is_not_data_is_refused_before_anything_runs(self, client):
        with pytest.raises(ValueRefused, match=r"args\[0\]\[1\] is <function .*>, which is code"):
            client.call("builtins", "len", [["a", runs]])

    def test_a_result_that_is_not_data_is_refused_by_its_type(self, client):
        with pytest.raises(ValueRefused, match=r"returned value is a .*Random") as caught:
            client.call("random", "Random")
        assert "sremote.allow" in caught.value.remedy


class TestArrays:
    @pytest.fixture
    def bare_client(self, local_client, tmp_path) -> Iterator[sremote.Client]:
        venv.create(tmp_path / "bare")
        with sremote.connect("local:", root=local_client.host.root, python=f"{tmp_path}/bare/bin/python") as client:
            yield client

    def test_an_array_comes_back_with_its_type_and_shape(self, numpy_client):
        array = numpy.arange(12, dtype=">i2").reshape(3, 4)
        found = numpy_client.call("numpy", "transpose", [array])
        assert found.dtype == array.dtype
        assert (found == array.T).all()

    def test_arrays_inside_other_values_travel_too(self, numpy_client):
        found = numpy_client.call("copy", "copy", [{"a": [numpy.ones(3)], "b": numpy.float32(0.1)}])
        assert found["a"][0].tolist() == [1, 1, 1]
        assert found["b"] == numpy.float32(0.1)

    def test_a_host_without_numpy_says_so(self, bare_client):
        with pytest.raises(ValueRefused, match="numpy"):
            bare_client.call("builtins", "len", [numpy.ones(3)])


class TestErrors:
    def test_a_builtin_exception_comes_back_as_itself(self, client):
        with pytest.raises(ZeroDivisionError, match="division by zero"):
            client.call("operator", "truediv", [1, 0])

    def test_it_tells_host_job_and_remote_traceback(self, client):
        with pytest.raises(json.JSONDecodeError) as caught:
            client.call("json", "loads", ["{"])
        remote = caught.value.remote
        assert remote.host == client.host.name
        assert remote.job_id == client.last_response.id
        assert "decoder.py" in remote.traceback
        assert "interpreter/" not in remote.traceback

    def test_its_cause_shows_the_remote_traceback(self, client):
        with pytest.raises(ZeroDivisionError) as caught:
            client.call("operator", "truediv", [1, 0])
        assert f"on {client.host.name}, job" in str(caught.value.__cause__)

    def test_a_missing_file_keeps_its_name(self, client):
        with pytest.raises(FileNotFoundError) as caught:
            client.call("builtins", "open", ["/no/such/file"])
        assert caught.value.filename == "/no/such/file"

    def test_an_exception_with_arguments_that_cannot_travel_is_still_of_its_class(self, client):
        with pytest.raises(KeyError, match="object object"):
            client.call_function(raise_key_error)

    def test_notes_come_along(self, client):
        with pytest.raises(ValueError, match="bad") as caught:
            client.call_function(raise_with_note)
        assert caught.value.__notes__ == ["look at the log"]

    def test_an_exception_unknown_here_is_told_as_text(self, client):
        with pytest.raises(RemoteError, match=r"Unheard: of that") as caught:
            client.call_function(raise_unheard)
        assert caught.value.type_name.endswith("Unheard")
        assert "raise Unheard" in caught.value.remote.traceback

    def test_stop_iteration_does_not_end_a_loop_around_the_call(self, client):
        with pytest.raises(RemoteError, match="StopIteration"):
            client.call_function(raise_stop_iteration)

    def test_a_failure_keeps_what_was_printed(self, client, capsys):
        with pytest.raises(ValueError, match="after") as caught:
            client.call_function(print_and_raise)
        assert caught.value.remote.stdout == "before\n"
        assert caught.value.remote.stderr == "trouble\n"
        assert capsys.readouterr() == ("before\n", "trouble\n")

    @pytest.mark.parametrize(("module", "function"), [("sys", "exit"), ("os", "_exit")])
    def test_an_exit_tells_its_status(self, client, module, function):
        with pytest.raises(RemoteExit, match="exited with status 3") as caught:
            client.call(module, function, [3])
        assert caught.value.status == 3

    def test_a_signal_is_named(self, client):
        with pytest.raises(RemoteKilled, match="SIGKILL") as caught:
            client.call_function(kill_self)
        assert caught.value.signal == signal.SIGKILL

    def test_a_missing_module_says_how_to_install_it(self, client):
        with pytest.raises(NotInstalled, match="no module 'no_such_module'") as caught:
            client.call("no_such_module", "f")
        assert f"sremote install {client.host.name}" in caught.value.remedy

    def test_a_missing_function_is_named(self, client):
        with pytest.raises(NotInstalled, match="'os' has no 'no_such_function'"):
            client.call("os", "no_such_function")

    def test_the_client_goes_on_after_a_failure(self, client):
        with pytest.raises(RemoteExit):
            client.call("os", "_exit", [1])
        assert client.call("operator", "add", [1, 2]) == 3


class TestOutput:
    def test_it_is_forwarded_and_kept(self, client, capsys):
        client.call("builtins", "print", ["hello", "ü"])
        assert capsys.readouterr().out == "hello ü\n"
        assert client.last_response.stdout == "hello ü\n"

    def test_standard_error_stays_apart(self, client, capsys):
        client.call("sys", "stderr.write", ["trouble\n"])
        assert capsys.readouterr() == ("", "trouble\n")
        assert client.last_response.stderr == "trouble\n"

    def test_that_of_child_processes_is_forwarded_too(self, client, capsys):
        client.call("os", "system", ["echo child; echo error >&2"])
        assert capsys.readouterr() == ("child\n", "error\n")

    def test_without_echo_it_is_only_kept(self, client, capsys):
        client.call("builtins", "print", ["hello"], echo=False)
        assert capsys.readouterr().out == ""
        assert client.last_response.stdout == "hello\n"

    def test_it_may_be_binary(self, client):
        client.call("os", "write", [1, b"\xff\0"], echo=False)
        assert client.last_response.output("stdout") == b"\xff\0"
        assert client.last_response.stdout == "\\xff\0"

    def test_each_thread_has_its_own_last_response(self, client):
        client.call("builtins", "print", ["mine"], echo=False)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(client.call, "builtins", "print", ["theirs"], echo=False).result()
        assert client.last_response.stdout == "mine\n"

    def test_a_job_tells_what_it_took(self, client):
        client.call("time", "sleep", [0.05])
        assert client.last_response.seconds > 0.04
        assert client.last_response.usage["max_memory"] > 1 << 20


class TestSurroundings:
    def test_env_sets_variables(self, client):
        assert client.call("os", "getenv", ["LANG"], env={"LANG": "x y"}) == "x y"

    def test_env_default_sets_only_what_is_unset(self, client):
        given = {"HOME": "/other", "FRESH": "new"}
        assert client.call("os", "getenv", ["HOME"], env_default=given) == client.host.probe().home
        assert client.call("os", "getenv", ["FRESH"], env_default=given) == "new"

    def test_path_is_appended(self, client):
        before = client.call("os", "getenv", ["PATH"])
        assert client.call("os", "getenv", ["PATH"], path=["/a b", "/c"]) == f"{before}:/a b:/c"

    def test_the_working_directory_is_home(self, client):
        assert client.call("os", "getcwd") == os.path.realpath(client.host.probe().home)

    def test_cwd_changes_it(self, client, tmp_path):
        assert client.call("os", "getcwd", cwd=str(tmp_path)) == str(tmp_path)

    def test_modules_of_the_working_directory_can_be_called(self, client, tmp_path):
        (tmp_path / "beside_me.py").write_text("def double(x): return 2 * x\n")
        assert client.call("beside_me", "double", [4], cwd=str(tmp_path)) == 8

    def test_a_missing_cwd_is_a_usage_error(self, client):
        with pytest.raises(UsageError, match="/no/such/place"):
            client.call("os", "getcwd", cwd="/no/such/place")

    def test_login_env_is_that_of_a_login_shell(self, client):
        profile = Path(client.host.probe().home, ".profile")
        profile.write_text("export FROM_PROFILE='a b'\necho noise\n")
        try:
            assert client.call("os", "getenv", ["FROM_PROFILE"], login_env=True) == "a b"
            assert client.call("os", "getenv", ["FROM_PROFILE"]) is None
        finally:
            profile.unlink()

    def test_what_a_call_changes_harms_no_other(self, client):
        client.call("os", "chdir", ["/"])
        client.call("os", "putenv", ["FROM_BEFORE", "x"])
        assert client.call("os", "getcwd") != "/"
        assert client.call("os", "getenv", ["FROM_BEFORE"]) is None


class TestLimits:
    def test_a_timeout_stops_it_and_its_children(self, client, tmp_path):
        script = f"echo $$ >{tmp_path}/pid; exec sleep 60"
        with pytest.raises(WalltimeExceeded, match="time limit"):
            client.call("subprocess", "call", [["sh", "-c", script]], timeout=1)
        wait_for(lambda: not runs(int((tmp_path / "pid").read_text())))

    def test_what_was_printed_until_then_is_kept(self, client, capsys):
        with pytest.raises(WalltimeExceeded) as caught:
            client.call("os", "system", ["echo so far; sleep 60"], timeout=1)
        assert caught.value.remote.stdout == "so far\n"

    @pytest.mark.parametrize("timeout", [0, -1])
    def test_a_timeout_without_time_is_refused(self, client, timeout):
        with pytest.raises(UsageError, match="no time to run"):
            client.call("os", "getpid", timeout=timeout)

    def test_an_interrupt_stops_the_function(self, client, tmp_path):
        def interrupt():
            wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
            os.kill(os.getpid(), signal.SIGINT)

        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        thread = threading.Thread(target=interrupt)
        try:
            thread.start()
            with pytest.raises(KeyboardInterrupt):
                client.call("os", "system", [f"echo $$ >{tmp_path}/pid; exec sleep 60"])
        finally:
            thread.join()
            signal.signal(signal.SIGINT, before)
        wait_for(lambda: not runs(int((tmp_path / "pid").read_text())))
        assert client.call("operator", "add", [1, 2]) == 3


class TestThreads:
    def test_many_calls_at_once_each_get_their_own_value(self, client):
        with ThreadPoolExecutor(12) as pool:
            found = list(pool.map(lambda number: client.call("operator", "neg", [number]), range(24)))
        assert found == [-number for number in range(24)]

    def test_a_long_call_does_not_hold_up_a_short_one(self, client, tmp_path):
        gate = tmp_path / "gate"
        with ThreadPoolExecutor(1) as pool:
            script = f"until [ -e {gate} ]; do sleep 0.05; done"
            long = pool.submit(client.call, "os", "system", [script], timeout=60)
            client.call("pathlib", "Path.touch", [gate])
            assert long.result() == 0


class TestResponses:
    """What comes back is checked before it is believed."""

    @pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:20], lambda data: b"x" + data[1:]])
    def test_a_damaged_one_is_a_format_error(self, local_client, damage):
        local_client.call("operator", "add", [1, 2])
        job = local_client.last_response
        whole = job.message.to_bytes()
        assert sremote.Response.read("local", job.id, whole, {}, trust=False).result() == 3
        with pytest.raises(FormatError):
            sremote.Response.read("local", job.id, damage(whole), {}, trust=False)

    def test_that_of_another_job_is_refused(self, local_client):
        local_client.call("operator", "add", [1, 2])
        whole = local_client.last_response.message.to_bytes()
        with pytest.raises(FormatError, match="is that of job"):
            sremote.Response.read("local", "another", whole, {}, trust=False)

    def test_an_unknown_outcome_is_a_format_error(self, local_client):
        local_client.call("operator", "add", [1, 2])
        job = local_client.last_response
        job.message.header["outcome"] = "celebrated"
        with pytest.raises(FormatError, match="celebrated"):
            job.result()

    @pytest.mark.parametrize(("name", "value"), [("times", 3), ("status", "x"), ("signal", []), ("error", None)])
    def test_a_header_of_the_wrong_kind_is_a_format_error(self, local_client, name, value):
        local_client.call("operator", "add", [1, 2])
        job = local_client.last_response
        outcome = {"times": "walltime", "status": "exited", "signal": "killed", "error": "raised"}[name]
        job.message.header.update({"outcome": outcome, name: value})
        with pytest.raises(FormatError, match=re.escape(repr(value))):
            job.result()


def raise_key_error():
    raise KeyError(object())


def raise_with_note():
    error = ValueError("bad")
    error.add_note("look at the log")
    raise error


def raise_unheard():
    class Unheard(Exception):
        pass

    raise Unheard("of that")


def raise_stop_iteration():
    raise StopIteration(3)


def print_and_raise():
    print("before")
    print("trouble", file=sys.stderr)
    raise ValueError("after")


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)
