"""What comes back is data; only ``trust=True`` lets code come back from a host."""

import sys
from collections.abc import Iterator
from pathlib import Path

import dill
import numpy
import pytest

import sremote
from sremote.errors import FormatError, SremoteError, ValueRefused
from sremote.interpreter.wire import Message
from tests.kit.pythons import installed_pythons

OTHERS = [python for python in installed_pythons() if python.minor != sys.version_info[1]]


@pytest.fixture(scope="module")
def trusting(local_client: sremote.Client) -> Iterator[sremote.Client]:
    """A client that trusts a host with this very Python."""
    with sremote.connect("local:", root=local_client.host.root, python=sys.executable, trust=True) as client:
        yield client


@pytest.fixture(scope="module")
def trusting_other(local_client: sremote.Client) -> Iterator[sremote.Client]:
    """A client that trusts a host with another Python."""
    python = str(OTHERS[-1].path)
    with sremote.connect("local:", root=local_client.host.root, python=python, trust=True) as client:
        yield client


def make_counter(step):
    total = 0

    def count():
        nonlocal total
        total += step
        return total

    return count


class TestTrusted:
    def test_a_lambda_goes_there(self, trusting):
        assert trusting.call("functools", "reduce", [lambda a, b: a * b, [1, 2, 3, 4]]) == 24

    def test_a_closure_comes_back(self, trusting):
        count = trusting.call_function(make_counter, 3)
        assert [count(), count()] == [3, 6]

    def test_an_object_of_any_class_goes_both_ways(self, trusting):
        generator = trusting.call("copy", "copy", [numpy.random.default_rng(1)])
        assert generator.random() == numpy.random.default_rng(1).random()

    def test_an_exception_comes_back_as_itself(self, trusting):
        with pytest.raises(ZeroDivisionError):
            trusting.call("operator", "truediv", [1, 0])

    def test_what_cannot_be_pickled_there_is_an_error(self, trusting):
        with pytest.raises(TypeError, match="pickle"):
            trusting.call("builtins", "memoryview", [b"x"])


class TestAnotherPython:
    def test_plain_data_goes_both_ways(self, trusting_other):
        assert trusting_other.call("copy", "copy", [{"a": [1, 2.5]}]) == {"a": [1, 2.5]}

    def test_code_is_refused(self, trusting_other):
        with pytest.raises(ValueRefused, match="which is code"):
            trusting_other.call("functools", "reduce", [lambda a, b: a * b, [1, 2]])
        with pytest.raises(ValueRefused, match="not plain data"):
            trusting_other.call("functools", "partial", [int])


class TestUntrusted:
    def test_code_is_not_sent_as_a_value(self, client):
        with pytest.raises(ValueRefused, match="which is code"):
            client.call("functools", "reduce", [lambda a, b: a * b, [1, 2]])

    def test_code_that_comes_back_is_never_run(self, local_client, tmp_path):
        evil = Evil(tmp_path / "ran")
        for header, payload in (
            ({"encoding": "dill"}, dill.dumps(evil)),
            ({}, dill.dumps(evil, protocol=4)),
            ({}, dill.dumps(evil, protocol=2)),
        ):
            response = answer(local_client, header, payload)
            with pytest.raises((ValueRefused, FormatError)):
                response.result()
        assert not (tmp_path / "ran").exists()

    def test_code_in_an_exception_is_never_run(self, local_client, tmp_path):
        local_client.call("operator", "neg", [1])
        header = {**local_client.last_response.message.header, "outcome": "raised"}
        header["error"] = {"type": "builtins:ValueError", "text": "x", "traceback": ""}
        message = Message(header)
        message.add("error", dill.dumps(Evil(tmp_path / "ran"), protocol=4))
        job = sremote.Response("local", local_client.last_response.id, message, {}, trust=False)
        with pytest.raises((ValueError, SremoteError)):
            job.result()
        assert not (tmp_path / "ran").exists()


class Evil:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def answer(client: sremote.Client, header: dict[str, object], payload: bytes) -> sremote.Response:
    """Return a job whose response holds ``payload`` as its value."""
    client.call("operator", "neg", [1])
    message = Message({**client.last_response.message.header, **header})
    message.add("value", payload)
    return sremote.Response.read("local", client.last_response.id, message.to_bytes(), {}, trust=client.trust)
