"""Many calls at once: responses, completions, threads over there, threads here, and hosts."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import sremote
from sremote.errors import ConnectionLost, LineTimeout, RemoteExit, SremoteError, UsageError
from sremote.objects import (
    SINGLE,
    ClientGroup,
    ObjectClient,
    RemoteException,
    call_method_multi,
    call_multi,
    eval_multi,
    execblock_multi,
)
from tests.sremote.objects.test_proxies import eventually


@pytest.fixture
def threaded(local_connection: sremote.Client) -> Iterator[ObjectClient]:
    with local_connection.objects(threaded=True, echo=False) as remote:
        yield remote


def test_a_call_need_not_be_waited_for(remote: ObjectClient) -> None:
    responses = [remote.add(number, 1, nonblocking=True) for number in range(5)]
    assert [response.wait() for response in reversed(responses)] == [5, 4, 3, 2, 1]
    assert all(response.have_response for response in responses)


def test_waiting_for_a_response_has_its_limit_and_raises_what_was_raised(remote: ObjectClient) -> None:
    remote.clear_event()
    response = remote.wait_for_event(nonblocking=True, threadid="waiting")
    with pytest.raises(LineTimeout):
        response.wait(0.05)
    remote.set_event()
    assert response.wait() is True
    failing = remote.raise_error("late", nonblocking=True, origexc="quiet")
    with pytest.raises(ValueError, match="late"):
        failing.wait()


def test_threads_over_there_run_side_by_side(remote: ObjectClient) -> None:
    remote.clear_event()
    waiting = remote.wait_for_event(nonblocking=True, threadid=1)
    assert remote.add(1, 2, threadid=2) == 3
    remote.set_event(threadid=3)
    assert waiting.wait() is True


def test_a_thread_over_there_keeps_its_number(remote: ObjectClient) -> None:
    first = [remote.thread(threadid=7) for _ in range(3)]
    assert len(set(first)) == 1
    assert remote.thread(threadid=8) != first[0]
    remote.set_default_thread(7)
    assert remote.thread() == first[0]
    remote.set_default_thread(0)
    assert remote.thread() != first[0]


def test_a_single_thread_is_for_one_call(remote: ObjectClient) -> None:
    remote.add(1, 1)
    before = remote.threading.active_count()
    assert remote.thread(threadid=SINGLE) != remote.thread()
    response = remote.add(2, 3, threadid=SINGLE, nonblocking=True)
    assert response.wait() == 5
    eventually(lambda: remote.threading.active_count() <= before + 1)  # one more for what is released


def test_a_thread_over_there_can_be_stopped(remote: ObjectClient) -> None:
    remote.add(1, 1)
    before = remote.threading.active_count()
    remote.add(1, 1, threadid="passing")
    remote.stop_remote_thread("passing")
    eventually(lambda: remote.threading.active_count() <= before + 1)  # one more for what is released
    assert remote.add(1, 1, threadid="passing") == 2
    remote.stop_remote_thread("passing")


def test_completions_are_called_when_answers_are_read(remote: ObjectClient) -> None:
    seen: list[object] = []
    assert remote.add(1, 2, oncomplete=seen.append) is None
    remote.add(3, 4, oncomplete=(lambda *all_of_it: seen.append(all_of_it), "more", 5))
    remote.raise_error("wrong", oncomplete=seen.append, onerror=(lambda *all_of_it: seen.append(all_of_it), "failed"))
    remote.raise_error("again", oncomplete=seen.append)
    assert seen == []
    while len(seen) < 4:
        assert remote.read_response()
    assert remote.read_response(block=False) is False
    assert seen[:2] == [3, (7, "more", 5)]
    error, text = seen[2]  # type: ignore[misc]
    assert isinstance(error, RemoteException)
    assert (str(error.orig), text) == ("wrong", "failed")
    assert isinstance(seen[3], RemoteException)


def test_many_large_calls_at_once_do_not_stand_in_each_others_way(remote: ObjectClient) -> None:
    responses = [remote.same(bytes([number]) * 300_000, nonblocking=True) for number in range(30)]
    assert [response.wait()[:1] for response in responses] == [bytes([number]) for number in range(30)]


def test_the_same_call_on_several_hosts(local_connection: sremote.Client) -> None:
    with local_connection.objects(echo=False) as one, local_connection.objects(echo=False) as other:
        clients = [one, other]
        for client in clients:
            client.clear_event()
        pids = call_multi(clients, "os.getpid")
        assert len(set(pids)) == 2
        assert eval_multi(clients, "__import__('os').getpid()") == pids
        assert execblock_multi(clients, "import os\nexec_return(os.getpid())") == pids
        counters = call_multi(clients, "Counter", 5)
        assert call_method_multi(counters, "get") == [5, 5]
        with pytest.raises(ValueError, match="wrong"):
            call_multi(clients, "raise_error", "wrong", origexc="quiet")


def test_calls_on_several_fresh_clients_run_at_once(local_connection: sremote.Client) -> None:
    """Each waits for the other."""
    with local_connection.objects(echo=False) as one, local_connection.objects(echo=False) as other:
        reading, writing = os.pipe()
        os.close(reading)
        os.close(writing)
        folder = one.tempfile.mkdtemp()
        source = (
            f"import os, time, uuid\nopen(os.path.join({folder!r}, uuid.uuid4().hex), 'w').close()\n"
            f"while len(os.listdir({folder!r})) < 2: time.sleep(0.01)"
        )
        assert execblock_multi([one, other], source) == [None, None]
        one.shutil.rmtree(folder)


def test_a_group_waits_for_whichever_answers_first(local_connection: sremote.Client) -> None:
    seen: list[object] = []
    with local_connection.objects(echo=False) as one, local_connection.objects(echo=False) as other:
        group = ClientGroup([one])
        group.add_client(other)
        one.wait_for_event(oncomplete=(lambda value: seen.append(("slow", value))))
        other.add(1, 2, oncomplete=(lambda value: seen.append(("fast", value))))
        while not seen:
            group.read_responses(timeout=60)
        assert seen == [("fast", 3)]
        one.set_event(threadid=1)
        while len(seen) < 2:
            group.read_responses()
        assert seen[1] == ("slow", True)
        assert group.read_responses(timeout=0.01) == 0
        group.remove_client(one)
        assert group.clients == [other]


# --- threads here ----------------------------------------------------------------------------


def test_each_thread_here_has_its_own_over_there(threaded: ObjectClient) -> None:
    def both(_: int) -> tuple[int, int]:
        together.wait(60)
        return threaded.thread(), threaded.thread()

    together = threading.Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(both, range(3)))
    assert all(first == second for first, second in found)
    assert len({first for first, _ in found} | {threaded.thread()}) == 4


def test_a_thread_over_there_ends_with_the_one_here(threaded: ObjectClient) -> None:
    threaded.add(1, 1)
    before = threaded.threading.active_count()
    for _ in range(3):
        thread = threading.Thread(target=threaded.add, args=(1, 1))
        thread.start()
        thread.join()
    eventually(lambda: threaded.threading.active_count() <= before + 1)  # one more for what is released


def test_completions_need_no_reading_with_threads(threaded: ObjectClient) -> None:
    arrived = threading.Event()
    threaded.add(1, 2, oncomplete=lambda value: arrived.set() if value == 3 else None)
    assert arrived.wait(60)


def test_threads_share_one_client(local_remote: ObjectClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: local_remote.add(number, 1), range(200)))
    assert answers == list(range(1, 201))


# --- when it ends ----------------------------------------------------------------------------


def test_a_process_that_dies_over_there_is_an_error_for_all_who_wait(local_connection: sremote.Client) -> None:
    with local_connection.objects(echo=False) as remote:
        waiting = [remote.wait_for_event(nonblocking=True, threadid=number) for number in range(1, 4)]
        os.kill(remote.os.getpid(), signal.SIGKILL)
        for response in waiting:
            with pytest.raises((ConnectionLost, RemoteExit)):
                response.wait(60)
        with pytest.raises((ConnectionLost, RemoteExit)):
            remote.add(1, 2)
        assert not remote.connected


def test_a_process_that_leaves_over_there_says_so(local_connection: sremote.Client) -> None:
    with local_connection.objects(echo=False) as remote, pytest.raises(SremoteError, match="status 5"):
        remote.eval("__import__('os')._exit(5)")


def test_a_host_that_falls_silent_is_noticed(local_connection: sremote.Client) -> None:
    with local_connection.objects(
        threaded=True, echo=False, keep_alive_interval=0.05, keep_alive_timeout=0.5
    ) as remote:
        pid = remote.os.getpid()
        assert remote.time.sleep(1.0) is None  # busy is not silent
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(LineTimeout, match=r"no sign of life for 0\.5 s"):
                remote.wait_for_event()  # as it goes on when it is ended, and then might answer
        finally:
            os.kill(pid, signal.SIGCONT)
        assert not remote.connected


def test_a_closed_client_says_that_it_is(local_connection: sremote.Client) -> None:
    remote = local_connection.objects(echo=False)
    assert remote.connected
    remote.close()
    remote.close()
    with pytest.raises(UsageError, match="the client is closed"):
        remote.add(1, 2)


def test_a_client_that_is_closed_ends_calls_under_way(local_connection: sremote.Client) -> None:
    remote = local_connection.objects(echo=False)
    response = remote.wait_for_event(nonblocking=True)
    remote.close()
    with pytest.raises(SremoteError):
        response.wait(60)


def test_compression_changes_nothing_but_the_line(local_connection: sremote.Client) -> None:
    with local_connection.objects(echo=False, compress=True) as remote:
        assert remote.same("text" * 100_000) == "text" * 100_000
        assert remote.Counter(3).get() == 3


def test_the_session_is_left_as_it_was_when_connecting_fails(local_connection: sremote.Client) -> None:
    before = time.monotonic()
    with pytest.raises(UsageError, match="origexc is True, False or 'quiet'"):
        local_connection.objects(echo=False).add(1, 2, origexc="loud")
    assert time.monotonic() - before < 60
