"""What a master script for EasyCluster does, step by step, by changing its import.

    python examples/easycluster_demo.py [HOST]

HOST is any address of sremote, ``local:`` by default.
"""

import sys
import threading
from collections.abc import Callable

import sremote
from sremote.easycluster import (
    SINGLE,
    Client,
    ClientGroup,
    RemoteException,
    RemoteProxy,
    ThreadedClient,
    call_method_multi,
    call_multi,
    define_common,
    eval_multi,
)
from sremote.easycluster.server import spawn_local

define_common('''
import array
import os
import threading

def addvals(a, b):
    return a + b

def subvals(a, b):
    return a - b

class DemoError(Exception):
    def __init__(self, what, where):
        super().__init__(what, where)
        self.where = where

def fail():
    raise DemoError("on purpose", os.getpid())

class Pair:
    """Goes back and forth as data."""
    def __init__(self, a, b):
        self.a, self.b = a, b

def swapped(pair):
    return Pair(pair.b, pair.a)

class Counter(ServerObject):
    """Stays over there."""
    def __init__(self, value):
        self.value = value
    def get(self):
        return self.value
    def following(self):
        return Counter(self.value + 1)
    def __add__(self, other):
        return Counter(self.value + other.value)

def values_of(counters):
    return [counter.value for counter in counters]

class Narrow(Counter):
    export_methods = ("get",)
    export_attrs = ("value",)

class Cached(Counter):
    export_attrs_cache = ("value",)

class TwiceProxy(RemoteProxy):
    proxy_methods = ("get",)
    def twice(self):
        return 2 * self.get()

class Twice(Counter):
    proxy_class = TwiceProxy

class Squares:
    """Knows nothing of this, and is an iterator."""
    def __init__(self, count):
        self.numbers = iter(range(count))
    def __iter__(self):
        return self
    def __next__(self):
        return next(self.numbers) ** 2

class SquaresProxy(SelfIterProxy):
    pass

make_server_class(Squares, proxy_class=SquaresProxy)
make_server_class(array.array, export_methods=("__len__", "append", "tolist"))

settings = make_singleton({"color": "green"})

def get_settings():
    return settings

def generate(count):
    for number in range(count):
        yield number

def thread():
    return threading.get_ident()
''')

from sremote.easycluster.remote_code import DemoError, Pair, TwiceProxy, addvals  # noqa: E402 - made just now

host = sys.argv[1] if len(sys.argv) > 1 else "local:"
step = 0


def done(what: str) -> None:
    global step
    step += 1
    print(f"{step:2d} {what}")


def raised_by(call: Callable[..., object], *arguments: object, **how: object) -> Exception | None:
    """Return what a call raises."""
    try:
        call(*arguments, **how)
    except Exception as error:
        return error
    return None


try:
    way = sremote.connect(host)
    rmt = Client(over=way)
except sremote.SremoteError as error:
    sys.exit(str(error))

assert rmt.addvals(3, 4) == addvals(3, 4) == 7
assert rmt.subvals(15, 4) == 11
assert rmt.subprocess.call(["true"]) == 0
done("connect, and call functions")

assert rmt.eval("addvals(1, 2) * 10") == 30
done("eval")

assert rmt.execblock("total = sum(range(10))\nexec_return(total)") == 45
done("execblock")

error = raised_by(rmt.fail, origexc="quiet")
assert isinstance(error, DemoError)
assert error.args == ("on purpose", rmt.os.getpid())
error = raised_by(rmt.fail, origexc=False)
assert isinstance(error, RemoteException)
assert isinstance(error.orig, DemoError)
assert "in fail" in error.text
done("exceptions, of any signature, with the remote traceback")

assert rmt.swapped(Pair(1, 2)).a == 2
assert rmt.map(addvals, [1, 2], [3, 4]).__next__() == 4
done("classes and functions by reference")

counter = rmt.Counter(100)
assert isinstance(counter, RemoteProxy)
assert rmt.values_of([counter, counter.following()]) == [100, 101]
done("references to objects that stay")

assert counter.following().get() == 101
done("methods")

narrow = rmt.Narrow(200)
assert narrow.value == 200
narrow.value = 201
assert narrow.get() == 201
assert isinstance(raised_by(lambda: narrow.following()), AttributeError)
done("attributes, and none that is not exported")

assert (counter + counter).get() == 200
done("operators")

cached = rmt.Cached(5)
assert (cached.value, cached.value) == (5, 5)
done("attributes that are asked for once")

twice = rmt.Twice(21)
assert type(twice) is TwiceProxy
assert twice.twice() == 42
done("a proxy class of one's own")

numbers = rmt.array.array("B", [1, 2])
numbers.append(3)
assert (len(numbers), numbers.tolist()) == (3, [1, 2, 3])
done("classes of modules, by the default proxy")

assert list(rmt.Squares(4)) == [0, 1, 4, 9]
done("a class that knows nothing of this, as an iterator")

assert list(rmt.generate(3)) == [0, 1, 2]
done("a generator")

path = rmt.tempfile.mktemp()
with rmt.open(path, "w") as file:
    file.write("one\ntwo\n")
with rmt.open(path) as file:
    assert list(file) == ["one\n", "two\n"]
rmt.os.remove(path)
done("a file over there")

rmt.get_settings()["color"] = "red"
assert rmt.get_settings()["color"] == "red"
done("a singleton")

before = rmt.os.getpid()
rmt.reconnect()
assert rmt.os.getpid() != before
done("reconnect, to a clean process")

first = rmt.thread(nonblocking=True, threadid=1)
second = rmt.thread(nonblocking=True, threadid=2)
assert first.wait() != second.wait()
assert rmt.thread(threadid=1) == first.wait()
done("threads over there")

assert rmt.thread(threadid=SINGLE) != rmt.thread()
done("a thread for one call")

rmt2 = Client(over=way)
assert rmt2.os.getpid() != rmt.os.getpid()
done("connect again, to another process")

assert call_multi([rmt, rmt2], "addvals", 2, 3) == [5, 5]
assert eval_multi([rmt, rmt2], "addvals(1, 1)") == [2, 2]
assert call_method_multi(call_multi([rmt, rmt2], "Counter", 9), "get") == [9, 9]
done("the same call on all")

answers = []
group = ClientGroup([rmt, rmt2])
for client in (rmt, rmt2):
    client.addvals(5, 8, oncomplete=(lambda value, name: answers.append((name, value)), "sum"))
while len(answers) < 2:
    group.read_responses(timeout=60)
assert answers == [("sum", 13)] * 2
done("completions, and a group that waits for all")

local = spawn_local()
assert local.addvals(1, 1) == 2
done("a process on this machine")

assert call_multi([local, rmt], "addvals", "a", "b") == ["ab", "ab"]
done("local and remote together")

with ThreadedClient(over=way) as threaded:
    seen = set()
    threads = [threading.Thread(target=lambda: seen.add(threaded.thread())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert threaded.thread() not in seen
done("a thread over there for each here")

rmt2.os.kill(rmt2.os.getpid(), 9, nonblocking=True)
error = raised_by(rmt2.time.sleep, 60)
assert isinstance(error, sremote.SremoteError)
assert not rmt2.connected
done("a disconnection is noticed")

for client in (rmt, rmt2, local):
    client.close()
way.close()
