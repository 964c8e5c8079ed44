"""Requests that are not run: each says why, and nothing has happened."""

import shutil
from pathlib import Path

import pytest

from sremote.errors import FormatError, HostError, NotInstalled, UsageError, ValueRefused
from tests.interpreter.far_side import FarSide, by_name


def test_a_missing_request_is_told(far_side: FarSide) -> None:
    response = far_side.folder / "response"
    assert far_side.execute(far_side.folder / "nothing", response).returncode == 0
    assert b"the request cannot be read" in response.read_bytes()


@pytest.mark.parametrize("content", [b"", b"SREM", b"#!/bin/sh\n", b"SREMOTE1\0\0\0\x05{}"], ids=repr)
def test_a_request_that_is_none_is_told(far_side: FarSide, content: bytes) -> None:
    with pytest.raises(FormatError):
        far_side.perform(content).result()


def test_a_truncated_request_is_not_run(this_side: FarSide) -> None:
    count = this_side.folder / "count"
    content = this_side.request(by_name("deeds", "note"), [str(count)]).to_bytes()
    for length in (20, len(content) // 2, len(content) - 1):
        assert this_side.perform(content[:length]).outcome == "refused"
    assert not count.exists()


def test_a_request_of_a_later_format_is_told(this_side: FarSide) -> None:
    request = this_side.request(by_name("deeds", "who"))
    with pytest.raises(FormatError, match="format version '2' is not '1'"):
        this_side.perform(request.to_bytes().replace(b"SREMOTE1", b"SREMOTE2")).result()
    request.header["format"] = 2
    with pytest.raises(FormatError, match="the request is of format 2, not 1"):
        this_side.perform(request).result()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"target": None}, "does not say what to run"),
        ({"target": {}}, "does not say what to run"),
        ({"target": {"kind": "magic"}}, "knows no target of kind 'magic'"),
        ({"target": by_name("deeds", "who"), "walltime": "5"}, "walltime is '5'"),
    ],
    ids=str,
)
def test_a_request_that_makes_no_sense_is_told(this_side: FarSide, header: dict[str, object], said: str) -> None:
    with pytest.raises(FormatError, match=said):
        this_side.perform(this_side.request(**header)).result()  # type: ignore[arg-type]


def test_arguments_that_cannot_be_read_are_told(far_side: FarSide) -> None:
    request = far_side.request(by_name("deeds", "who"))
    request.sections = [("value", [b"\x80\x04damaged."])]
    with pytest.raises(ValueRefused, match="the arguments cannot be read here: the value is damaged"):
        far_side.perform(request).result()


def test_arguments_that_would_run_code_do_not(far_side: FarSide) -> None:
    count = far_side.folder / "count"
    request = far_side.request(by_name("deeds", "who"))
    request.sections = [("value", [b"cposix\nsystem\n(S'touch %s'\ntR." % bytes(count)])]
    with pytest.raises(ValueRefused, match=r"posix\.system, which is not plain data"):
        far_side.perform(request).result()
    assert not count.exists()


def test_a_missing_module_is_told(far_side: FarSide) -> None:
    with pytest.raises(NotInstalled, match=r"there is no module 'no_such_module' for .*python"):
        far_side.call("no_such_module", "f").result()
    with pytest.raises(NotInstalled, match=r"there is no module 'json\.no_such_part' for"):
        far_side.call("json.no_such_part", "f").result()


def test_an_import_that_fails_inside_of_a_module_is_an_exception(far_side: FarSide, tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import no_such_module\n")
    request = far_side.request(by_name("needy", "f"), surroundings={"cwd": str(tmp_path)})
    with pytest.raises(ModuleNotFoundError, match="no_such_module") as caught:
        far_side.perform(request).result()
    assert caught.value.name == "no_such_module"
    assert "needy.py" in caught.value.remote.traceback


def test_a_module_that_raises_at_import_is_an_exception(far_side: FarSide, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        far_side.perform(far_side.request(by_name("broken", "f"), surroundings={"cwd": str(tmp_path)})).result()


@pytest.mark.parametrize("name", ["no_such_function", "give.inner", "Nested.outside"])
def test_a_missing_function_is_told(far_side: FarSide, name: str) -> None:
    with pytest.raises(NotInstalled, match=f"module 'deeds' has no '{name}'"):
        far_side.do(name).result()


def test_what_cannot_be_called_is_told(far_side: FarSide) -> None:
    with pytest.raises(NotInstalled, match=r"deeds\.not_callable is not a function"):
        far_side.do("not_callable").result()


def test_a_dotted_name_reaches_into_a_class(far_side: FarSide) -> None:
    assert far_side.do("Nested.inside", 5).result() == [5]


def test_wrong_arguments_are_an_exception(far_side: FarSide) -> None:
    with pytest.raises(TypeError, match="give"):
        far_side.do("give").result()


def test_a_missing_working_directory_is_told(far_side: FarSide) -> None:
    with pytest.raises(UsageError, match="the working directory /no/such: No such file or directory"):
        far_side.do("who", surroundings={"cwd": "/no/such"}).result()


def test_all_that_is_required_and_not_there_is_told(far_side: FarSide) -> None:
    require = {"no_such_module": "", "deeds": ">=2", "python": ">=3.6"}
    with pytest.raises(Exception, match="no_such_module is not installed; deeds is of unknown version, not >=2"):
        far_side.do("who", require=require).result()


def test_an_array_for_a_python_without_numpy_is_told(tmp_path: Path, this_side: FarSide) -> None:
    numpy = pytest.importorskip("numpy")
    (tmp_path / "numpy.py").write_text("raise ImportError('not here')\n")
    this_side.environment["PYTHONPATH"] += f":{tmp_path}"
    with pytest.raises(ValueRefused, match="the value holds a numpy array, and this Python has no numpy"):
        this_side.do("give", numpy.arange(3)).result()


def test_a_job_whose_files_cannot_be_written_is_not_run(far_side: FarSide) -> None:
    count = far_side.folder / "count"
    directory = far_side.put(far_side.request(by_name("deeds", "note"), [str(count)]))
    (Path(f"{directory}.new") / "stdout").mkdir()
    assert far_side.execute("--job", directory).returncode == 0
    with pytest.raises(HostError, match="the job's files cannot be written: Is a directory"):
        far_side.response(directory).result()
    assert not count.exists()


def test_a_command_line_that_is_none_shows_what_there_is(this_side: FarSide) -> None:
    done = this_side.execute("--nonsense")
    assert done.returncode == 64
    assert b"usage: interpreter.sh REQUEST RESPONSE" in done.stderr


def test_a_host_without_python_is_told(this_side: FarSide, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    this_side.environment = {"PATH": str(tmp_path / "bin")}
    done = this_side.execute("request", "response")
    assert done.returncode == 127
    assert done.stderr == b"sremote: no Python 3.6 or newer on PATH; set SREMOTE_PYTHON to one\n"
