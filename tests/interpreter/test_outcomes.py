"""How a call can end: each way is its own, named error, and a response is always written."""

import signal

import pytest

from sremote.errors import RemoteError, RemoteExit, RemoteKilled, RemoteOutOfMemory, ValueRefused
from tests.interpreter.far_side import FarSide


@pytest.mark.parametrize(("code", "status", "said"), [(None, 0, ""), (3, 3, ""), (-1, 255, ""), ("why", 1, "why\n")])
def test_sys_exit_tells_its_status(far_side: FarSide, code: object, status: int, said: str) -> None:
    with pytest.raises(RemoteExit, match=f"exited with status {status} instead of returning") as caught:
        far_side.do("leave", code).result()
    assert (caught.value.status, caught.value.remote.stderr) == (status, said)


def test_os_exit_tells_its_status(far_side: FarSide) -> None:
    with pytest.raises(RemoteExit) as caught:
        far_side.do("leave_at_once", 7).result()
    assert caught.value.status == 7


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM], ids=str)
def test_a_signal_is_named(far_side: FarSide, number: signal.Signals) -> None:
    with pytest.raises(RemoteKilled, match=f"killed by {number.name}") as caught:
        far_side.do("die", number).result()
    assert caught.value.signal == number
    assert not isinstance(caught.value, RemoteOutOfMemory)


def test_a_crash_in_c_code_is_told_from_an_exception(far_side: FarSide) -> None:
    with pytest.raises(RemoteKilled, match="killed by SIGSEGV"):
        far_side.do("crash").result()


def test_memory_that_python_cannot_get_is_a_memory_error(far_side: FarSide) -> None:
    with pytest.raises(MemoryError) as caught:
        far_side.do("exhaust_memory").result()
    assert not isinstance(caught.value, RemoteOutOfMemory)


def test_an_exceptions_attributes_come_along_and_what_is_not_data_stays(far_side: FarSide) -> None:
    with pytest.raises(RemoteError, match=r"^deeds\.Unknown: \('a', 2\)") as caught:
        far_side.do("raise_unknown", "a", 2).result()
    assert caught.value.type_name == "deeds.Unknown"
    assert "in raise_unknown\n    raise error\n" in caught.value.remote.traceback


def test_arguments_of_an_exception_that_are_not_data_are_told_as_text(far_side: FarSide) -> None:
    with pytest.raises(ValueError, match=r"\(<deeds\.Part object at 0x.*>, 'second'\)"):
        far_side.do("raise_with_a_part").result()


def test_an_exception_of_any_length_comes_back(far_side: FarSide) -> None:
    with pytest.raises(ValueError, match="x") as caught:
        far_side.do("raise_long", 6_000_000).result()
    assert len(str(caught.value)) == 6_000_000
    assert len(caught.value.remote.traceback) < 200_000


def test_the_traceback_begins_in_the_users_code(far_side: FarSide) -> None:
    job = far_side.call("json", "loads", "{")
    assert "interpreter/execution.py" not in job.message.header["error"]["traceback"]


def test_endless_recursion_is_an_exception(far_side: FarSide) -> None:
    with pytest.raises(RecursionError, match="maximum recursion depth"):
        far_side.do("recurse").result()


def test_an_exception_that_would_end_the_client_does_not(far_side: FarSide) -> None:
    with pytest.raises(RemoteError, match="KeyboardInterrupt") as caught:
        far_side.do("interrupt").result()
    assert caught.value.type_name == "builtins.KeyboardInterrupt"


def test_a_value_that_is_not_data_is_refused_and_says_where_it_stands(far_side: FarSide) -> None:
    with pytest.raises(ValueRefused, match=r"the returned value\['rows'\]\[1\]\[0\] is a deeds\.Part: not plain data"):
        far_side.do("part_inside").result()


def test_a_response_tells_where_and_when_and_what_it_took(far_side: FarSide) -> None:
    job = far_side.call("time", "sleep", 0.01)
    assert job.result() is None
    assert job.seconds > 0.01
    assert job.usage["cpu_seconds"] > 0
    assert job.usage["max_memory"] > 1 << 20
    assert job.message.header["python"][0] == 3
