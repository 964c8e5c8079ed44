"""Windows for components: of one screen session, of one tmux session, or none at all.

A session has the launch's name, so that a person can attach to it: ``screen -x NAME``,
``tmux attach -t NAME``.  A window outlives its component ("zombie"), unless told
otherwise, so that what it showed can be read.
"""

import os
import re
import shutil
import subprocess
from typing import Dict, Iterator, List, NamedTuple, Sequence

from .errors import SremoteError
from .scope import is_in_session, lingers, runtime_folder

_SETTINGS = ("startup_message off", "defscrollback 10000", "maxwin 2000", "autodetach on")

_OWN_SCOPE = ("systemd-run", "--user", "--scope", "--quiet", "--collect", "--description=sremote launch", "--")


class Window(NamedTuple):
    """A window to open: what it is called, and the command that runs in it."""

    title: str
    argv: Sequence[str]


def multiplexer(wanted: str) -> str:
    """Return which of screen, tmux and "" (none) there is here; ``wanted`` is one of these or "auto"."""
    for name in ("screen", "tmux"):
        if wanted in ("auto", name) and shutil.which(name):
            return name
    return ""


def open_windows(kind: str, session: str, windows: Sequence[Window], zombie: bool, commands: str) -> None:
    """Open windows in the session of that name, which is started where it is not there.

    ``kind`` is as ``multiplexer`` returns it, ``commands`` a file that screen's commands
    may stand in.  Raises SremoteError with what screen or tmux says.
    """
    if kind == "screen":
        _open_in_screen(session, windows, zombie, commands)
    elif kind == "tmux":
        _open_in_tmux(session, windows, zombie)
    else:
        for window in windows:
            _start_alone(window.argv)


def close_session(session: str) -> int:
    """End every session of that name, of screen and of tmux; return how many there were."""
    closed = 0
    if shutil.which("screen"):
        for each in _screens(session):
            _run(["screen", "-S", each, "-X", "quit"])
            closed += 1
    if shutil.which("tmux") and _run(["tmux", "has-session", "-t", "=" + session]).returncode == 0:
        _run(["tmux", "kill-session", "-t", "=" + session])
        closed += 1
    return closed


def attach_command(window: str) -> List[str]:
    """Return the command that shows a window; ``window`` is as the component was told it."""
    if window.startswith("%"):
        return ["tmux", "select-window", "-t", window, ";", "attach-session", "-t", window]
    session, _, number = window.rpartition(":")
    return ["screen", "-x", session, "-p", number]


# screen


def _open_in_screen(session: str, windows: Sequence[Window], zombie: bool, commands: str) -> None:
    settings = list(_SETTINGS) + (["zombie q"] if zombie else [])
    there = _screens(session)
    with open(commands, "w", errors="surrogateescape") as file:
        for line in [*(settings if not there else []), *map(_screen_line, windows)]:
            file.write(line + "\n")
    if there:
        arguments = ["screen", "-S", there[-1], "-X", "source", commands]
    else:
        arguments = ["screen", "-c", commands, "-dmS", session]
    done = _run(arguments) if there else _run_outside(arguments)
    if done.returncode != 0:
        raise SremoteError("screen: {}".format(_said(done)))


def _screen_line(window: Window) -> str:
    return " ".join(["screen", "-t", _for_screen(window.title), *map(_for_screen, window.argv)])


def _for_screen(word: str) -> str:
    """Quote a word for screen's command files: within single quotes all but those stand for themselves."""
    if "\n" in word:
        raise SremoteError("screen cannot be given a newline: {!r}".format(word))
    return "'" + word.replace("'", "'\"'\"'") + "'"


def _screens(session: str) -> List[str]:
    """Return the living screen sessions of this user with that name, as ``PID.NAME``, newest last."""
    listed = _run(["screen", "-ls", session]).stdout.decode("utf-8", "replace")
    found = re.findall(r"^\t(\d+)\.(\S+)\t.*\((?!Dead|Remote)", listed, re.MULTILINE)
    return [number + "." + name for number, name in sorted(found, key=lambda each: int(each[0])) if name == session]


# tmux


def _open_in_tmux(session: str, windows: Sequence[Window], zombie: bool) -> None:
    commands: List[List[str]] = []
    rest = list(windows)
    if _run(["tmux", "has-session", "-t", "=" + session]).returncode != 0:
        first = rest.pop(0)
        commands.append(["new-session", "-d", "-s", session, "-x", "80", "-y", "24", "-n", first.title, *first.argv])
    commands += [["new-window", "-d", "-t", "=" + session + ":", "-n", each.title, *each.argv] for each in rest]
    # Set in the same run, before a component that ends at once can take its window with it.
    keep = [["set-window-option", "-t", "=" + session + ":", "remain-on-exit", "on"]] if zombie else []
    words: List[str] = []
    for command in _interleaved(commands, keep):
        words += [";"] * bool(words) + [_for_tmux(word) for word in command]
    done = (_run if len(rest) == len(windows) else _run_outside)(["tmux", *words])
    if done.returncode != 0:
        raise SremoteError("tmux: {}".format(_said(done)))


def _interleaved(commands: List[List[str]], after: List[List[str]]) -> Iterator[List[str]]:
    for command in commands:
        yield command
        yield from after


def _for_tmux(word: str) -> str:
    return word[:-1] + "\\;" if word.endswith(";") else word


# Neither


def _start_alone(argv: Sequence[str]) -> None:
    """Start a command in the background, where the end of nobody's connection reaches it."""
    _run_outside(["sh", "-c", '"$@" </dev/null >/dev/null 2>&1 &', "sh", *argv])


def _run_outside(argv: List[str]) -> "subprocess.CompletedProcess[bytes]":
    """Run a command whose children outlive the login session, also where its end kills what it has started."""
    if shutil.which("systemd-run") and is_in_session() and lingers():
        os.environ.setdefault("XDG_RUNTIME_DIR", runtime_folder())
        done = _run([*_OWN_SCOPE, *argv])
        if done.returncode == 0:
            return done
    return _run(argv)


def _run(argv: List[str]) -> "subprocess.CompletedProcess[bytes]":
    environment = {name: value for name, value in os.environ.items() if name not in ("STY", "TMUX", "WINDOW")}
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_utf8(environment),
        check=False,
    )


def _utf8(environment: Dict[str, str]) -> Dict[str, str]:
    """Return an environment in which screen and tmux take text for UTF-8."""
    if not any(environment.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG")):
        environment["LC_CTYPE"] = "C.UTF-8"
    return environment


def _said(done: "subprocess.CompletedProcess[bytes]") -> str:
    return done.stdout.decode("utf-8", "replace").strip() or "exit status {}".format(done.returncode)
