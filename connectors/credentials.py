"""Where a password or a token comes from: a private file, the environment, a program, or the user at a terminal.

So none has to stand among settings, in arguments or in logs; a message names the
place that a secret comes from and never the secret.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sremote.connectors.errors import SignInRefused, UsageError
from sremote.connectors.ssh_prompt import Prompt, ask

COMMAND_TIMEOUT = 60.0
"""Seconds that a program may take to print a secret."""


@dataclass(frozen=True)
class Secret:
    """A secret's origin.  ``read`` fetches it anew each time, as what stands there may change."""

    origin: str
    """The place in words, for messages."""
    read: Callable[[], str]


def find_secret(
    what: str,
    *,
    file: str | Path | None = None,
    variable: str | None = None,
    command: str | Sequence[str] | None = None,
) -> Secret | None:
    """Return the one origin that is given, None where none is.  Raises UsageError where there are several.

    ``what`` is the secret's name in messages: "password".  ``file`` must have mode 0600
    or stricter, ``variable`` names an environment variable, ``command`` is a program
    that prints the secret on one line, as words or as a line that is split into words.
    """
    given = [place for place in (file, variable, command) if place is not None]
    if len(given) > 1:
        raise UsageError(f"the {what} is to come from {len(given)} places", "Name one of file, variable and command.")
    if file is not None:
        path = Path(file).expanduser()
        return Secret(str(path), lambda: secret_in_file(path, what))
    if variable is not None:
        name = variable
        return Secret(f"the environment variable {name}", lambda: _of_variable(name, what))
    if command is not None:
        words = shlex.split(command) if isinstance(command, str) else list(command)
        if not words:
            raise UsageError(f"there is no command that prints the {what}")
        return Secret(f"the program {words[0]}", lambda: _of_command(words, what))
    return None


def prompted_secret(prompt: Prompt, question: str) -> Secret:
    """Return the origin that asks the user ``question``.  Reading it raises SignInRefused where the user declines."""

    def read() -> str:
        try:
            return ask(prompt, question)
        except (EOFError, OSError) as error:
            raise SignInRefused("the question was not answered: " + question.strip().rstrip(":")) from error

    return Secret("you", read)


def secret_in_file(path: Path, what: str, *, lines: bool = False) -> str:
    """Return the secret in a file that only its owner may read, without the newline at its end.

    ``lines`` allows more than one line, as a key has.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(1 << 16).decode("utf-8", "replace")
    except OSError as error:
        raise SignInRefused(f"the {what} cannot be read: {path}: {error.strerror}") from error
    if mode & 0o077:
        raise SignInRefused(
            f"{path} holds a {what} and may be read by others (mode {mode:04o})",
            f"Type: chmod 600 {shlex.quote(str(path))}",
        )
    return text if lines and text.strip() else _not_empty(text, what, str(path))


def _of_variable(name: str, what: str) -> str:
    if name not in os.environ:
        raise SignInRefused(f"the environment variable {name}, which is to hold the {what}, is not set")
    return _not_empty(os.environ[name], what, name)


def _of_command(words: list[str], what: str) -> str:
    # What it prints on stderr reaches the user; what it prints on stdout is the secret and goes nowhere else.
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, timeout=COMMAND_TIMEOUT, check=False)
    except OSError as error:
        raise SignInRefused(f"{words[0]}, which is to print the {what}, cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise SignInRefused(
            f"{words[0]}, which is to print the {what}, had not ended after {COMMAND_TIMEOUT:.0f} s"
        ) from None
    if done.returncode != 0:
        raise SignInRefused(f"{words[0]}, which is to print the {what}, ended with status {done.returncode}")
    return _not_empty(done.stdout.decode("utf-8", "replace"), what, f"what {words[0]} prints")


def _not_empty(text: str, what: str, place: str) -> str:
    secret = text.rstrip("\r\n")
    if not secret or "\n" in secret or "\r" in secret:
        raise SignInRefused(f"the {what} in {place} is {'more than one line' if secret else 'empty'}")
    return secret
