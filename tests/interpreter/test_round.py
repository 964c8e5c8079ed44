"""A call and what comes of it, on every Python: a value there and back, an exception, output, a crash."""

import datetime
import signal
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath, PureWindowsPath

import pytest

from sremote.errors import RemoteKilled
from tests.interpreter.far_side import FarSide

PLAIN = [
    None,
    True,
    -(2**200),
    1.5,
    float("inf"),
    2 + 3j,
    "text \N{SNOWMAN} \0 \udcff",
    b"\x00\xff",
    bytearray(),
    bytearray(b"\xfe"),
    ("a", ("b", ())),
    {1, 2, frozenset({3})},
    {"key": {(1, 2): [None]}},
    range(1, 10, 3),
    slice("a", None, -1),
    Ellipsis,
    datetime.date(2024, 2, 29),
    datetime.time(1, 2, 3, 4, fold=1),
    datetime.datetime(2024, 10, 27, 2, 30, fold=1),
    datetime.datetime(1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=-3), "there")),
    datetime.timedelta(-1, 2, 3),
    datetime.UTC,
    Decimal("-0.0"),
    Decimal("sNaN123").copy_abs(),
    Fraction(-1, 3),
    uuid.UUID(int=2**100),
    PurePosixPath("/a/\N{SNOWMAN}"),
    PureWindowsPath("c:\\b"),
    OrderedDict([("b", 1), ("a", 2)]),
    Counter("hello"),
    deque([1, 2, 3], 5),
    defaultdict(list, {"a": [1]}),
]


def test_a_value_of_every_plain_type_goes_there_and_comes_back_as_it_was(each_far_side: FarSide) -> None:
    values = each_far_side.do("give", PLAIN).result()
    assert [(type(value), repr(value)) for value in values] == [(type(value), repr(value)) for value in PLAIN]


def test_keywords_and_positional_arguments_arrive_as_such(far_side: FarSide) -> None:
    job = far_side.call("deeds", "same", 1, (2,), key={"a": 1})
    assert job.result() == [[1, (2,)], {"key": {"a": 1}}]


def test_an_exception_comes_back_as_itself_with_the_remote_traceback_and_output(each_far_side: FarSide) -> None:
    job = each_far_side.do("convert", "five")
    with pytest.raises(ValueError, match=r"invalid literal for int.*'five'") as caught:
        job.result()
    assert caught.value.remote.traceback.startswith("Traceback (most recent call last)")
    assert caught.value.remote.traceback.endswith("ValueError: invalid literal for int() with base 10: 'five'\n")


def test_a_process_that_is_killed_still_gives_a_response_with_its_last_words(each_far_side: FarSide) -> None:
    job = each_far_side.do("print_then_die")
    with pytest.raises(RemoteKilled, match="killed by SIGKILL") as caught:
        job.result()
    assert (caught.value.signal, caught.value.remote.stdout) == (signal.SIGKILL, "last words")


def test_code_is_refused_by_name_instead_of_being_sent(far_side: FarSide) -> None:
    with pytest.raises(TypeError, match=r"value\[0\] is <function give at .*>, which is code: not plain data"):
        far_side.do("code_inside").result()
    with pytest.raises(TypeError, match=r"value is <function .*<lambda> at .*>, which is code: not plain data"):
        far_side.do("code_of_this_call").result()


def test_the_users_modules_find_neither_the_interpreters_files_nor_its_main(far_side: FarSide) -> None:
    found = far_side.do("who").result()
    assert not {"HERE", "load"} & set(found["main"])
    path = far_side.do("surroundings").result()["path"]
    assert str(far_side.script.parent) not in path
    assert far_side.call("importlib", "import_module", "wire").outcome == "raised"


def test_processes_can_be_used_inside_of_a_function(each_far_side: FarSide) -> None:
    assert each_far_side.do("use_processes").result() == [0, 1, 4, 9]


def test_without_a_locale_text_is_utf_8(far_side: FarSide) -> None:
    keep = ("SREMOTE_PYTHON", "PYTHONPATH")
    far_side.environment = {name: far_side.environment[name] for name in keep}
    job = far_side.run("printf", "%s", "s\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{SNOWMAN}")
    assert job.stdout == "s\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{SNOWMAN}"
    assert far_side.call("os.path", "exists", "/\N{SNOWMAN}").result() is False


def test_what_is_required_is_checked_before_anything_runs(far_side: FarSide) -> None:
    count = far_side.folder / "count"
    job = far_side.do("note", str(count), require={"python": ">=99"})
    with pytest.raises(Exception, match=r"python is 3\.\d+\.\d+, not >=99"):
        job.result()
    assert not count.exists()
    assert far_side.do("note", str(count), 5, require={"python": ">=3.6", "json": ""}).result() == 5
