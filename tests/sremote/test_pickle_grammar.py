"""No pickle from a host runs code, hangs or fills the memory: it is data, or it is refused."""

import contextlib
import os
import pickle
import pickletools
import re
import struct
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sremote.errors import FormatError, SremoteError, ValueRefused
from sremote.interpreter.constructors import CONSTRUCTORS
from sremote.interpreter.values import type_name
from sremote.pickle_grammar import check_pickle
from tests.sremote.responses import returned_pickle

START = b"\x80\x04"
NONE, MARK, MEMOIZE, STOP = b"N", b"(", b"\x94", b"."


def text(content: str) -> bytes:
    encoded = content.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def call(name: str, *arguments: bytes) -> bytes:
    """Return the opcodes that call a constructor, or whatever has this name."""
    return text("builtins") + text(name) + b"\x93" + MARK + b"".join(arguments) + b"tR"


def whole(*parts: bytes) -> bytes:
    return START + b"".join(parts) + STOP


def get(number: int) -> bytes:
    return b"j" + struct.pack("<I", number)


@pytest.fixture
def modest() -> Iterator[None]:
    """Fail where a test allocates much."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 << 20


@dataclass
class Account:
    """An allowed type with methods that a pickle could call."""

    owner: str
    called = False

    def append(self, item: Any) -> None:
        Account.called = True

    extend = add = __setitem__ = __setstate__ = append  # type: ignore[assignment]


class Pair(tuple[Any, ...]):
    """Stands for a named tuple."""

    _fields = ("a", "b")


TYPES = {type_name(Account): Account, type_name(Pair): Pair}


@pytest.mark.parametrize("name", ["system", "eval", "exec", "getattr", "__import__", "open", "Constructor", "object"])
def test_no_name_leads_to_code(name: str, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for pickled in (whole(call(name, text(f"touch {trap}"))), whole(text("os") + text(name) + b"\x93")):
        with pytest.raises(ValueRefused, match=rf"the value refers to \w+\.{name}, which is not plain data"):
            returned_pickle(pickled).result()
    assert not trap.exists()


PLAIN_OPCODES = re.findall(
    r"\w+",
    """PROTO FRAME STOP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT SHORT_BINUNICODE BINUNICODE
    BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 TUPLE EMPTY_LIST APPEND APPENDS
    EMPTY_DICT SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET MARK POP POP_MARK MEMOIZE BINGET LONG_BINGET
    STACK_GLOBAL REDUCE""",
)


@pytest.mark.parametrize(
    "opcode", [op for op in pickletools.opcodes if op.name not in PLAIN_OPCODES], ids=lambda op: op.name
)
def test_no_other_opcode_passes(opcode: Any) -> None:
    pickled = whole(NONE, opcode.code.encode("latin-1"), b"os\nsystem\n\0\0\0\0\0\0\0\0")
    with pytest.raises(FormatError, match=r"the value holds the pickle opcode .*, which plain data has no use for"):
        returned_pickle(pickled).result()


def test_classic_attacks_are_refused(tmp_path: Path) -> None:
    trap = tmp_path / "trap"

    class Attack:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {trap}",)

    attacks = [pickle.dumps(Attack(), protocol) for protocol in range(6)]
    attacks += [START + attack[2:] for attack in attacks[2:]]
    attacks.append(START + b"(S'touch %s'\nios\nsystem\n." % bytes(trap))
    attacks.append(START + b"(cos\nsystem\nS'touch %s'\no." % bytes(trap))
    for attack in attacks:
        with pytest.raises(SremoteError):
            returned_pickle(attack).result()
    assert not trap.exists()


@pytest.mark.usefixtures("modest")
@pytest.mark.parametrize(
    ("pickled", "said"),
    [
        (b"", "not a pickle of protocol 4"),
        (b"\x80\x05N.", "not a pickle of protocol 4"),
        (START, "truncated"),
        (START + NONE, "truncated"),
        (whole(NONE) + NONE, "goes on behind its end"),
        (START + b"\x8e" + struct.pack("<Q", 2**62) + b"x.", "truncated"),
        (START + b"\x8d" + struct.pack("<Q", 2**63) + b"x.", "truncated"),
        (START + b"B" + struct.pack("<I", 2**32 - 1) + b".", "truncated"),
        (START + b"\x8b" + struct.pack("<i", -1) + b".", "truncated"),
        (START + b"\x8b" + struct.pack("<i", 2**31 - 1) + b"1.", "truncated"),
        (START + b"\x8e\xff", "truncated"),
        (START + b"J\0\0", "opcode b'J'"),
        (START + b"\x95" + struct.pack("<Q", 2**60) + b"N.", "damaged"),
        (whole(b"\x85"), "damaged"),
        (whole(b"R"), "damaged"),
        (whole(b"t"), "damaged"),
        (whole(NONE, NONE, b"\x93"), "damaged"),
        (whole(MEMOIZE), "damaged"),
        (whole(get(0)), "damaged"),
        (whole(get(2**32 - 1)), "damaged"),
        (whole(NONE, b"a"), "damaged"),
        (whole(b"]", NONE, b"s"), "damaged"),
        (whole(), "damaged"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_damaged_pickle_is_told(pickled: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        returned_pickle(pickled).result()


HUGE = call("make_range", b"K\x00", b"\x8a\x06\0\0\0\0\0\x10", b"K\x01")  # range(0, 2**44)


STRANGE = [HUGE, b"\x8a\x06\0\0\0\0\0\x10", text("1e999999999"), b"]" + MEMOIZE + get(0) + b"a", b"}", b")", NONE]


@pytest.mark.usefixtures("modest")
@pytest.mark.parametrize("name", sorted(CONSTRUCTORS))
def test_a_constructor_does_little_with_what_it_is_not_made_for(name: str) -> None:
    for argument in STRANGE:
        for count in range(7):
            with contextlib.suppress(SremoteError):
                returned_pickle(whole(call(name, *[argument] * count)), types=TYPES).result()


@pytest.mark.parametrize(
    "arguments",
    [
        [text(type_name(Account)), b"}" + text("owner") + NONE + b"s" + text("other") + NONE + b"s"],
        [text(type_name(Account)), b"}" + text("called") + NONE + b"s"],
        [text("os:system"), b"}"],
    ],
    ids=["more", "class variable", "unknown"],
)
def test_a_dataclass_is_given_its_own_fields_only(arguments: list[bytes]) -> None:
    with pytest.raises(SremoteError, match=r"has no field|is not allowed"):
        returned_pickle(whole(call("make_dataclass", *arguments)), types=TYPES).result()


@pytest.mark.usefixtures("modest")
@pytest.mark.parametrize("values", [b")", NONE + b"\x85", HUGE, b"(" + NONE * 3 + b"t"], ids=["0", "1", "range", "3"])
def test_a_named_tuple_has_as_many_values_as_fields(values: bytes) -> None:
    with pytest.raises(FormatError):
        returned_pickle(whole(call("make_namedtuple", text(type_name(Pair)), values)), types=TYPES).result()


@pytest.mark.parametrize(
    "tail",
    [NONE + b"a", MARK + NONE + b"e", NONE + NONE + b"s", MARK + NONE + NONE + b"u", MARK + NONE + b"\x90"],
    ids=["APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS"],
)
def test_no_method_of_an_allowed_type_is_called(tail: bytes) -> None:
    account = call("make_dataclass", text(type_name(Account)), b"}" + text("owner") + NONE + b"s")
    with pytest.raises(FormatError, match="puts items into something that is not a list, dict or set"):
        returned_pickle(whole(account, tail), types=TYPES).result()
    assert not Account.called


def test_only_constructors_are_called() -> None:
    account = call("make_dataclass", text(type_name(Account)), b"}" + text("owner") + NONE + b"s")
    with pytest.raises(FormatError, match="calls something that is not a constructor"):
        returned_pickle(whole(account, b")R"), types=TYPES).result()


def doubled(levels: int) -> bytes:
    """Return a tuple that holds 2**levels others, in a few bytes."""
    return b")" + MEMOIZE + b"".join(get(level) + b"\x86" + MEMOIZE for level in range(levels))


@pytest.mark.usefixtures("modest")
@pytest.mark.parametrize(
    "tail", [b"\x8f" + MARK + get(60) + b"\x90", b"}" + get(60) + NONE + b"s", MARK + get(60) + b"\x91"]
)
def test_a_tuple_that_holds_itself_many_times_is_not_hashed(tail: bytes) -> None:
    with pytest.raises(FormatError, match="far more time or memory than its size is worth"):
        returned_pickle(whole(doubled(60), tail)).result()


def test_tuples_that_would_overflow_the_stack_are_refused() -> None:
    deep = NONE + b"\x85" * 1_000_000
    for pickled in (whole(deep), whole(b"}", deep, NONE, b"s"), whole(call("make_counter", b"}" + deep + NONE + b"s"))):
        with pytest.raises(FormatError, match="more than 1000 tuples within each other"):
            returned_pickle(pickled).result()


def test_slices_that_would_overflow_the_stack_are_refused() -> None:
    deep = whole(*[text("m") + text("make_slice") + b"\x93"] * 2000, NONE, *[NONE + NONE + b"\x87R"] * 2000)
    with pytest.raises(FormatError, match="more than 1000 tuples"):
        returned_pickle(deep).result()


def test_a_list_may_be_nested_as_deeply_as_it_likes() -> None:
    value = returned_pickle(whole(b"]" * 100_000, b"a" * 99_999)).result()
    for _ in range(99_999):
        (value,) = value
    assert value == []


@pytest.mark.usefixtures("modest")
@pytest.mark.parametrize("name", ["make_bytearray", "make_deque"])
def test_copies_of_one_large_object_do_not_fill_the_memory(name: str) -> None:
    large = b"B" + struct.pack("<I", 1 << 20) + bytes(1 << 20)
    if name == "make_deque":
        large = b"]" + MARK + b"K\0" * (1 << 20) + b"e"
    constructor = text("m") + text(name) + b"\x93" + MEMOIZE
    copy = get(1) + get(0) + (b"\x85" if name == "make_bytearray" else NONE + b"\x86") + b"R"
    with pytest.raises(FormatError, match="far more time or memory than its size is worth"):
        returned_pickle(whole(large, MEMOIZE, constructor, b"]", MARK, copy * 10_000, b"e")).result()


@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_equal_texts_are_not_compared_for_ever(size: int) -> None:
    key = text("x" * size)
    pickled = whole(b"}", MARK, key, NONE, key, MEMOIZE, NONE, (get(0) + NONE) * 20_000, b"u")
    try:
        assert len(returned_pickle(pickled).result()) == 1
    except FormatError:
        assert size > 1000


@pytest.mark.usefixtures("modest")
def test_a_million_marks_are_nothing() -> None:
    with pytest.raises(FormatError, match=r"truncated|damaged"):
        returned_pickle(START + MARK * 1_000_000).result()
    assert returned_pickle(whole(NONE, MARK * 1_000_000, b"1" * 1_000_000)).result() is None


@pytest.mark.parametrize(
    "value",
    [
        [(number * 0.5, number) for number in range(40_000)],
        [(str(number), number) for number in range(20_000)],
        {(number, str(number)): {number} for number in range(20_000)},
        tuple(tuple(range(number)) for number in range(300)),
        [frozenset([number]) for number in range(5_000)],
        "x" * 200_000,
        2**200_000,
        [("a" * 1000, 5)] * 50_000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_large_honest_values_pass(value: Any) -> None:
    pickled = pickle.dumps(value, 4)
    check_pickle(pickled)
    assert returned_pickle(pickled).result() == value
