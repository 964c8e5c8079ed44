"""Questions for the user: passphrases, passwords, one-time codes."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

Prompt = Callable[[str, bool], str]
"""Asks a question and returns the answer: the question's text, and whether the answer may be seen as it is typed."""

TERMINAL = Path("/dev/tty")

_one_at_a_time = threading.Lock()


def default_prompt() -> Prompt | None:
    """Return the way to ask the user: SSH_ASKPASS as ssh(1) uses it, or the terminal; None where nobody is there."""
    required = os.environ.get("SSH_ASKPASS_REQUIRE", "")
    program = os.environ.get("SSH_ASKPASS")
    if program and (required == "force" or (required == "prefer" and os.environ.get("DISPLAY"))):
        return lambda text, _echo: _run_askpass(program, text)
    if not any(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        return None
    try:
        TERMINAL.open("rb").close()
    except OSError:
        return None
    return _ask_terminal


def ask(prompt: Prompt, text: str, *, echo: bool = False) -> str:
    """Ask one question, one at a time in the whole process.  Raises EOFError where the user declines.

    ``text`` may come from a host: what would move the cursor or change colours is left out.
    """
    clean = "".join(character for character in text if character.isprintable() or character in "\n\t")
    with _one_at_a_time:
        return prompt(clean, echo)


def _ask_terminal(text: str, echo: bool) -> str:
    if not echo:
        return getpass.getpass(text)
    with TERMINAL.open("w") as screen, TERMINAL.open() as keyboard:
        screen.write(text)
        screen.flush()
        answer = keyboard.readline()
    if not answer:
        raise EOFError
    return answer.rstrip("\n")


def _run_askpass(program: str, text: str) -> str:
    done = subprocess.run([program, text], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise EOFError
    return done.stdout.rstrip("\n")
