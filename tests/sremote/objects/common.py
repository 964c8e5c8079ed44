"""Common code of these tests, and clients that have it, over every kind of way."""

from sremote.objects import define_common

NAME = "sremote.objects.remote_code"

SOURCE = '''
import enum
import threading

def add(a, b):
    return a + b

def same(value):
    return value

def kind_of(value):
    return type(value).__name__

def raise_error(message):
    raise ValueError(message)

def print_both(text):
    print(text)
    return text

def thread():
    return threading.get_ident()

class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = y
    def __eq__(self, other):
        return type(other) is Point and (self.x, self.y) == (other.x, other.y)
    def __hash__(self):
        return hash((self.x, self.y))

class Slotted:
    __slots__ = ("one", "other")
    def __init__(self, one, other):
        self.one = one
        self.other = other

class Size(int):
    pass

class Names(list):
    pass

class Color(enum.Enum):
    RED = 1

class Made:
    def __init__(self, first, second):
        self.pair = (first, second)
    def __reduce__(self):
        return Made, self.pair

class Node:
    def __init__(self):
        self.next = self

def mirrored(point):
    return Point(point.y, point.x)

class TwoArguments(Exception):
    def __init__(self, first, second):
        super().__init__("{} and {}".format(first, second))
        self.first = first
        self.second = second

def raise_two_arguments():
    raise TwoArguments(1, [2])

class Counter(ServerObject):
    """Everything of it may be reached."""
    made = 0
    def __init__(self, value):
        self.value = value
        self._secret = "secret"
        Counter.made += 1
    def get(self):
        return self.value
    def next(self):
        return Counter(self.value + 1)
    def myself(self):
        return self
    def _private(self):
        return self._secret
    def add(self, other, times=1):
        return self.value + times * other.value
    def __add__(self, other):
        return Counter(self.value + other.value)
    def __lt__(self, other):
        return self.value < other.value
    def __len__(self):
        return self.value
    def __getitem__(self, index):
        return self.value * index
    def __setitem__(self, index, value):
        self.value = index * value
    def __contains__(self, value):
        return value == self.value
    def __call__(self, factor):
        return self.value * factor
    def __iter__(self):
        return iter(range(self.value))
    def __enter__(self):
        self.value += 100
        return self
    def __exit__(self, kind, error, trace):
        self.value = kind is not None

class Narrow(Counter):
    export_methods = ("get",)
    export_attrs = ("value",)

class Cached(Counter):
    export_methods = ("get",)
    export_attrs = ()
    export_attrs_cache = ("value",)
    def set(self, value):
        self.value = value

class AllMethods(Counter):
    export_methods = ("@auto",)
    export_attrs = ()

class Face:
    """A class of this side, too."""
    def local(self):
        return "here"

class MineProxy(RemoteProxy, Face):
    proxy_methods = ("get",)
    proxy_attrs = ("value",)
    def twice(self):
        return 2 * self.get()

class Mine(Counter):
    proxy_class = MineProxy

class Anything(Counter):
    proxy_class = DefaultRemoteProxy

def values_of(counters):
    return [counter.value for counter in counters]

def nested(counter):
    return {"list": [counter, {"deep": (counter,)}]}

def find_nested(data):
    return data["list"][1]["deep"][0].value

import weakref
remembered = []

def remember(counter):
    remembered.append(weakref.ref(counter))

def is_forgotten():
    return remembered[-1]() is None

def up_to(number):
    for each in range(number):
        yield each

def adder(number):
    return lambda other: number + other

import array
make_server_class(array.array, export_methods=("__len__", "__getitem__", "tolist"), export_attrs=("typecode",))

the_list = make_singleton([1, 2, 3])

def get_the_list():
    return the_list

class Unknown:
    pass

def locked():
    return threading.Lock()

class Waiting:
    def __init__(self):
        self.event = threading.Event()
waiting = Waiting()

def wait_for_event():
    return waiting.event.wait(60)

def set_event():
    waiting.event.set()

def clear_event():
    waiting.event.clear()
'''

define_common(SOURCE)
