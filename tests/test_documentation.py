"""The documentation holds: its programs run, its commands have those options, its formats are the real ones."""

import base64
import functools
import io
import json
import os
import pickle
import re
import shlex
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.kit.program import PROGRAM

PROJECT = Path(__file__).parents[1]
INTERPRETER = PROJECT / "interpreter"
PAGES = sorted([PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")])
EXAMPLES = sorted((PROJECT / "examples").glob("*.py"))

FENCE = re.compile(r"^(?P<before>[^\n]*)\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "<!-- not run: "
"""A comment on the line above a Python block, with the reason why it is left out here."""
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def without_code(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of ``language`` on a page, but for those that say that they are not run."""
    return [
        found["text"]
        for found in FENCE.finditer(page.read_text())
        if found["language"] == language and not found["before"].startswith(NOT_RUN)
    ]


def commands(page: Path) -> list[list[str]]:
    """Return the words of each ``sremote`` command in a page's console blocks."""
    programs = {"sremote": [], "bin/client": [], "bin/installer": ["install"]}
    found = []
    for block in blocks(page, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True) if line.startswith("$ ") else []
            if words and words[0] in programs:
                found.append(programs[words[0]] + words[1:])
    return found


@functools.cache
def options_of(*subcommand: str) -> tuple[set[str], set[str]]:
    """Return the options and the subcommands that a command's ``--help`` names."""
    done = subprocess.run([PROGRAM, *subcommand, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"sremote {' '.join(subcommand)} --help: {done.stderr}"
    table = done.stdout.partition("\nOptions:\n")[2]
    listed = table.partition("\nCommands:\n")[2]
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", table)), set(re.findall(r"^  (\w+)", listed, re.MULTILINE))


def run_python(script: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a program as a user does, with warnings as errors; its ``local:`` host has this Python, with numpy."""
    done = subprocess.run(
        [sys.executable, "-W", "error", script, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=script.parent,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_the_python_blocks_of_a_page_run_as_one_program(page: Path, tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    program.write_text("\n".join(blocks(page, "python")))

    run_python(program)


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_an_example_runs_on_this_machine_unless_told_otherwise(example: Path) -> None:
    assert run_python(example).stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_an_example_goes_to_the_host_that_it_is_given(example: Path) -> None:
    assert "command:false" in run_python(example, "command:false", status=1).stderr


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name_of)
def test_the_commands_of_a_page_exist_with_their_options(page: Path) -> None:
    for words in commands(page):
        subcommand: list[str] = []
        while words and words[0] in options_of(*subcommand)[1]:
            subcommand.append(words.pop(0))
        known = options_of(*subcommand)[0] | options_of()[0]
        used = words[: words.index("--") if "--" in words else None]
        unknown = {word.partition("=")[0] for word in used if re.match(r"--?[a-z]", word)} - known

        assert subcommand or used == ["--version"], f"{name_of(page)}: sremote {' '.join(words)}"
        assert not unknown, f"{name_of(page)}: sremote {' '.join(subcommand)} has no {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_headings_that_links_name_are_there(page: Path) -> None:
    for found in LINK.finditer(without_code(page)):
        place, _, anchor = found["target"].partition("#")
        if anchor and ":" not in place:
            text = without_code(page.parent / place if place else page)
            titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_pages_can_be_reached_from_the_readme(page: Path) -> None:
    reached, waiting = set(), [PROJECT / "README.md"]
    while waiting:
        here = waiting.pop()
        if here.suffix == ".md" and here.is_file() and here not in reached:
            reached.add(here)
            waiting += [
                (here.parent / found["target"].partition("#")[0]).resolve()
                for found in LINK.finditer(without_code(here))
            ]

    assert page in reached


class Reader:
    """Reads a response with docs/formats.md alone: no code of sremote."""

    def __init__(self, content: bytes) -> None:
        magic, length = struct.unpack_from(">8sI", content)
        assert magic == b"SREMOTE1"
        end = 12 + length
        self.header = json.loads(content[12:end])
        self.sections: dict[str, list[bytes]] = {}
        for name, size in self.header["sections"]:
            start = -(-end // 16) * 16
            end = start + size
            self.sections.setdefault(name, []).append(content[start:end])
        assert end == len(content)

    def value(self) -> object:
        arrays = self.sections.get("value.array", [])

        class Unpickler(pickle._Unpickler):
            def find_class(self, module: str, name: str) -> object:
                return {"make_array": lambda index: arrays[index], "make_path": lambda kind, text: (kind, text)}[name]

        return Unpickler(io.BytesIO(self.sections["value"][0])).load()


def write_request(target: dict[str, str], arguments: list[object]) -> bytes:
    """Write a request with docs/formats.md alone; no section but the arguments."""
    value = pickle.dumps((arguments, {}), protocol=4)
    header = {"format": 1, "kind": "request", "id": "by-hand", "target": target, "sections": [["value", len(value)]]}
    text = json.dumps(header).encode()
    prefix = struct.pack(">8sI", b"SREMOTE1", len(text)) + text
    return prefix + bytes(-len(prefix) % 16) + value


def run_by_hand(folder: Path, request: bytes) -> Reader:
    (folder / "request").write_bytes(request)
    subprocess.run(
        ["sh", INTERPRETER / "interpreter.sh", folder / "request", folder / "response"],
        check=True,
        timeout=60,
        env={**os.environ, "SREMOTE_PYTHON": sys.executable},
    )
    return Reader((folder / "response").read_bytes())


def test_a_request_and_a_response_can_be_written_and_read_from_the_format_page_alone(tmp_path: Path) -> None:
    target = {"kind": "name", "module": "pathlib", "function": "PurePosixPath"}

    response = run_by_hand(tmp_path, write_request(target, ["/a", "b"]))

    assert response.header["outcome"] == "returned"
    assert response.value() == ("posix", "/a/b")


def test_an_array_stands_beside_the_value_as_the_format_page_says(tmp_path: Path) -> None:
    pytest.importorskip("numpy")

    response = run_by_hand(tmp_path, write_request({"kind": "name", "module": "numpy", "function": "arange"}, [3]))

    array = response.value()
    assert isinstance(array, bytes)
    assert array.startswith(b"\x93NUMPY")
    assert array.endswith(struct.pack("<3q", 0, 1, 2))


def test_a_stream_can_be_spoken_from_the_format_page_alone(tmp_path: Path) -> None:
    head = struct.Struct(">BII")
    request = write_request({"kind": "name", "module": "math", "function": "sqrt"}, [16])
    call = bytes([len(b"by-hand")]) + b"by-hand" + struct.pack(">Q", len(request)) + request
    frames = base64.b64encode(head.pack(1, 1, len(call)) + call).decode()
    files, bundle = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(files, "w") as archive:
        for file in INTERPRETER.glob("*.*"):
            archive.write(file, file.name)
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("files.zip", files.getvalue())

    def frame() -> tuple[int, int, bytes]:
        kind, number, length = head.unpack(server.stdout.read(head.size))
        return kind, number, server.stdout.read(length)

    bootstrap = (INTERPRETER / "bootstrap.py").read_text()
    command = ["sh", INTERPRETER / "interpreter.sh", "--serve", bootstrap, tmp_path, "", "digest", "", "", frames]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        kind, number, hello = frame()
        assert (kind, number, json.loads(hello)["missing"]) == (6, 0, True)
        server.stdin.write(head.pack(5, 0, len(bundle.getvalue())) + bundle.getvalue())
        server.stdin.flush()
        kind, number, response = frame()
        server.stdin.write(head.pack(3, 1, 0))

    assert (kind, number) == (9, 1)
    assert Reader(response[8:]).value() == 4.0
    assert not list((tmp_path / "jobs").iterdir())


def test_the_format_page_names_every_constructor() -> None:
    from sremote.interpreter.constructors import CONSTRUCTORS

    named = set(re.findall(r"`(make_\w+|bytearray)`", (PROJECT / "docs" / "formats.md").read_text()))

    assert named == set(CONSTRUCTORS)


def test_the_format_page_names_every_outcome_reason_and_frame() -> None:
    page = (PROJECT / "docs" / "formats.md").read_text()
    files = [file for file in INTERPRETER.glob("*.py") if file.name != "installation.py"]
    code = "".join(file.read_text() for file in files)
    outcomes = set(re.findall(r'"outcome": "(\w+)"|outcome="(\w+)"|respond\([^()]*\{[^{}]*\}, "(\w+)"', code))
    reasons = set(re.findall(r'Refusal\(\s*"(\w+)"|reason="(\w+)"', code))
    frames = dict(re.findall(r"^([A-Z]+) = (\d+)$", (INTERPRETER / "frames.py").read_text(), re.MULTILINE))
    words = {word for found in outcomes | reasons for word in found if word}

    assert {"returned", "lost", "walltime", "module", "host"} <= words
    assert {word for word in words if f"\n| `{word}` |" not in page} == set()
    assert {f"{number} {name}" for name, number in frames.items() if f"{number} {name}" not in page} == set()


def test_the_error_page_names_every_error() -> None:
    from sremote import errors

    real = {name for name in errors.__all__ if name not in ("SremoteError", "RemoteContext")}

    assert set(re.findall(r"^\| \*{0,2}`(\w+)`", (PROJECT / "docs" / "errors.md").read_text(), re.MULTILINE)) == real


def test_the_pages_name_every_method_of_the_client() -> None:
    from sremote.client import Client

    text = "".join(page.read_text() for page in PAGES)

    assert [name for name in vars(Client) if not name.startswith("_") and not re.search(rf"\b{name}\b", text)] == []
