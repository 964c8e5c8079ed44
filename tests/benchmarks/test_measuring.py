"""The parts that the benchmark measures with: the slow line, the counting connector, the verdicts, the report."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.proxy import round_trips, slow_line
from benchmarks.report import save, summary
from benchmarks.requests import CountingConnector
from benchmarks.results import OURS, Row, at_least_times, at_most, interleaved, number


@contextmanager
def echo_server() -> Iterator[int]:
    """A server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection: socket.socket) -> None:
            with connection:
                while data := connection.recv(4096):
                    connection.sendall(data)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=[connection], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def exchanges(count: int) -> Callable[[int], float]:
    """Something that takes ``count`` round trips."""

    def measured(port: int) -> float:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            began = time.perf_counter()
            for _ in range(count):
                connection.sendall(b"x")
                connection.recv(1)
            return time.perf_counter() - began

    return measured


@pytest.mark.parametrize("count", [1, 3])
def test_a_slow_line_tells_how_many_round_trips_something_took(count: int) -> None:
    with echo_server() as port:
        assert round(round_trips(port, exchanges(count), delay=0.1, rounds=2)) == count


def test_a_slow_line_changes_no_byte() -> None:
    with (
        echo_server() as target,
        slow_line(target, 0.0) as port,
        socket.create_connection(("127.0.0.1", port)) as connection,
    ):
        connection.sendall(bytes(range(256)))
        assert connection.recv(256, socket.MSG_WAITALL) == bytes(range(256))


def test_each_request_of_a_connector_without_streams_is_counted(tmp_path: Path) -> None:
    connector = CountingConnector()
    file = str(tmp_path / "file")
    connector.put(b"content", file)
    connector.execute(["true"])
    assert connector.read(file) == b"content"
    assert connector.requests == 3


def test_contenders_take_turns() -> None:
    order: list[str] = []

    def contender(name: str) -> Callable[[], float]:
        def measure() -> float:
            order.append(name)
            return float(len(order))

        return measure

    samples = interleaved(2, {"one": contender("one"), "two": contender("two")})
    assert order == ["one", "two", "one", "two"]
    assert samples == {"one": [1.0, 3.0], "two": [2.0, 4.0]}


def test_a_missed_goal_says_by_how_much() -> None:
    assert at_least_times(1.4, 2).text == "1.40× instead of 2×"
    assert not at_least_times(1.4, 2).met
    assert at_least_times(2.5, 2).met
    assert not at_most(3.1, 3, "ms").met
    assert at_most(2.9, 3, "ms").text == "2.9 ms of 3 ms"


def test_a_row_is_the_median_of_its_rounds() -> None:
    row = Row("a call", "ms", {OURS: [9.0, 1.0, 2.0]}, "at most 3 ms", at_most(2, 3, "ms"))
    assert row.medians == {OURS: 2.0}
    assert summary(row) == "a call, ms: sremote 2: met, 2 ms of 3 ms"


def test_the_results_are_kept_with_every_round(tmp_path: Path) -> None:
    path = tmp_path / "results" / "latest.json"
    save([Row("a call", "ms", {OURS: [1.0, 2.0, 9.0]}, "at most 3 ms", at_most(2, 3, "ms"))], path)
    (row,) = json.loads(path.read_text())["rows"]
    assert row["met"] is True
    assert row["medians"] == {OURS: 2.0}
    assert row["samples"] == {OURS: [1.0, 2.0, 9.0]}


@pytest.mark.parametrize(("value", "text"), [(14513.2, "14,513"), (1.9244, "1.92"), (0.122, "0.122")])
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text
