"""Responses as a host may send them, honest or not."""

from collections.abc import Mapping
from typing import Any

from sremote.interpreter.failures import describe
from sremote.interpreter.values import encode
from sremote.interpreter.wire import Message
from sremote.response import Response

HEADER = {
    "format": 1,
    "kind": "response",
    "id": "job-1",
    "host": "there",
    "python": [3, 6, 15],
    "implementation": "cpython",
    "times": {"started": 100.0, "finished": 101.5},
    "usage": {"cpu_seconds": 0.25, "max_memory": 1 << 20},
}


def message(outcome: str, **header: Any) -> Message:
    """Return a response with this outcome and no value."""
    return Message({**HEADER, "outcome": outcome, **header}, [("stdout", [b"out\n"]), ("stderr", [b"err\n"])])


def read(response: Message | bytes, *, types: Mapping[str, type] | None = None, trust: bool = False) -> Response:
    """Read a response as the client does."""
    data = response if isinstance(response, bytes) else response.to_bytes()
    return Response.read("host", "job-1", bytearray(data), types or {}, trust=trust)


def returned(value: Any) -> Response:
    """Return the job of a function that returned ``value``."""
    response = message("returned")
    encode(response, "value", value)
    return read(response)


def returned_pickle(pickle: bytes, *, types: Mapping[str, type] | None = None) -> Response:
    """Return the job of a host that sent this pickle as the value."""
    response = message("returned")
    response.add("value", pickle)
    return read(response, types=types)


def raised(error: BaseException, **changes: Any) -> Response:
    """Return the job of a function that raised ``error``; ``changes`` are made to what is said of it."""
    try:
        raise error
    except BaseException as caught:
        response = message("raised")
        described = describe(caught, response)
    response.header["error"] = {**described, **changes}
    return read(response)
