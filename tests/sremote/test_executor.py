"""``client.executor`` and ``client.map``: what the standard library says of executors holds, and maps go in chunks."""

import asyncio
import concurrent.futures
import math
import operator
import os
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import joblib
import pexpect
import pytest

import sremote
from sremote.errors import RemoteKilled, UsageError, ValueRefused
from sremote.executor import chunks_of
from sremote.joblib_backend import JoblibBackend
from tests.interpreter.far_side import wait_for

PATIENCE = 60.0
"""Seconds for something to happen on a busy machine."""


@pytest.fixture
def executor(local_client: sremote.Client):
    with local_client.executor(workers=2) as executor:
        yield executor


def gated(gate: str, value: int) -> int:
    """Return ``value`` once the gate is there."""
    import os
    import time

    while not os.path.exists(gate):
        time.sleep(0.01)
    return value


def unless_three(number: int) -> int:
    if number == 3:
        raise LookupError(f"not {number}")
    return number


# The standard library's own behaviours


def test_submit_gives_a_future_of_the_value(executor):
    future = executor.submit(pow, 2, 8)
    assert isinstance(future, Future)
    assert future.result(PATIENCE) == 256
    assert future.done()
    assert not future.cancelled()


def test_keywords_reach_the_function(executor):
    assert executor.submit(sorted, [1, 3, 2], reverse=True).result(PATIENCE) == [3, 2, 1]


def test_calls_run_on_the_host_in_processes_of_their_own(executor):
    pids = {executor.submit(os.getpid).result(PATIENCE) for _ in range(3)}
    assert len(pids) == 3
    assert os.getpid() not in pids


def test_an_exception_is_the_futures_and_comes_back_as_itself(executor):
    future = executor.submit(operator.truediv, 1, 0)
    assert isinstance(future.exception(PATIENCE), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        future.result()


def test_what_cannot_be_sent_is_the_futures_error(executor):
    assert isinstance(executor.submit(operator.neg, object()).exception(PATIENCE), ValueRefused)


def test_a_call_that_dies_does_not_break_the_executor(executor):
    assert isinstance(executor.submit(os.kill, 0, 9).exception(PATIENCE), RemoteKilled)
    assert executor.submit(operator.neg, 1).result(PATIENCE) == -1


def test_a_pending_future_can_be_cancelled_and_a_running_one_cannot(local_client, tmp_path):
    gate = tmp_path / "gate"
    with local_client.executor(workers=1) as executor:
        running = executor.submit(gated, str(gate), 1)
        pending = executor.submit(gated, str(gate), 2)
        wait_for(running.running)
        assert not running.cancel()
        assert pending.cancel()
        gate.touch()
        assert running.result(PATIENCE) == 1
    with pytest.raises(concurrent.futures.CancelledError):
        pending.result()


def test_result_and_exception_give_up_after_their_timeout(executor, tmp_path):
    future = executor.submit(gated, str(tmp_path / "gate"), 1)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(0.01)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.exception(0.01)
    (tmp_path / "gate").touch()
    assert future.result(PATIENCE) == 1


def test_wait_tells_the_first_that_completes_and_the_first_that_raises(executor, tmp_path):
    gate = tmp_path / "gate"
    slow = executor.submit(gated, str(gate), 1)
    quick = executor.submit(operator.truediv, 1, 0)
    for condition in (concurrent.futures.FIRST_COMPLETED, concurrent.futures.FIRST_EXCEPTION):
        done, waiting = concurrent.futures.wait([slow, quick], PATIENCE, condition)
        assert (done, waiting) == ({quick}, {slow})
    gate.touch()
    done, waiting = concurrent.futures.wait([slow, quick], PATIENCE)
    assert (done, waiting) == ({slow, quick}, set())


def test_as_completed_gives_each_when_it_is_done(executor, tmp_path):
    gate = tmp_path / "gate"
    slow = executor.submit(gated, str(gate), 1)
    quick = executor.submit(operator.neg, 2)
    ends = concurrent.futures.as_completed([slow, quick], PATIENCE)
    assert next(ends) is quick
    gate.touch()
    assert next(ends) is slow


def test_callbacks_are_called(executor):
    called = threading.Event()
    executor.submit(operator.neg, 1).add_done_callback(lambda _: called.set())
    assert called.wait(PATIENCE)


def test_map_keeps_the_order_and_takes_several_iterables(executor):
    assert list(executor.map(pow, range(5), [2] * 5)) == [0, 1, 4, 9, 16]
    assert list(executor.map(pow, range(5), [2] * 9, chunksize=2)) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("chunksize", [1, 5])
def test_map_raises_after_the_values_before(executor, chunksize):
    values = executor.map(unless_three, range(5), chunksize=chunksize)
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError, match="not 3"):
        next(values)


def test_map_gives_up_after_its_timeout(executor, tmp_path):
    values = executor.map(gated, [str(tmp_path / "gate")], [1], timeout=0.05)
    with pytest.raises(concurrent.futures.TimeoutError):
        next(values)
    (tmp_path / "gate").touch()


def test_after_its_shutdown_an_executor_takes_nothing(local_client):
    executor = local_client.executor(workers=1)
    future = executor.submit(operator.neg, 1)
    executor.shutdown()
    assert future.done()
    with pytest.raises(RuntimeError):
        executor.submit(operator.neg, 1)


def test_shutdown_can_cancel_what_is_pending_and_need_not_wait(local_client, tmp_path):
    gate = tmp_path / "gate"
    executor = local_client.executor(workers=1)
    futures = [executor.submit(gated, str(gate), number) for number in range(3)]
    wait_for(futures[0].running)
    executor.shutdown(wait=False, cancel_futures=True)
    assert [future.cancelled() for future in futures] == [False, True, True]
    gate.touch()
    assert futures[0].result(PATIENCE) == 0


def test_as_many_calls_run_at_once_as_there_are_workers(local_client, tmp_path):
    with local_client.executor(workers=3) as executor:
        futures = [executor.submit(gated, str(tmp_path / "gate"), number) for number in range(4)]
        wait_for(lambda: sum(future.running() for future in futures) == 3)
        assert not futures[3].running()
        (tmp_path / "gate").touch()
    with pytest.raises(UsageError):
        local_client.executor(workers=-1)


# What others make of it


def test_asyncio_runs_calls_in_it(executor):
    async def both() -> list[float]:
        loop = asyncio.get_running_loop()
        return list(await asyncio.gather(*(loop.run_in_executor(executor, math.sqrt, x) for x in (4, 9))))

    assert asyncio.run(both()) == [2.0, 3.0]


def test_joblib_runs_batches_in_it(executor):
    with joblib.parallel_config(backend=JoblibBackend(executor), n_jobs=-1):
        assert joblib.Parallel(batch_size=3)(joblib.delayed(math.sqrt)(x * x) for x in range(7)) == list(range(7))
        mixed = [joblib.delayed(sorted)([2, 1], reverse=True), joblib.delayed(math.sqrt)(4)]
        assert joblib.Parallel(batch_size=2)(mixed) == [[2, 1], 2.0]
        with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
            joblib.Parallel()([joblib.delayed(math.sqrt)(-1)])


# Maps


def test_a_map_of_many_items_is_a_few_files(local_client):
    root = Path(local_client.facts().root)
    most = 0
    values = local_client.map("math", "sqrt", range(20_000), workers=2, chunk=4_000)
    for number, value in enumerate(values):
        assert value == math.sqrt(number)
        if number % 1000 == 0:
            most = max(most, sum(len(folders) + len(files) for _, folders, files in os.walk(root / "jobs")))
    assert number == 19_999
    assert most < 60


def test_a_map_keeps_what_came_before_an_error(local_client):
    values = local_client.map("math", "sqrt", [4, 1, -1, 9], workers=1, chunk=4)
    assert [next(values), next(values)] == [2.0, 1.0]
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        next(values)


def test_a_map_of_nothing_is_empty(local_client):
    assert list(local_client.map("math", "sqrt", [])) == []


def test_large_items_make_small_chunks():
    items = [(bytes(10 << 20),), (bytes(10 << 20),), (b"",), (b"",), (b"",)]
    assert [len(chunk) for chunk in chunks_of(items, 3)] == [1, 3, 1]


def test_a_map_shows_a_bar_on_a_terminal():
    program = """
import sremote
with sremote.connect("local:") as client:
    print("sum", sum(client.map("operator", "neg", [1, 2, 3], workers=1, chunk=1)))
"""
    child = pexpect.spawn(sys.executable, ["-c", program], encoding="utf-8", timeout=PATIENCE)
    child.expect(r"operator\.neg .*3/3")
    child.expect("sum -6")
    child.expect(pexpect.EOF)
