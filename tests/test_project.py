"""What the project promises of itself: the order of its rooms, its names, its size and its commands."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import sremote
from tests.kit.pythons import Python, installed_pythons

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("sremote", "connectors", "interpreter")
"""Each may import from itself and from those behind it."""
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINE_LIMIT = 600


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, relative ones with their dots."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def room_of(module: str, importer: str) -> str:
    """Return the room that an import leads to; empty for what is not of this project."""
    if module.startswith("."):
        assert not module.startswith(".."), "a relative import stays in its room"
        return importer
    first, _, rest = module.partition(".")
    if first != "sremote":
        return ""
    second = rest.partition(".")[0]
    return second if second in ROOMS else "sremote"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    importer = path.relative_to(ROOT).parts[0]
    behind = ROOMS[ROOMS.index(importer) :]
    assert [module for module in imports(path) if room_of(module, importer) not in ("", *behind)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "interpreter").glob("*.py")), ids=name_of)
def test_the_interpreter_needs_only_the_standard_library(path: Path) -> None:
    """Numpy and dill are for values made by them; sremote_interpreter is what it is called on a host."""
    foreign = {module.split(".")[0] for module in imports(path) if not module.startswith(".")}
    assert foreign - {"numpy", "dill", "sremote_interpreter"} <= sys.stdlib_module_names


@pytest.mark.parametrize("python", installed_pythons(), ids=str)
def test_the_interpreter_compiles_on_every_python_from_3_6(python: Python) -> None:
    program = "import sys\nfor path in sys.argv[1:]: compile(open(path, encoding='utf-8').read(), path, 'exec')"
    files = sorted((ROOT / "interpreter").glob("*.py"))
    subprocess.run([python.path, "-W", "error", "-c", program, *files], check=True)


@pytest.mark.parametrize(
    "path", [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "bin").iterdir())], ids=name_of
)
def test_no_file_is_too_long_to_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINE_LIMIT


def test_the_exported_names() -> None:
    assert sorted(sremote.__all__) == [
        "Client",
        "CommandResult",
        "Executor",
        "Facts",
        "Job",
        "JobState",
        "JobStatus",
        "Leftover",
        "Queue",
        "Response",
        "Session",
        "SremoteError",
        "Task",
        "__version__",
        "allow",
        "connect",
        "job",
        "jobs",
        "progress",
        "rank",
        "ranks",
    ]
    assert [name for name in sremote.__all__ if getattr(sremote, name, None) is None] == []


@pytest.mark.parametrize("program", ["import sremote", "import sremote.errors", "import sremote.connectors.base"])
def test_importing_loads_nothing_heavy(program: str) -> None:
    heavy = ("asyncio", "click", "cryptography", "dill", "numpy", "paramiko", "pip", "rich", "virtualenv")
    program += f"; import sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def commands(text: str) -> set[str]:
    """Return the first words of the lines that a text tells its reader to type."""
    return set(re.findall(r"^\s*\$ (?:\w+=\S+ )*(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_the_scripts_that_a_text_names_are_there(path: Path) -> None:
    scripts = {word for word in commands(path.read_text()) if word.startswith("bin/")}
    assert [script for script in scripts if not os.access(ROOT / script, os.X_OK)] == []


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_the_commands_that_a_text_names_are_there(path: Path) -> None:
    from sremote.cli import program

    named = set(re.findall(r"(?:\bsremote|bin/client)(?: -v+)? ([a-z]+)\b(?=[ \n`])", "".join(code(path.read_text()))))
    assert named - set(program.list_commands(click.Context(program))) == set()


def code(text: str) -> list[str]:
    """Return the parts of a text that are shell: its console blocks and what stands in backquotes."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```(?:console|sh|shell)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line + "\n" for block in blocks for line in block.splitlines() if line.startswith("$ ")] + [
        span + "\n" for span in re.findall(r"`(sremote [^`]*)`", prose)
    ]


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\((?!\w+:)([^)#]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_readme_shows_the_two_commands() -> None:
    assert {"bin/quickstart", "bin/test"} <= commands((ROOT / "README.md").read_text())


def test_continuous_integration_runs_the_tests_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ['cd "$(dirname "$0")/.." && exec bin/test']


def test_every_package_that_a_test_needs_is_installed_by_bin_test() -> None:
    listed = set((ROOT / "tests" / "debian-packages.txt").read_text().split())
    needed = {
        package
        for path in (ROOT / "tests").rglob("*.py")
        for package in re.findall(r'need_program\("[^"]+", "([^"]+)"\)', path.read_text())
    }
    assert needed <= listed
