"""The file format: what is written is read, and nothing damaged or hostile is taken for a message."""

import json
import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sremote.interpreter.errors import FormatError
from sremote.interpreter.wire import ALIGNMENT, HEADER_LIMIT, MAGIC, Message, parse

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
headers = st.dictionaries(st.text().filter(lambda name: name != "sections"), json_values, max_size=4)
sections = st.lists(
    st.tuples(st.text(max_size=5), st.lists(st.binary(max_size=40), min_size=1, max_size=3)), max_size=5
)


def written(header: object, rest: bytes = b"") -> bytes:
    """Return a file with this header, whatever it says."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return MAGIC + struct.pack(">I", len(text)) + text + rest


@given(headers, sections)
def test_what_is_written_is_read(header: dict[str, Any], parts: list[tuple[str, list[bytes]]]) -> None:
    message = parse(Message(header, parts).to_bytes())
    assert message.header == header
    assert [(name, bytes(found[0])) for name, found in message.sections] == [(name, b"".join(p)) for name, p in parts]


@given(sections)
def test_every_section_is_aligned(parts: list[tuple[str, list[bytes]]]) -> None:
    data = Message({}, parts).to_bytes()
    view = memoryview(data)
    for _, (found,) in parse(data).sections:
        assert isinstance(found, memoryview)
        if found.nbytes:
            assert address(found, view) % ALIGNMENT == 0


def address(part: memoryview, whole: memoryview) -> int:
    """Return where ``part``, a view of ``whole``, begins in it."""
    numpy = pytest.importorskip("numpy")
    first, second = (numpy.frombuffer(view, numpy.uint8).__array_interface__["data"][0] for view in (part, whole))
    return int(first - second)


def test_sections_are_found_by_name() -> None:
    message = parse(Message({}, [("a", [b"1"]), ("b", [b"2", b"3"]), ("a", [b"4"])]).to_bytes())
    assert [bytes(found) for found in message.all("a")] == [b"1", b"4"]
    assert bytes(message.get("b")) == b"23"
    assert bytes(message.get("absent")) == b""
    assert (message.has("a"), message.has("absent")) == (True, False)


def test_sections_are_neither_copied_when_written_nor_when_read() -> None:
    content = bytearray(100)
    message = Message({}, [("a", [memoryview(content)])])
    assert any(isinstance(chunk, memoryview) and chunk.obj is content for chunk in message.chunks())
    data = bytearray(message.to_bytes())
    assert parse(data).get("a").obj is data


def test_a_file_that_is_cut_anywhere_is_refused() -> None:
    data = Message({"id": "x"}, [("a", [b"12345"]), ("b", [b"6"])]).to_bytes()
    for length in range(len(data)):
        with pytest.raises(FormatError):
            parse(data[:length])
    with pytest.raises(FormatError, match="1 bytes stand behind the last section"):
        parse(data + b"\0")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a message: it has 0 bytes"),
        (b"#!/bin/sh\necho", "not a message: it begins with b'#!/bin/s'"),
        (b"SREMOTE2\0\0\0\0", "format version '2' is not '1'"),
        (MAGIC + b"\xff\xff\xff\xff", "the header claims 4294967295 bytes; the message has 12"),
        (written(b"nonsense"), "the header is not JSON"),
        (written(b"\xff"), "the header is not JSON"),
        (written(b"[" * 100_000), "the header is not JSON"),
        (written(b'{"sections": ' + b"9" * 5000 + b"}"), "the header is not JSON"),
        (written([]), "the header does not list its sections"),
        (written({}), "the header does not list its sections"),
        (written({"sections": {}}), "the header does not list its sections"),
        (written({"sections": [["a"]]}), "the header does not list its sections"),
        (written({"sections": [["a", 1.5]]}), "the header does not list its sections"),
        (written({"sections": [["a", -1]]}), "the header does not list its sections"),
        (written({"sections": [[1, 1]]}), "the header does not list its sections"),
        (written({"sections": [["a", 10**15]]}, b"\0" * 64), "section 'a' claims 1000000000000000 bytes"),
        (written({"sections": [["a", 1]] * 9}), "section 'a' claims 1 bytes; 0 are left"),
    ],
)
def test_what_is_wrong_is_told(data: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        parse(data)


@pytest.mark.parametrize(
    "data",
    [
        MAGIC + struct.pack(">I", HEADER_LIMIT) + b"{}",
        written({"sections": [["a", 10**15]]}),
        written({"sections": [["a", 2**40]] * 1000}),
    ],
    ids=["header", "section", "sections"],
)
def test_nothing_is_allocated_for_what_is_only_claimed(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            parse(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_header_that_nobody_would_read_is_not_written() -> None:
    with pytest.raises(FormatError, match=f"the header has .* bytes; {HEADER_LIMIT} are allowed"):
        Message({"text": "x" * HEADER_LIMIT}).chunks()


def test_a_longer_header_is_not_read() -> None:
    header = {"sections": [], "text": "x" * HEADER_LIMIT}
    with pytest.raises(FormatError, match="the header claims"):
        parse(written(header))
