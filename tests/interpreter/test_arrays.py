"""numpy arrays travel beside the pickle, in numpy's own format."""

from typing import Any

import numpy as np
import pytest

from sremote.interpreter import values
from sremote.interpreter.arrays import from_buffer
from sremote.interpreter.errors import FormatError, ValueRefused
from sremote.interpreter.values import decode, encode
from sremote.interpreter.wire import Message, parse
from sremote.pickle_grammar import check_pickle

DTYPES = [
    *("?", "b", "B", "i2", "u4", "i8", "f2", "f4", "f8", "g", "c8", "c16", ">i4", ">f8", ">c16"),
    *("S3", "U2", "V5", "M8[ns]", ">M8[D]", "m8[us]", "S0", "U0"),
    np.dtype([("a", "<i4"), ("b", ">f8", (2,)), ("c", "S3")]),
    np.dtype({"names": ["a"], "formats": ["i2"], "itemsize": 8}),
]


def there_and_back(value: Any) -> Any:
    message = Message({})
    encode(message, "value", value)
    received = parse(bytearray(message.to_bytes()))
    check_pickle(received.get("value"))
    return decode(received, "value", {})


def same(found: np.ndarray[Any, Any], value: np.ndarray[Any, Any]) -> bool:
    return (
        type(found) is np.ndarray
        and found.dtype == value.dtype
        and found.shape == value.shape
        and found.tobytes() == value.tobytes()
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(3, 4), (), (0,), (2, 0)], ids=str)
def test_an_array_of_any_type_and_shape_comes_back(dtype: Any, shape: tuple[int, ...]) -> None:
    kind = np.dtype(dtype)
    count = int(np.prod(shape)) * kind.itemsize
    value = np.ndarray(shape, kind, (bytes(range(1, 120)) * 4)[:count] if count else b"")
    if kind.kind == "U":
        value = np.full(shape, "é\0"[: kind.itemsize // 4], kind)
    assert same(there_and_back(value), value)


def test_fortran_order_is_kept() -> None:
    found = there_and_back(np.asfortranarray(np.arange(12.0).reshape(3, 4)))
    assert found.flags.f_contiguous
    assert same(found, np.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize("index", [np.s_[::2], np.s_[:, ::-1], np.s_[1:, 1:3], np.s_[None, ..., 0]], ids=str)
def test_a_part_of_an_array_comes_back_alone(index: Any) -> None:
    whole = np.arange(24).reshape(4, 6)
    assert same(there_and_back(whole[index]), whole[index])


def test_a_broadcast_array_comes_back() -> None:
    value = np.broadcast_to(np.arange(3), (2, 3))
    assert same(there_and_back(value), value)


def test_an_array_can_be_written_to_and_uses_the_memory_it_came_in() -> None:
    message = Message({})
    encode(message, "value", np.zeros(1000))
    data = bytearray(message.to_bytes())
    found = decode(parse(data), "value", {})
    found[:] = 1
    assert np.ones(1000).tobytes() in data
    assert found.flags.aligned


def test_an_array_is_not_copied_when_it_is_written() -> None:
    value = np.arange(1000)
    message = Message({})
    encode(message, "value", {"a": value})
    chunk = max(message.chunks(), key=lambda part: memoryview(part).nbytes)
    assert np.shares_memory(np.frombuffer(chunk, np.uint8), value)


def test_the_same_array_twice_is_sent_once_and_stays_one() -> None:
    value = np.arange(1000)
    message = Message({})
    encode(message, "value", [value, {"again": value}])
    assert len(message.all("value.array")) == 1
    first, second = there_and_back([value, value])
    assert first is second


@pytest.mark.parametrize(
    "value",
    [
        np.float64(1.5),
        np.float32("nan"),
        np.int8(-1),
        np.bool_(True),
        np.complex64(1j),
        np.longdouble(1) / 3,
        np.str_("text"),
        np.str_(""),
        np.bytes_(b"bytes"),
        np.datetime64("2024-02-29T00:00:00.123456789"),
        np.timedelta64("NaT", "s"),
        np.void(b"\x01\x02"),
    ],
    ids=lambda value: f"{type(value).__name__} {value}",
)
def test_a_scalar_comes_back_as_one(value: Any) -> None:
    found = there_and_back([value])[0]
    assert (type(found), found.dtype, found.tobytes()) == (type(value), value.dtype, value.tobytes())


def test_a_record_comes_back_as_one() -> None:
    value = np.array([(1, 2.5)], [("a", "i4"), ("b", "f8")])[0]
    found = there_and_back(value)
    assert (type(found), found.dtype, found.tolist()) == (np.void, value.dtype, (1, 2.5))


def test_many_scalars_need_no_section_each() -> None:
    message = Message({})
    encode(message, "value", list(np.arange(10_000)))
    assert len(message.sections) == 1


@pytest.mark.parametrize("value", [np.array([object()]), np.array([1, "a"], object), np.array([(1,)], [("a", "O")])])
def test_an_array_of_python_objects_is_refused(value: Any) -> None:
    with pytest.raises(ValueRefused, match=r"a numpy array of dtype .* holds Python objects"):
        there_and_back(value)


def test_a_subclass_of_an_array_is_refused() -> None:
    with pytest.raises(ValueRefused, match=r"value\[0\] is a numpy.*MaskedArray: not plain data"):
        there_and_back([np.ma.array([1])])


def test_more_arrays_than_a_header_can_list_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "ARRAY_LIMIT", 3)
    with pytest.raises(ValueRefused, match="the value holds 4 numpy arrays"):
        there_and_back([np.zeros(1) for _ in range(4)])


def npy(header: str, data: bytes = b"") -> memoryview:
    text = header.encode() + b"\n"
    return memoryview(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data)


@pytest.mark.parametrize(
    "content",
    [
        memoryview(b""),
        memoryview(b"\x93NUMPY\x09\x00"),
        npy("nonsense"),
        npy("(" * 5000),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", bytes(8)),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", bytes(9)),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10**15,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}", bytes(8)),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        npy("{'descr': '|V999999999999', 'fortran_order': False, 'shape': (1,)}"),
        npy("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        npy("{'descr': __import__('os').getpid(), 'fortran_order': False, 'shape': (1,)}"),
    ],
    ids=lambda content: bytes(content)[10:70].decode("latin-1"),
)
def test_a_damaged_or_hostile_array_is_refused(content: memoryview) -> None:
    with pytest.raises(FormatError):
        from_buffer(content)
