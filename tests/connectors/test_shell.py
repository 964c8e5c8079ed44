"""One line that every login shell runs as exactly one command."""

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sremote.connectors.errors import UsageError
from sremote.connectors.shell import command_line
from sremote.testing import AWKWARD
from tests.kit.requirements import need_program

SHELLS = {"sh": "dash", "bash": "bash", "csh": "csh", "fish": "fish"}
"""Login shells, and the packages that have them."""

WORDS = st.text(
    st.one_of(
        st.sampled_from("'\"\\!$`%\n\r\t ~=#*?[]{}()<>|&;^@,-:0"),
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
        st.integers(0x80, 0xFF).map(lambda byte: chr(0xDC00 + byte)),
    ),
    max_size=40,
)


def arguments_through(shell: str, words: list[str]) -> list[str]:
    """Return the arguments that a program is given when ``shell`` runs the line for it."""
    program = ["sh", "-c", r'printf "%s\0" "$@"', "sh", *words]
    done = subprocess.run([shell, "-c", command_line(program)], stdout=subprocess.PIPE, check=True)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


@pytest.fixture(params=SHELLS, scope="module")
def shell(request: pytest.FixtureRequest) -> str:
    """The path of a login shell."""
    return need_program(request.param, SHELLS[request.param])


@pytest.mark.parametrize("words", [[word] for word in ["", *AWKWARD]] + [["", *AWKWARD, ""]], ids=ascii)
def test_awkward_words_arrive_as_they_are(shell: str, words: list[str]) -> None:
    assert arguments_through(shell, words) == words


@settings(max_examples=50, deadline=None)
@given(words=st.lists(WORDS, min_size=1, max_size=5))
def test_any_words_arrive_as_they_are(shell: str, words: list[str]) -> None:
    assert [word.encode(errors="surrogateescape") for word in arguments_through(shell, words)] == [
        word.encode(errors="surrogateescape") for word in words
    ]


@pytest.mark.parametrize("word", ["x" * 20_000, "two words " * 2_000, "\n'\\" * 4_000], ids=lambda word: word[:3])
def test_long_words_arrive_whole(shell: str, word: str) -> None:
    assert arguments_through(shell, [word]) == [word]


def test_every_line_is_printable_ascii() -> None:
    assert command_line(["echo", *AWKWARD]).isascii()
    assert command_line(["echo", *AWKWARD]).isprintable()


def test_a_plain_command_stays_readable() -> None:
    assert command_line(["ls", "-l", "my file"]) == "exec ls -l 'my file'"


@pytest.mark.parametrize("script", ["exit 7", "exit 7 # don't"])
def test_the_exit_status_passes_through(shell: str, script: str) -> None:
    assert subprocess.run([shell, "-c", command_line(["sh", "-c", script])], check=False).returncode == 7


@pytest.mark.parametrize("script", ["kill -9 $$", "kill -9 $$ # don't"])
def test_a_signal_ends_the_process_that_the_shell_was(shell: str, script: str) -> None:
    assert subprocess.run([shell, "-c", command_line(["sh", "-c", script])], check=False).returncode == -9


@pytest.mark.parametrize("extra", ["plain", "it's"])
def test_standard_input_passes_through(shell: str, extra: str) -> None:
    line = command_line(["sh", "-c", "cat", extra])
    assert (
        subprocess.run([shell, "-c", line], input=b"in\0put", stdout=subprocess.PIPE, check=True).stdout == b"in\0put"
    )


def test_aliases_and_builtins_of_the_shell_do_not_come_between(shell: str) -> None:
    line = command_line(["echo", "-n", "a\\tb"])
    expected = subprocess.run(["/bin/echo", "-n", "a\\tb"], stdout=subprocess.PIPE, check=True).stdout
    assert subprocess.run([shell, "-c", line], stdout=subprocess.PIPE, check=True).stdout == expected


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "no command"),
        ([""], "no command"),
        (["-x"], "cannot be called"),
        (["echo", "a\0b"], "NUL"),
        (["echo", "\ud800"], "surrogate"),
        ("echo hello", "list of words"),
        (["echo", "x" * 200_000], "too long"),
    ],
)
def test_what_cannot_be_a_command_is_refused(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        command_line(argv)
