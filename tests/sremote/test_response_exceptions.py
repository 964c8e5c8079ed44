"""Exceptions that functions raised: as themselves where their class is here, always with what is known of them."""

import json
import subprocess
import sys
import traceback
import types
from dataclasses import dataclass
from typing import Any

import pytest

from sremote.errors import ConnectionLost, FormatError, RemoteError
from tests.sremote.responses import message, raised, read


class TwoArguments(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code


class KeywordOnly(Exception):
    def __init__(self, *, limit: int) -> None:
        super().__init__("over the limit")
        self.limit = limit


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class Outer:
    class Inner(ValueError):
        pass


class WithSlots(Exception):
    __slots__ = ("x",)


@dataclass(frozen=True)
class Frozen(Exception):
    reason: str


class NoAttributes(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


def caught(error: BaseException, **changes: Any) -> Any:
    """Return what the client raises where the function raised ``error``."""
    with pytest.raises(Exception) as found:  # noqa: PT011  any
        raised(error, **changes).result()
    return found.value


BUILTINS = [
    ValueError("a", 2),
    KeyError("missing"),
    KeyError(("a", 1)),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    UnicodeEncodeError("ascii", "\xff", 0, 1, "not in range"),
    FileNotFoundError(2, "No such file or directory", "/some/file"),
    OSError(18, "Invalid cross-device link", "/a", None, "/b"),
    OSError("a text"),
    ConnectionResetError(104, "reset"),
    SyntaxError("invalid", ("file", 1, 2, "text")),
    ZeroDivisionError(),
    RecursionError("deep"),
    MemoryError(),
    AssertionError({"a": [1]}),
    NotImplementedError(Ellipsis),
]


@pytest.mark.parametrize("error", BUILTINS, ids=repr)
def test_a_builtin_exception_comes_back_as_itself(error: Exception) -> None:
    found = caught(error)
    assert (type(found), found.args, str(found)) == (type(error), error.args, str(error))
    for name in ("errno", "filename", "filename2", "object", "start", "lineno"):
        assert getattr(found, name, None) == getattr(error, name, None)


def test_an_import_error_names_its_module() -> None:
    found = caught(ModuleNotFoundError("No module named 'x'", name="x", path="/p"))
    assert (type(found), str(found), found.name, found.path) == (ModuleNotFoundError, "No module named 'x'", "x", "/p")


@pytest.mark.parametrize(
    "error",
    [TwoArguments(5, "gone"), KeywordOnly(limit=3), Outer.Inner("x"), WithSlots("x"), NoAttributes("x")],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_of_a_module_that_is_imported_here_comes_back_as_itself(error: Exception) -> None:
    found = caught(error)
    assert (type(found), found.args, str(found)) == (type(error), error.args, str(error))
    found_state = {name: value for name, value in vars(found).items() if name != "remote"}
    assert found_state == vars(error)
    assert found.remote.host == "host"


def test_a_frozen_exception_comes_back_as_itself() -> None:
    found = caught(Frozen("x"))
    assert (type(found), found.reason, found.remote.job_id) == (Frozen, "x", "job-1")


def test_exceptions_of_libraries_come_back_as_themselves() -> None:
    found = caught(json.JSONDecodeError("Expecting value", "doc", 1))
    assert (type(found), found.msg, found.pos) == (json.JSONDecodeError, "Expecting value", 1)
    found = caught(subprocess.CalledProcessError(3, ["a", "b"], b"out"))
    assert (type(found), found.returncode, found.cmd, found.output) == (
        subprocess.CalledProcessError,
        3,
        ["a", "b"],
        b"out",
    )


def test_attributes_that_are_not_data_are_left_out() -> None:
    error = ValueError("x")
    error.code, error.part = 5, object()  # type: ignore[attr-defined]
    found = caught(error)
    assert found.code == 5
    assert not hasattr(found, "part")


def test_a_note_comes_along() -> None:
    error = ValueError("x")
    error.add_note("and so")
    assert caught(error).__notes__ == ["and so"]


def test_arguments_that_are_not_data_are_told_as_text() -> None:
    assert caught(ValueError(len)).args == ("<built-in function len>",)


def test_an_exception_whose_text_cannot_be_shown_still_comes_back() -> None:
    found = caught(Silent("x"))
    assert (type(found), found.args) == (Silent, ("x",))
    assert raised(Silent("x")).message.header["error"]["text"] == "(its text cannot be shown)"


def test_a_group_of_exceptions_is_told_with_all_of_them() -> None:
    found = caught(ExceptionGroup("several", [ValueError("first"), KeyError("second")]))
    assert (type(found), found.type_name) == (RemoteError, "builtins.ExceptionGroup")
    assert "ValueError: first" in found.remote.traceback
    assert "KeyError: 'second'" in found.remote.traceback


def test_what_the_exception_came_from_is_in_the_remote_traceback() -> None:
    error = ValueError("outer")
    error.__cause__ = KeyError("inner")
    assert "The above exception was the direct cause" in caught(error).remote.traceback


def test_host_job_traceback_and_output_are_attached() -> None:
    remote = caught(ValueError("x")).remote
    assert (remote.host, remote.job_id, remote.stdout, remote.stderr) == ("host", "job-1", "out\n", "err\n")
    assert "raise error\nValueError: x\n" in remote.traceback


def test_the_printed_traceback_shows_the_remote_one_too() -> None:
    shown = "".join(traceback.format_exception(caught(ValueError("x"))))
    assert "on host, job job-1:\nTraceback (most recent call last):\n" in shown
    assert shown.count("ValueError: x") == 2


@pytest.mark.parametrize(
    "error", [StopIteration(5), StopAsyncIteration(), KeyboardInterrupt(), SystemExit(3), GeneratorExit()], ids=repr
)
def test_what_would_mean_something_else_here_is_a_remote_error(error: BaseException) -> None:
    found = caught(error)
    assert (type(found), found.type_name) == (RemoteError, f"builtins.{type(error).__name__}")


def test_a_host_cannot_raise_the_clients_own_errors() -> None:
    found = caught(ConnectionLost("it dropped", "Sign in again at evil.example."))
    assert (type(found), found.type_name) == (RemoteError, "sremote.connectors.errors.ConnectionLost")
    assert "evil.example" not in (found.remedy or "")


@pytest.mark.parametrize(
    "name",
    [
        "no_such_module:Error",
        "builtins:NoSuchError",
        "builtins:print",
        "builtins:BaseException",
        "builtins:ValueError.__init__",
        "builtins:",
        ":",
        "",
        "os:path.os.system",
        "subprocess:Popen",
        "tests.sremote.test_job_exceptions:Outer.Inner.x",
        5,
        None,
        {"a": 1},
    ],
    ids=repr,
)
def test_a_name_that_is_no_exception_here_is_told_as_text(name: Any) -> None:
    found = caught(ValueError("the text"), type=name)
    assert type(found) is RemoteError
    assert str(found).endswith(": the text")


def test_nothing_is_imported_for_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    lazy = types.ModuleType("lazy")
    vars(lazy)["__getattr__"] = asked.append
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    assert type(caught(ValueError("x"), type="lazy:Error")) is RemoteError
    assert asked == []


@pytest.mark.parametrize("section", [b"", b"\x80\x04N.", b"\x80\x04K\x05K\x05\x86.", b"cos\nsystem\n."], ids=repr)
def test_a_damaged_description_still_tells_the_text(section: bytes) -> None:
    response = message("raised", error={"type": "builtins:OSError", "text": "what", "traceback": "where"})
    response.add("error", section)
    with pytest.raises(RemoteError, match=r"^OSError: what$") as found:
        read(response).result()
    assert found.value.remote is not None
    assert found.value.remote.traceback == "where"


@pytest.mark.parametrize("error", [[], "text", 5])
def test_a_description_that_is_none_is_told(error: Any) -> None:
    with pytest.raises(FormatError, match="the response's 'error' is"):
        read(message("raised", error=error)).result()
