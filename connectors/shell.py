"""One string that any login shell turns into exactly one command.

An ssh server hands a string to the user's login shell, and there are many: sh,
bash, dash, zsh, csh, tcsh, fish.  They agree on words of harmless characters and
on printable ASCII in single quotes, but for ``'``, ``\\`` and ``!``.  A command
with anything else, or too long a word for csh, travels as octal escapes that a
POSIX ``/bin/sh`` undoes.

Every line begins with ``exec``: no alias or builtin of the login shell comes
between, and the exit status, the signals and the three streams are the command's.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from sremote.connectors.errors import UsageError

_PLAIN = re.compile(r"[A-Za-z0-9_./:,@+-]+")
_QUOTABLE = re.compile(r"[ -~]*")
_HARMFUL = re.compile(rb"[^A-Za-z0-9_./:,@+= -]")
_WORD_LIMIT = 960
"""Bytes of one word: the csh of the BSDs and Debian takes 1024."""
LINE_LIMIT = (1 << 17) - 1
"""Bytes that Linux lets one argument have, and a server hands the whole line over as one."""
_DECODE = """'eval "$(IFS=;printf "$*")"'"""


def command_line(argv: Sequence[str]) -> str:
    """Return one line of printable ASCII that any login shell runs as exactly ``argv``.

    Characters that came from undecodable bytes (``os.fsdecode``) go back to these
    bytes.  Raises UsageError for no command, an empty or dashed program name, a
    NUL, or a lone surrogate, none of which a command can hold, and for too long a line.
    """
    check_argv(argv)
    line = _line(argv)
    if len(line) > LINE_LIMIT:
        raise UsageError(
            f"a command of {len(line)} bytes is too long; {LINE_LIMIT} are allowed",
            "Send what is long through the command's standard input, or as a file.",
        )
    return line


def _line(argv: Sequence[str]) -> str:
    if all(_is_quotable(word) for word in argv):
        return "exec " + " ".join(word if _PLAIN.fullmatch(word) else f"'{word}'" for word in argv)
    script = b"exec " + b" ".join(_encode(shlex.quote(word)) for word in argv)
    escaped = _HARMFUL.sub(_escape, script).decode("ascii")
    pieces = re.findall(rf"(?:\\...|[^\\]){{1,{_WORD_LIMIT // 4}}}", escaped)
    return f"exec /bin/sh -c {_DECODE} sh " + " ".join(f"'{piece}'" for piece in pieces)


def check_argv(argv: Sequence[str]) -> None:
    """Raise UsageError where ``argv`` cannot be a command on any host."""
    if isinstance(argv, str):
        raise UsageError(f"a command is a list of words, not {argv!r}", "Write ['sh', '-c', …] for a line of shell.")
    if not argv or not argv[0]:
        raise UsageError("there is no command to run", "Name a program and its arguments.")
    if argv[0].startswith("-"):
        raise UsageError(f"a program cannot be called {argv[0]!r}", f"Write ./{argv[0]} where it is one.")
    for word in argv:
        if "\0" in word:
            raise UsageError(f"a command cannot hold a NUL byte: {word!r}")
        _encode(word)


def _is_quotable(word: str) -> bool:
    return bool(_QUOTABLE.fullmatch(word)) and not set("'\\!") & set(word) and len(word) < _WORD_LIMIT


def _encode(word: str) -> bytes:
    try:
        return word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError(f"a command cannot hold a lone surrogate: {word!r}") from None


def _escape(match: re.Match[bytes]) -> bytes:
    return b"%%" if match[0] == b"%" else b"\\%03o" % ord(match[0])
