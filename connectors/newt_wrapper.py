"""A command through a gateway that carries one line of text there and one text back.

Such a gateway (NEWT) tells no exit status, mixes no bytes into JSON, cuts what takes
long, and may take a request whose answer is then lost.  So the command runs behind a
script of POSIX shell, which

- makes a folder named by a token first: ``mkdir`` succeeds once, so a request that is
  sent again runs nothing twice, and is told what came of it;
- leaves output, errors and exit status in that folder, as files;
- waits some seconds and answers with them in base64, or says where they lie if they
  are large, or that the command still runs: then it is asked again.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sremote.connectors.errors import HostError
from sremote.connectors.shell import command_line

ANSWER_LIMIT = 1 << 16
"""Bytes of output and errors that come back within the answer itself."""
INPUT_LIMIT = 1 << 12
"""Bytes of standard input that go there within the command itself."""

_RUN = """
job=$1 input=$2 size=$3 mask=$4
shift 4
if [ -n "$input" ] && [ "$(wc -c <"$input")" -ne "$size" ]; then
    echo cut >"$job/status.new"
else
    (umask "$mask"; exec "$@") <"${input:-/dev/null}" >"$job/stdout" 2>"$job/stderr"
    echo $? >"$job/status.new"
fi
mv "$job/status.new" "$job/status"
"""
_SCRIPT = r"""
token=$1 spool=$2 seconds=$3 limit=$4 input=$5 size=$6 words=$7 drop=$8 run=$9
shift 9
mask=$(umask)
umask 077
cd && mkdir -p "$spool" || exit
for old in $drop; do rm -rf "$spool/$old" "$spool/$old.in"; done
job=$spool/$token
first=
if [ $# -gt 0 ] && [ ! -d "$job" ]; then
    if mkdir "$job"; then first=yes; elif [ ! -d "$job" ]; then exit 1; fi
fi
if [ -n "$first" ]; then
    if [ -n "$words" ]; then LC_ALL=C printf "$words" >"$job/stdin"; input=$job/stdin; fi
    alone=
    if command -v setsid >/dev/null 2>&1; then alone=setsid; fi
    $alone sh -c "$run" sh "$job" "$input" "$size" "$mask" "$@" </dev/null >/dev/null 2>&1 &
    runner=$!
    trap : USR1
    (n=; trap 'kill $n' TERM; sleep "$seconds" & n=$!; wait $n; kill -USR1 $$) </dev/null >/dev/null 2>&1 &
    timer=$!
    wait $runner
    kill $timer
else
    waited=0
    while [ -d "$job" ] && [ ! -e "$job/status" ] && [ $waited -lt "$seconds" ]; do
        sleep 1
        waited=$((waited + 1))
    done
fi 2>/dev/null
encode() { if command -v base64 >/dev/null 2>&1; then base64; else od -An -v -tx1; fi; }
digest() { { sha256sum || shasum -a 256 || openssl dgst -sha256 -r; } <"$1" 2>/dev/null | cut -c1-64; }
if [ -e "$job/status" ]; then
    read -r status <"$job/status"
    out=0 err=0
    if [ -e "$job/stdout" ]; then
        out=$(($(wc -c <"$job/stdout")))
        err=$(($(wc -c <"$job/stderr")))
    fi
    if [ $((out + err)) -gt "$limit" ]; then
        printf '\n%s left %s %s %s %s %s %s\n' "$token" "$status" $out $err \
            "$(digest "$job/stdout")" "$(digest "$job/stderr")" "$token"
    else
        printf '\n%s ended %s %s %s\n' "$token" "$status" $out $err
        if [ $out -gt 0 ]; then encode <"$job/stdout"; fi
        printf '\n%s\n' "$token"
        if [ $err -gt 0 ]; then encode <"$job/stderr"; fi
        printf '\n%s\n' "$token"
    fi
elif [ -d "$job" ]; then
    printf '\n%s running %s\n' "$token" "$token"
else
    printf '\n%s missing %s\n' "$token" "$token"
fi
"""


@dataclass(frozen=True)
class Left:
    """Output that lies in a file of the command's folder: its size, and its SHA-256 where the host could tell."""

    size: int
    digest: str


@dataclass(frozen=True)
class Answer:
    """What came of a command: its status and its output, or where that lies; nothing of these while it runs."""

    running: bool = False
    missing: bool = False
    """Nobody has asked for this command yet."""
    cut: bool = False
    """Its input had not arrived whole, so it was not started."""
    status: int = 0
    stdout: bytes | Left = b""
    stderr: bytes | Left = b""


def wrapped_line(
    argv: Sequence[str],
    token: str,
    *,
    spool: str,
    seconds: int,
    stdin: bytes = b"",
    input_file: str = "",
    input_size: int = 0,
    drop: Sequence[str] = (),
) -> str:
    """Return the line that runs ``argv`` behind the script, or, without ``argv``, asks what came of it.

    ``spool`` is the folder of the commands' folders, from home.  ``stdin`` goes along
    in the line; ``input_file`` names a file there, with the size that it must have.
    ``drop`` names the tokens of commands whose answers have arrived.  Gateways that
    split the line into words themselves understand it as well as shells do.
    """
    size = input_size or len(stdin)
    options = [spool, str(seconds), str(ANSWER_LIMIT), input_file, str(size), _printf_format(stdin), " ".join(drop)]
    return bare_line(["/bin/sh", "-c", _SCRIPT, "sh", token, *options, _RUN, *argv])


def bare_line(argv: Sequence[str]) -> str:
    """Return the line for ``argv`` with no script around it."""
    return command_line(argv).removeprefix("exec ")


def read_answer(output: str, error: str, token: str, where: str) -> Answer:
    """Return what the script said in a gateway's ``output``; what login scripts print around it is left out.

    Raises HostError where it said nothing, with the host's own words.
    """
    match = re.search(rf"^{token} (\w+) ?(.*)$", output, re.MULTILINE)
    if match is None:
        words = (error.strip() or output.strip()).splitlines()
        raise HostError(
            f"{where}: the command was not started: {words[-1] if words else 'the gateway shows no output'}",
            "See what the gateway does with the command: /bin/echo hello",
        )
    word, fields = match[1], match[2].split(" ")
    if word in ("running", "missing"):
        return Answer(running=word == "running", missing=word == "missing")
    cut, status = fields[0] == "cut", int(fields[0]) if fields[0].isdigit() else 0
    if word == "left":
        return Answer(
            status=status, stdout=Left(int(fields[1]), fields[3]), stderr=Left(int(fields[2]), fields[4]), cut=cut
        )
    parts = output[match.end() :].split(f"\n{token}\n")
    if len(parts) < 3:
        raise HostError(f"{where}: the gateway cut the command's output", "Ask who runs it for its limit.")
    stdout, stderr = _decode(parts[0]), _decode(parts[1])
    if (len(stdout), len(stderr)) != (int(fields[1]), int(fields[2])):
        raise HostError(f"{where}: the gateway changed the command's output on its way")
    return Answer(status=status, stdout=stdout, stderr=stderr, cut=cut)


def _printf_format(data: bytes) -> str:
    """Return ``data`` as printf's format: words hold no NUL."""
    return os.fsdecode(data.replace(b"\\", b"\\\\").replace(b"%", b"%%").replace(b"\0", b"\\000"))


def _decode(text: str) -> bytes:
    """Read base64, or what od prints: pairs of digits, each with a space before it."""
    try:
        if re.match(r"\s* [0-9a-f]{2}(\s|$)", text):
            return bytes.fromhex(text)
        return base64.b64decode("".join(text.split()), validate=True)
    except (ValueError, binascii.Error):
        return b""
