"""A job as its response tells it, and responses that tell nonsense."""

import contextlib
import random
from typing import Any

import pytest

from sremote.errors import (
    FormatError,
    HostError,
    JobError,
    JobLost,
    NotInstalled,
    RemoteExit,
    RemoteKilled,
    RemoteOutOfMemory,
    SremoteError,
    UsageError,
    ValueRefused,
    VersionMismatch,
    WalltimeExceeded,
)
from sremote.interpreter.values import encode
from sremote.interpreter.wire import Message
from sremote.response import Response
from tests.sremote.responses import HEADER, message, raised, read, returned


def test_the_value_output_and_usage_are_read() -> None:
    job = returned({"a": [1]})
    assert job.result() == {"a": [1]}
    assert (job.outcome, job.stdout, job.stderr, job.output("stdout")) == ("returned", "out\n", "err\n", b"out\n")
    assert (job.seconds, job.usage) == (1.5, {"cpu_seconds": 0.25, "max_memory": 1 << 20})


@pytest.mark.parametrize(
    ("outcome", "header", "error", "said"),
    [
        ("exited", {"status": 3}, RemoteExit, "host: job job-1: the process exited with status 3 instead of returning"),
        ("killed", {"signal": 9}, RemoteKilled, "host: job job-1: killed by SIGKILL"),
        ("killed", {"signal": 99}, RemoteKilled, "killed by signal 99"),
        ("killed", {"signal": 9, "out_of_memory": True}, RemoteOutOfMemory, "for want of memory"),
        ("walltime", {}, WalltimeExceeded, r"stopped at its time limit after 1\.5 s"),
        ("lost", {}, JobLost, "its process is gone and left no response"),
        ("unwritten", {"text": "No space left"}, HostError, "its response cannot be written: No space left"),
        ("unencodable", {"text": "value is a socket: not plain data"}, ValueRefused, "the returned value is a socket"),
        ("refused", {"reason": "module", "text": "there is no x"}, NotInstalled, "there is no x"),
        ("refused", {"reason": "function", "text": "has no f"}, NotInstalled, "sremote install host --package"),
        ("refused", {"reason": "version", "text": "x is 1, not 2"}, VersionMismatch, "x is 1, not 2"),
        ("refused", {"reason": "code", "text": "cannot run"}, VersionMismatch, "cannot run"),
        ("refused", {"reason": "arguments", "text": "damaged"}, ValueRefused, "damaged"),
        ("refused", {"reason": "request", "text": "damaged"}, FormatError, "damaged"),
        ("refused", {"reason": "host", "text": "no space"}, HostError, "no space"),
        ("refused", {"reason": "directory", "text": "not there"}, UsageError, "not there"),
        ("refused", {"reason": "command", "text": "not there"}, UsageError, "not there"),
        ("something new", {}, FormatError, "the response tells an unknown outcome 'something new'"),
    ],
)
def test_every_outcome_is_an_error_of_its_own(
    outcome: str, header: dict[str, Any], error: type[Exception], said: str
) -> None:
    job = read(message(outcome, **header))
    with pytest.raises(SremoteError, match=said) as caught:
        job.result()
    assert type(caught.value) is error
    if isinstance(caught.value, JobError):
        assert caught.value.remote is not None
        assert caught.value.remote.stdout == "out\n"


def test_a_commands_status_is_its_own_or_the_signal_that_ended_it() -> None:
    assert read(message("exited", status=3)).exit_status() == 3
    assert read(message("killed", signal=15)).exit_status() == -15
    with pytest.raises(RemoteOutOfMemory):
        read(message("killed", signal=9, out_of_memory=True)).exit_status()


def test_code_is_refused_unless_the_host_is_trusted() -> None:
    dill = pytest.importorskip("dill")
    response = message("returned", encoding="dill")
    response.add("value", dill.dumps([5]))
    with pytest.raises(ValueRefused, match="host sent code instead of data"):
        read(response).result()
    assert read(response, trust=True).result() == [5]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": "job-2"}, "the answer to job job-1 is that of job 'job-2'"),
        ({"id": None}, "is that of job None"),
        ({"kind": "request"}, "is not a response of format 1"),
        ({"format": 2}, "is not a response of format 1"),
        ({"format": [1]}, "is not a response of format 1"),
        ({"outcome": None}, "is not a response of format 1"),
        ({"outcome": ["returned"]}, "is not a response of format 1"),
    ],
    ids=str,
)
def test_what_is_no_response_to_this_job_is_told(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(FormatError, match=said):
        read(Message({**HEADER, "outcome": "returned", **changes}))


NONSENSE = [None, True, -1, 10**4000, 1.5, float("inf"), "text", "\udcff", [], [1], {}, {"a": {}}]


@pytest.mark.parametrize("outcome", ["returned", "raised", "exited", "killed", "walltime", "refused", "unencodable"])
def test_a_header_that_tells_nonsense_ends_in_an_error_of_the_tree(outcome: str) -> None:
    names = "host python implementation times usage omitted encoding error status signal out_of_memory reason text"
    for name in names.split():
        for nonsense in NONSENSE:
            job = read(message(outcome, **{name: nonsense}))
            with pytest.raises(SremoteError) as caught:
                job.result()
            assert str(caught.value)
            for look in (lambda job=job: job.seconds, lambda job=job: job.usage, lambda job=job: job.exit_status()):
                with contextlib.suppress(SremoteError):
                    look()


@pytest.mark.parametrize("outcome", ["exited", "killed"])
def test_a_status_that_is_missing_is_not_taken_for_success(outcome: str) -> None:
    with pytest.raises(FormatError):
        read(message(outcome)).exit_status()


def test_a_response_that_is_cut_anywhere_is_refused() -> None:
    data = returned([1, "two"]).message.to_bytes()
    for length in range(len(data)):
        with pytest.raises(FormatError):
            read(data[:length])


@pytest.mark.parametrize("kind", ["returned", "raised"])
def test_ten_thousand_damaged_responses_give_a_value_or_an_error_of_the_tree(kind: str) -> None:
    dice = random.Random(20240229)
    data = damaged_from(kind)
    for _ in range(5_000):
        copy = bytearray(data)
        for _ in range(dice.randrange(1, 6)):
            place = dice.randrange(len(copy))
            match dice.randrange(4):
                case 0:
                    copy[place] = dice.randrange(256)
                case 1:
                    copy[place] ^= 1 << dice.randrange(8)
                case 2:
                    copy[place : place + dice.randrange(8)] = b""
                case 3:
                    copy[place:place] = dice.randbytes(dice.randrange(8))
        with contextlib.suppress(SremoteError):
            job = read(bytes(copy))
            if job.outcome == "raised":
                assert hasattr(caught(job), "remote")
            else:
                job.result()


def caught(job: Response) -> Exception:
    """Return the exception that the job's result is."""
    with pytest.raises(Exception) as found:  # noqa: PT011  any
        job.result()
    if isinstance(found.value, SremoteError):
        raise found.value
    return found.value


def damaged_from(kind: str) -> bytes:
    """Return a sound response to damage."""
    if kind == "raised":
        return raised(OSError(2, "No such file", "/some/file")).message.to_bytes()
    import datetime
    from collections import OrderedDict, deque
    from decimal import Decimal
    from fractions import Fraction

    numpy = pytest.importorskip("numpy")
    value = [
        *(1, -(2**70), 1.5, "text", b"bytes", bytearray(b"x"), None, True, (1, (2, 3)), {1, 2}, frozenset({3})),
        *(range(5), slice(1, 2), Decimal("1.5"), Fraction(1, 3), 2j, Ellipsis, datetime.date(2024, 1, 1)),
        *(datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), OrderedDict(a=1), deque([1], 3)),
        *({"key": [1, 2, 3], (1, 2): "x"}, numpy.arange(6).reshape(2, 3), numpy.float32(2.5)),
    ]
    response = message("returned")
    encode(response, "value", value)
    return response.to_bytes()
