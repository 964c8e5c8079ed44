"""Values: all plain types travel, keep their sharing, and nothing else gets through."""

import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import pickle
import uuid
import zoneinfo
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sremote.interpreter.errors import FormatError, ValueRefused
from sremote.interpreter.values import decode, encode, type_name
from sremote.interpreter.wire import Message, parse
from sremote.pickle_grammar import check_pickle

zones = st.sampled_from([zoneinfo.ZoneInfo("Europe/Paris"), zoneinfo.ZoneInfo("UTC"), datetime.UTC, None])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.text(st.characters(categories=["Cs"]))
    | st.binary()
    | st.dates()
    | st.times(timezones=st.none() | st.just(datetime.UTC))
    | st.datetimes(timezones=zones)
    | st.timedeltas()
    | st.decimals()
    | st.fractions()
    | st.uuids()
    | st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 9))
    | st.builds(pathlib.PurePosixPath, st.text(st.characters(exclude_characters="\0")))
    | st.builds(pathlib.Path, st.text("ab/."))
    | st.builds(pathlib.PureWindowsPath, st.sampled_from(["", "c:", "c:\\", "\\\\host\\share\\"]), st.text("ab."))
    | st.sampled_from([Ellipsis, NotImplemented, datetime.timezone(datetime.timedelta(hours=1), "name")])
)
keys = st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text()) | st.fractions()
values = st.recursive(
    scalars | st.binary().map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4).map(collections.OrderedDict)
        | st.dictionaries(keys, inner, max_size=4).map(lambda items: collections.defaultdict(list, items))
        | st.lists(keys, max_size=4).map(collections.Counter)
        | st.sets(keys, max_size=4)
        | st.frozensets(keys, max_size=4)
        | st.lists(inner, max_size=4).map(lambda items: collections.deque(items, 4))
        | st.builds(slice, inner, inner, inner)
    ),
    max_leaves=20,
)


def there_and_back(value: Any, types: tuple[type, ...] = ()) -> Any:
    """Encode a value, write the message and read it, check it as a client does, and decode it."""
    by_name = {type_name(kind): kind for kind in types}
    message = Message({})
    encode(message, "value", value, by_name)
    received = parse(bytearray(message.to_bytes()))
    check_pickle(received.get("value"))
    return decode(received, "value", by_name)


@settings(max_examples=100, deadline=None)
@given(values)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    assert picture(there_and_back(value)) == picture(value)


def picture(value: Any) -> Any:
    """Return what two values have in common only where they are the same, NaN and the order of dicts included."""
    kind = type(value).__name__
    if isinstance(value, set | frozenset):
        return kind, sorted(map(repr, value))
    if isinstance(value, dict):
        return kind, getattr(value, "default_factory", None), [(repr(key), picture(value[key])) for key in value]
    if isinstance(value, list | tuple | collections.deque):
        return kind, getattr(value, "maxlen", None), [picture(item) for item in value]
    if isinstance(value, slice):
        return kind, picture([value.start, value.stop, value.step])
    return kind, repr(value)


def test_the_same_object_twice_stays_one() -> None:
    row = [1]
    first, second, table = there_and_back([row, row, {"row": row}])
    assert first is second is table["row"]


def test_a_list_may_hold_itself() -> None:
    value: list[Any] = [1]
    value.append(value)
    found = there_and_back(value)
    assert found[1] is found


def test_what_is_written_by_its_content_may_not_hold_itself() -> None:
    queue: collections.deque[Any] = collections.deque()
    queue.append(queue)
    with pytest.raises(ValueRefused, match="nested too deeply, or holds itself"):
        there_and_back(queue)


def test_a_fold_in_time_is_kept() -> None:
    value = datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris"))
    assert (there_and_back(value).fold, there_and_back(value).utcoffset()) == (1, datetime.timedelta(hours=1))


class Color(enum.Enum):
    RED = (1, 0)
    GREEN = (0, 1)


class Level(enum.IntEnum):
    LOW = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: Any


@dataclass(frozen=True)
class Frozen:
    name: str
    inner: Any = None


@dataclass(slots=True)
class Slotted:
    value: int


@dataclass
class Rich:
    registry: ClassVar[Any] = print
    value: int = 1
    made: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.made = [self.value]


@pytest.mark.parametrize("member", [Color.RED, Level.LOW, Access.READ | Access.WRITE])
def test_an_enum_member_is_its_value_unless_its_class_is_allowed(member: enum.Enum) -> None:
    assert there_and_back(member) == member.value
    assert type(there_and_back(member)) is type(member.value)
    assert there_and_back(member, (type(member),)) is member


@pytest.mark.parametrize(
    "value", [Point(1, [2]), Frozen("a", Frozen("b", Point(1, 2))), Slotted(3), Rich(5)], ids=lambda value: str(value)
)
def test_allowed_types_come_back_as_they_were(value: Any) -> None:
    types = (Point, Frozen, Slotted, Rich)
    found = there_and_back({"here": value}, types)["here"]
    assert (type(found), found) == (type(value), value)
    with pytest.raises(ValueRefused, match=rf"value\['here'\] is a .*{type(value).__name__}: not plain data"):
        there_and_back({"here": value})


def test_a_dataclass_is_made_without_running_its_code() -> None:
    value = Rich(5)
    value.made = [6]
    assert there_and_back(value, (Rich,)).made == [6]


class Text(str):
    """A subclass of a plain type."""


class Stubborn:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), r"^value is a builtins\.object: not plain data"),
        ([1, {"key": (Text("x"),)}], r"value\[1\]\['key'\]\[0\] is a .*Text: not plain data"),
        ({Text("x"): 1}, r"value key is a .*Text"),
        ({frozenset([Text("x")])}, r"value element element is a .*Text"),
        (collections.deque([open]), r"value\[0\] is <built-in function open>, which is code"),
        ([print], r"value\[0\] is <built-in function print>, which is code"),
        ([int], r"value\[0\] is <class 'int'>, which is code"),
        ([pytest], r"value\[0\] is a builtins\.module: not plain data"),
        ([(number for number in [])], r"value\[0\] is a builtins\.generator: not plain data"),
        (Frozen("a", [object()]), r"value\.inner\[0\] is a builtins\.object"),
        (collections.defaultdict(lambda: 1), r"value is a collections\.defaultdict"),
        ({1: {2: {Stubborn: 1}}}, "which is code"),
        ({Stubborn(): Text("x")}, "Stubborn"),
        (memoryview(b"x"), r"builtins\.memoryview"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_refused_and_named_with_its_place(value: Any, said: str) -> None:
    with pytest.raises(ValueRefused, match=said) as caught:
        there_and_back(value, (Frozen,))
    assert "Return plain data, sremote.allow(...) the type" in str(caught.value.remedy)


def test_a_value_that_is_nested_too_deeply_is_refused() -> None:
    value: list[Any] = []
    for _ in range(200_000):
        value = [value]
    with pytest.raises(ValueRefused, match="nested too deeply"):
        there_and_back(value)


def test_a_name_in_a_pickle_leads_nowhere_but_to_a_constructor() -> None:
    for evil in (print, exit, pickle.loads, type, getattr):
        message = Message({}, [("value", [pickle.dumps(evil, 4)])])
        with pytest.raises(ValueRefused, match="which is not plain data"):
            decode(message, "value", {})


def test_a_time_zone_that_is_not_here_is_told() -> None:
    message = Message({})
    encode(message, "value", zoneinfo.ZoneInfo("Europe/Paris"))
    content = bytes(message.get("value")).replace(b"Europe/Paris", b"Europe/Poris")
    with pytest.raises(ValueRefused, match="time zone 'Europe/Poris', which is not here"):
        decode(Message({}, [("value", [content])]), "value", {})


@pytest.mark.parametrize(
    "value",
    [decimal.Decimal("1E+999999999"), fractions.Fraction(1, 10**4000), uuid.UUID(int=0), float("nan")],
    ids=lambda value: type(value).__name__,
)
def test_numbers_of_any_size_come_back(value: Any) -> None:
    assert repr(there_and_back(value)) == repr(value)


def test_a_damaged_value_is_told() -> None:
    with pytest.raises(FormatError, match="the value is damaged"):
        decode(Message({}), "value", {})
