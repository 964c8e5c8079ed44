"""What a user's own file may hold, in syntax that Python 3.6 knows; no host has this file."""

import concurrent.futures
import functools
import json as js
import logging
import math
import os.path as osp
import re
import threading
from fractions import Fraction
from math import hypot
from pathlib import Path, PurePosixPath

SCALE = 3
TABLE = {"one": [1, 2.5]}
LOG = logging.getLogger("user")
WORD = re.compile(r"\w+", re.IGNORECASE)
LOCK = threading.Lock()


def double(x):
    return 2 * x


def with_helper(x):
    return double(x) + 1


def with_constants(x):
    return x * SCALE, TABLE


def with_modules():
    return js.loads("[1]"), math.floor(2.5), osp.basename("a/b"), hypot(3, 4), Fraction(1, 2)


def with_classes_of_packages():
    return Path("a") / "b", PurePosixPath("a"), js.JSONDecodeError.__name__


def with_submodule():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(double, 4).result()


def with_logger_and_pattern():
    LOG.warning("careful")
    return WORD.findall("a, b")


def with_lock():
    with LOCK:
        return 1


def with_defaults(a, b=SCALE, *, table=TABLE):
    return a, b, table


def with_annotations(a: "OnlyHere", b: TABLE = None) -> "OnlyHere":  # noqa: F821
    found: OnlyHere = a  # noqa: F821
    return found


def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)


def is_even(n):
    return True if n == 0 else is_odd(n - 1)


def is_odd(n):
    return False if n == 0 else is_even(n - 1)


def logged(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        print(function.__name__)
        return function(*arguments)

    return wrapper


def tenfold(function):
    def wrapper(*arguments):
        return 10 * function(*arguments)

    return wrapper


@logged
def decorated(x):
    return double(x)


@tenfold
def decorated_without_wraps(n):
    return 1 if n < 2 else n * decorated_without_wraps(n - 1)


@functools.lru_cache(maxsize=None)  # noqa: UP033  # for Python 3.6
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def with_cached(n):
    return fibonacci(n)


def make_adder(amount, extra=()):
    def add(x, more=amount, *, tail=extra):
        text = """keeps
its   shape"""
        return x + amount, more, list(tail), text

    return add


def make_recursive():
    def down(n):
        return n if n == 0 else down(n - 1)

    return down


LAMBDAS = [lambda x: x + 1, lambda x: x + 2, lambda: SCALE, lambda x, by=SCALE: (x * by)]  # fmt: skip
recursive_lambda = lambda n: 1 if n < 2 else n * recursive_lambda(n - 1)  # noqa: E731


class Base:
    factor = SCALE

    def scaled(self, x):
        return self.factor * x


class Counter(Base):
    """A class that is used, not sent as a value."""

    @staticmethod
    def start():
        return 0

    @classmethod
    def scaled_by_class(cls, x):
        return cls().scaled(x)


def with_class(x):
    return Counter().scaled(x)


def count(n):
    yield from range(n)


def change_global():
    global SCALE
    SCALE += 1
    return SCALE
