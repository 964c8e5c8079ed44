"""Objects that stay over there, and the proxies that stand for them here."""

import gc
import pickle
import time
from collections.abc import Callable

import pytest

import sremote
from sremote.errors import ValueRefused
from sremote.objects import ObjectClient, RemoteProxy, SelfIterProxy
from sremote.objects import remote_code as code  # type: ignore[attr-defined]

PATIENCE = 60.0


def eventually(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def test_methods_and_attributes_of_an_object_over_there(remote: ObjectClient) -> None:
    counter = remote.Counter(100)
    assert isinstance(counter, RemoteProxy)
    assert (counter.get(), counter.value) == (100, 100)
    assert counter.next().get() == 101
    counter.value = 7
    assert counter.get() == 7
    assert "proxy" in repr(counter)


def test_a_proxy_becomes_the_object_again_where_it_came_from(remote: ObjectClient) -> None:
    one, other = remote.Counter(1), remote.Counter(2)
    assert remote.values_of([one, other, one]) == [1, 2, 1]
    assert one.add(other, times=10) == 21
    assert remote.find_nested({"list": [one, {"deep": (other,)}]}) == 2
    assert remote.operator.is_(one, one.myself()) is True


def test_the_same_object_is_the_same_proxy(remote: ObjectClient) -> None:
    counter = remote.Counter(1)
    assert counter.myself() is counter
    data = remote.nested(counter)
    assert data["list"][1]["deep"][0] is counter
    assert {counter: 1}[counter.myself()] == 1


def test_only_what_is_exported_can_be_reached(remote: ObjectClient) -> None:
    narrow = remote.Narrow(200)
    assert (narrow.get(), narrow.value) == (200, 200)
    for name in ("next", "add", "_secret", "_private", "no_such_thing"):
        with pytest.raises(AttributeError, match=name):
            getattr(narrow, name)
    with pytest.raises(AttributeError):
        narrow.another = 1
    for name in ("next", "_private", "__init__", "__reduce__", "__class__"):
        with pytest.raises(AttributeError, match="exports no"):
            narrow.raw_call_method(name, origexc="quiet")
    for name in ("_secret", "__dict__", "__class__", "made"):
        with pytest.raises(AttributeError, match="exports no"):
            narrow.raw_get_attribute(name, origexc="quiet")
    with pytest.raises(AttributeError, match="exports no"):
        narrow.raw_set_attribute("_secret", 1, origexc="quiet")


def test_nothing_private_can_be_reached_where_all_is_exported(remote: ObjectClient) -> None:
    counter = remote.Counter(1)
    for name in ("_secret", "_private", "__dict__", "__globals__"):
        with pytest.raises(AttributeError):
            counter.raw_get_attribute(name, origexc="quiet")
    with pytest.raises(AttributeError):
        counter._secret  # noqa: B018
    with pytest.raises(AttributeError):
        counter.raw_call_method("_private", origexc="quiet")
    with pytest.raises(AttributeError):
        counter.raw_call_method("__init__", 5, origexc="quiet")


def test_attributes_that_never_change_are_asked_for_once(remote: ObjectClient) -> None:
    cached = remote.Cached(5)
    assert cached.value == 5
    remote.setattr(cached, "value", 6)
    assert (cached.value, cached.get()) == (5, 6)


def test_auto_among_the_methods_is_all_of_them(remote: ObjectClient) -> None:
    everything = remote.AllMethods(3)
    assert everything.add(everything) == 6
    with pytest.raises(AttributeError):
        everything.value  # noqa: B018


def test_operators_go_over_there(remote: ObjectClient) -> None:
    three, four = remote.Counter(3), remote.Counter(4)
    assert (three + four).get() == 7
    assert three < four
    assert len(three) == 3
    assert three[5] == 15
    assert 3 in three
    assert 4 not in three
    four[2] = 5
    assert four.get() == 10


def test_a_proxied_callable_is_called(remote: ObjectClient) -> None:
    assert remote.Counter(6)(7) == 42
    assert remote.adder(5)(6) == 11


def test_a_proxied_iterable_is_iterated(remote: ObjectClient) -> None:
    assert list(remote.Counter(3)) == [0, 1, 2]
    generator = remote.up_to(4)
    assert [next(generator), *generator] == [0, 1, 2, 3]
    with pytest.raises(StopIteration):
        next(generator)
    assert remote.list(remote.up_to(3)) == [0, 1, 2]


def test_a_proxied_context_manager_is_entered_and_left(remote: ObjectClient) -> None:
    with remote.Counter(1) as entered:
        assert entered.get() == 101
    assert entered.get() is False
    with pytest.raises(ZeroDivisionError), remote.Counter(1) as entered:
        raise ZeroDivisionError
    assert entered.get() is True


def test_a_file_over_there_is_read_and_written(remote: ObjectClient) -> None:
    path = remote.tempfile.mktemp()
    with remote.open(path, "w") as file:
        file.write("one\ntwo\n")
    with remote.open(path) as file:
        assert file.readline() == "one\n"
        assert list(file) == ["two\n"]
    remote.os.remove(path)


def test_an_own_proxy_class(remote: ObjectClient) -> None:
    mine = remote.Mine(21)
    assert type(mine) is code.MineProxy
    assert isinstance(mine, code.Face)
    assert (mine.local(), mine.twice(), mine.value) == ("here", 42, 21)
    with pytest.raises(AttributeError):
        mine.next()


def test_the_default_proxy_class_passes_everything_on(remote: ObjectClient) -> None:
    anything = remote.Anything(4)
    assert (anything.get(), anything.value, anything.next().get()) == (4, 4, 5)
    anything.value = 9
    assert anything.get() == 9


def test_a_class_that_knows_nothing_of_this_can_stay_over_there(remote: ObjectClient) -> None:
    array = remote.array.array("B", [5, 6])
    assert (len(array), array[1], array.tolist(), array.typecode) == (2, 6, [5, 6], "B")
    with pytest.raises(AttributeError):
        array.append(1)


def test_a_single_object_can_stay_over_there(remote: ObjectClient) -> None:
    stays = remote.get_the_list()
    assert isinstance(stays, RemoteProxy)
    stays.append(4)
    assert remote.get_the_list()[3] == 4
    assert remote.same([1, 2]) == [1, 2]
    stays.pop()


def test_an_object_is_released_when_its_last_proxy_dies(remote: ObjectClient) -> None:
    gc.collect()
    eventually(lambda: remote.remote_object_count() == 0)
    counter = remote.Counter(1)
    remote.remember(counter)
    again = counter.myself()
    assert remote.remote_object_count() == 1
    del counter
    gc.collect()
    assert again.get() == 1
    del again
    eventually(lambda: remote.remote_object_count() == 0)
    assert remote.is_forgotten()


def test_an_argument_lives_as_long_as_its_call(remote: ObjectClient) -> None:
    response = remote.values_of([remote.Counter(1), remote.Counter(2)], nonblocking=True)
    gc.collect()
    assert response.wait() == [1, 2]


def test_a_proxy_cannot_be_made_or_copied_here(remote: ObjectClient) -> None:
    with pytest.raises(TypeError, match="cannot be made here"):
        code.MineProxy()
    with pytest.raises(TypeError, match="cannot be copied"):
        pickle.dumps(remote.Counter(1))


def test_a_proxy_does_not_go_to_another_host(remote: ObjectClient, local_remote: ObjectClient) -> None:
    with pytest.raises(ValueRefused, match="belongs to another client"):
        local_remote.same(remote.Counter(1))


def test_a_proxy_outlives_its_client_without_harm(local_connection: sremote.Client) -> None:
    with local_connection.objects() as remote:
        counter = remote.Counter(1)
    with pytest.raises(ValueError, match="the client is closed"):
        counter.get()
    del counter
    gc.collect()


def test_iterators_can_be_proxied_by_a_class_of_their_own() -> None:
    assert "__next__" in vars(SelfIterProxy)
