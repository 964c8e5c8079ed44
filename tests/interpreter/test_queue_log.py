"""What the log decides, and how it is kept small: whoever appends, whoever sleeps meanwhile, nothing is lost."""

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sremote.interpreter import queue_compaction, queue_segments
from sremote.interpreter.errors import FormatError, SremoteError
from sremote.interpreter.queue_log import BLOCK, Discarded
from sremote.interpreter.queue_requests import add
from sremote.interpreter.queue_state import change
from sremote.interpreter.queue_store import Store
from sremote.interpreter.queue_worker import Worker
from sremote.interpreter.queue_workers import about_this_process
from sremote.tasks import Task, tasks_message
from tests.interpreter.queue_side import QueueSide


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Give this process its signal handlers back, which workers that run in it replace."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def store_of(queue: QueueSide) -> Store:
    return Store(str(queue.root), queue.name)


def work(queue: QueueSide) -> None:
    """Work on the queue in this process."""
    Worker(store_of(queue), about_this_process(None), wait=False, deadline=None).run()


def pauses(store: Store, count: int) -> None:
    """Append entries that change nothing in the end."""
    for number in range(count):
        store.propose(lambda _, number=number: change("pause", paused=number % 2 == 0))


def inodes(queue: QueueSide) -> int:
    return sum(1 for _ in queue.folder.rglob("*"))


def test_each_of_many_that_append_at_once_gets_its_own_place(queue: QueueSide) -> None:
    def add_some(number: int) -> int:
        return queue.add(Task.call("operator", "pos", [number]), Task.call("operator", "pos", [number]))

    queue.ask("create")
    with ThreadPoolExecutor(8) as pool:
        firsts = list(pool.map(add_some, range(150)))

    assert sorted(firsts) == list(range(0, 300, 2))
    work(queue)
    results = queue.results()
    assert queue.counts() == {"SUCCEEDED": 300}
    assert len({results[first][-1] for first in firsts}) == 150


def test_what_several_add_under_one_id_is_added_once(queue: QueueSide) -> None:
    entry = tasks_message(["true"], "the same", {}).to_bytes()
    with ThreadPoolExecutor(8) as pool:
        firsts = list(pool.map(lambda _: add(str(queue.root), queue.name, entry), range(30)))

    assert set(firsts) == {0}
    assert queue.counts() == {"PENDING": 1}


def test_a_process_that_slept_while_the_log_was_discarded_goes_on_from_the_snapshot(queue: QueueSide) -> None:
    queue.add("true")
    sleeper, other = store_of(queue), store_of(queue)
    sleeper.load()
    pauses(other, 2 * BLOCK)

    assert not (queue.folder / "log" / "0").exists()
    number = sleeper.propose(lambda _: change("pause", paused=True))

    assert number == 2 * BLOCK + 2
    assert sleeper.state.count("PENDING") == 1


def test_a_place_in_the_log_that_was_discarded_is_not_given_away_again(queue: QueueSide) -> None:
    queue.add("true")
    sleeper = store_of(queue)
    sleeper.load()
    pauses(store_of(queue), 2 * BLOCK)

    for number in (sleeper.state.position + 1, BLOCK, 2 * BLOCK - 1):
        with pytest.raises(Discarded):
            sleeper.log.append(number, change("pause", paused=True).chunks())
        with pytest.raises(Discarded):
            sleeper.log.read(number)
    assert sleeper.log.blocks() == [2]


def test_tasks_that_were_added_one_by_one_become_few_files(queue: QueueSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_segments, "TOGETHER", 2)
    monkeypatch.setattr(queue_segments, "LARGE", 10000)
    large = Task.call("builtins", "len", ["x" * 11000])
    count = 4 * BLOCK
    for number in range(count):
        queue.add(large if number == 70 else Task.call("operator", "pos", [number]))

    assert inodes(queue) < 2 * BLOCK + 20
    assert len(os.listdir(queue.folder / "tasks")) <= 4
    work(queue)
    rows = queue.ask("tasks", {}, None)
    assert [row[1] for row in rows] == ["SUCCEEDED"] * count
    assert len(rows[70][5]) > 11000


def test_the_journals_of_many_workers_become_few_files(queue: QueueSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_compaction, "TOGETHER", 4)
    for number in range(12):
        queue.add(Task.call("operator", "pos", [number]), Task.call("builtins", "print", [number]))
        work(queue)

    assert len(os.listdir(queue.folder / "workers")) < 12
    results = queue.results()
    assert [results[2 * number][-1].endswith(b"K" + bytes([number]) + b".") for number in range(12)] == [True] * 12
    assert [b"%d\n" % number in results[2 * number + 1][-1] for number in range(12)] == [True] * 12
    rows = queue.ask("tasks", {}, None)
    assert len({row[8]["number"] for row in rows}) == 12
    assert queue.ask("rerun", {"numbers": [0]}) == 1
    work(queue)
    assert queue.counts() == {"SUCCEEDED": 24}


def test_who_has_read_a_journal_before_it_became_part_of_another_reads_on(
    queue: QueueSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_compaction, "TOGETHER", 2)
    queue.add("true")
    reader = store_of(queue)
    reader.load()
    for _ in range(4):
        work(queue)
        queue.add("true")

    reader.refresh()
    reader.fold()

    assert (reader.state.count("SUCCEEDED"), reader.state.count("PENDING")) == (4, 1)


def test_what_a_killed_process_has_left_halfway_is_removed(queue: QueueSide) -> None:
    queue.add("true")
    place = queue.folder / "snapshots"
    left = place / f".{os.uname().nodename}.{2**22 - 1}.0"
    others = [place / ".elsewhere.1.0", place / f".{os.uname().nodename}.{os.getpid()}.7"]
    for path in (left, *others):
        path.touch()

    store = store_of(queue)
    store.load()
    store.compact()

    assert [path.exists() for path in (left, *others)] == [False, True, True]


def test_two_that_compact_at_once_harm_nothing(queue: QueueSide) -> None:
    queue.add("true")
    stores = [store_of(queue) for _ in range(4)]
    for store in stores:
        store.load()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Store.compact, stores))

    assert len(os.listdir(queue.folder / "snapshots")) == 1
    assert queue.counts() == {"PENDING": 1}


@pytest.mark.parametrize("kind", ["conjure", "add"])
def test_what_a_newer_sremote_has_written_is_refused_with_a_sentence(queue: QueueSide, kind: str) -> None:
    queue.add("true")
    store = store_of(queue)
    store.load()
    if kind == "add":
        with pytest.raises(FormatError, match="of format 2, not 1"):
            add(str(queue.root), queue.name, change("add", format=2, id="x", count=0, targets=[]).to_bytes())
    else:
        store.log.append(store.state.position + 1, change(kind).chunks())
        with pytest.raises(FormatError, match="'conjure': of a newer sremote"):
            queue.counts()


@pytest.mark.parametrize(
    ("header", "sections", "message"),
    [
        ({"kind": "claim"}, {}, "this adds no tasks"),
        ({"targets": [{}]}, {}, "do not say what they run"),
        ({}, {"index": b"\0" * 15}, "the index of 1 tasks has 15 bytes"),
        ({}, {"index": b"\0\0\0\1" + b"\0" * 12}, "leads outside"),
        ({}, {"index": b"\0" * 15 + b"\7"}, "leads outside"),
        ({}, {"after": b"\0" * 7 + b"\1" + b"\0" * 8}, "after one that is not there"),
        ({}, {"after": b"\0" * 8 + b"\xff" * 8}, "after one that is not there"),
    ],
)
def test_tasks_that_do_not_hold_together_are_not_added(
    queue: QueueSide, header: dict[str, object], sections: dict[str, bytes], message: str
) -> None:
    queue.ask("create")
    target = {"kind": "shell"}
    entry = change("add", format=1, id="x", count=1, targets=[target], allow=[])
    entry.header.update(header)
    for name, content in {"index": b"\0" * 16, **sections}.items():
        entry.add(name, content)

    with pytest.raises(FormatError, match=message):
        add(str(queue.root), queue.name, entry.to_bytes())
    assert queue.counts() == {}


@pytest.mark.root
def test_a_full_disk_loses_nothing(queue: QueueSide, tmp_path: Path) -> None:
    mounted = tmp_path / "small"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", mounted], check=True)
    try:
        small = QueueSide(mounted)
        small.add("true")
        with pytest.raises(OSError, match="No space left"):
            small.add(Task.call("builtins", "len", ["x" * 2000000]))
        assert small.counts() == {"PENDING": 1}
        big = small.add(Task.call("operator", "mul", ["x", 3000000]), "true")
        work(small)
        assert {number: row[0] for number, row in small.results().items()} == {
            0: "exited",
            big: "unwritten",
            big + 1: "exited",
        }
        small.close()
    finally:
        subprocess.run(["umount", mounted], check=True)


def test_a_file_system_without_hard_links_is_told_as_one(queue: QueueSide, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which vfat and some of FUSE's are; here it is the kernel's answer alone that is not real."""

    def link(source: str, target: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", source, None, target)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(SremoteError, match="has no hard links, which queues need"):
        queue.ask("create")
    assert os.listdir(queue.root / "queues") == []
