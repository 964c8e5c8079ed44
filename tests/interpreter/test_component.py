"""A component's terminal: what is typed and printed passes through, and what happened is kept as of any job."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sremote.interpreter import component, components
from sremote.interpreter.job import Job
from sremote.interpreter.summary import read_header

PATIENCE = 30.0


class Window:
    """A window that runs a component, as screen would open it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.shown = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            status = 70
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
                status = component.main(job.directory)
            finally:
                os._exit(status)

    def read_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.shown
            if select.select([self.master], [], [], 0.02)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:
                    data = b""
                self.shown += data
                if not data:
                    break

    def wait(self) -> int:
        """Read what it shows to its end; return its exit status."""
        self.read_until(lambda: False)
        status = os.waitpid(self.pid, 0)[1]
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)

    @property
    def output(self) -> bytes:
        path = Path(self.job.path("stdout"))
        return path.read_bytes() if path.exists() else b""


Open = Callable[..., Window]


@pytest.fixture
def open_window(tmp_path: Path) -> Open:
    """Opens a window for a shell script, or for a command."""

    def open_window(script: str = "", **changes: object) -> Window:
        job = Job(str(tmp_path / "jobs" / "job1"))
        description = {
            "id": "job1",
            "name": "web",
            "argv": ["/bin/sh", "-c", script],
            "folder": str(tmp_path),
            "temporary": False,
            "variables": {"GREETING": "a=b"},
            **changes,
        }
        components._accept(job, "runner", description)
        return Window(job)

    return open_window


def test_output_is_shown_and_kept_and_the_status_is_known(open_window: Open, tmp_path: Path) -> None:
    window = open_window('echo "$GREETING"; stty size; pwd; printf "no end" >&2; exit 3', done=f"{tmp_path}/done")
    assert window.wait() == 3
    lines = f"a=b\n33 111\n{tmp_path}\nno end".encode()
    assert window.output == lines + b"\n" * (not window.output.endswith(b"no end"))
    assert lines.replace(b"\n", b"\r\n") in window.shown
    assert b"[web: exit status 3]" in window.shown
    header = read_header(window.job)
    assert (header["outcome"], header["status"], header["target"]) == ("exited", 3, "command")
    assert json.loads(Path(window.job.path("started")).read_text())["time"] > 0
    assert (tmp_path / "done").read_text() == "3\n"


def test_what_is_typed_reaches_it_and_the_window_may_change_its_size(open_window: Open) -> None:
    window = open_window("trap 'stty size' WINCH; echo ready; until read line; do :; done; echo got $line")
    window.read_until(lambda: b"ready" in window.shown)
    fcntl.ioctl(window.master, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 70, 0, 0))
    window.read_until(lambda: b"20 70" in window.shown)
    os.write(window.master, b"hello\r")
    assert window.wait() == 0
    assert window.output.endswith(b"got hello\n")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"argv": ["/no/such"]}, "/no/such: No such file"),
        ({"argv": ["/etc/passwd"]}, "/etc/passwd: Permission"),
        ({"folder": "/no"}, "/no: No such"),
    ],
)
def test_what_cannot_be_started_is_told(open_window: Open, changes: dict[str, object], said: str) -> None:
    window = open_window(**changes)
    assert window.wait() == 127
    header = read_header(window.job)
    assert (header["outcome"], header["reason"]) == ("refused", "command")
    assert said in header["text"]
    assert not Path(window.job.path("started")).exists()


@pytest.mark.parametrize("ignores", [False, True])
def test_closing_the_window_ends_it_with_all_it_has_started(
    open_window: Open, monkeypatch: pytest.MonkeyPatch, ignores: bool
) -> None:
    monkeypatch.setattr(component, "GRACE", 0.2)
    trap = "trap '' HUP TERM;" if ignores else ""
    window = open_window(f"{trap} (setsid sleep 1000 & echo $!); echo ready; while :; do sleep 0.1; done")
    window.read_until(lambda: b"ready" in window.shown)
    child = int(window.output.split()[0])
    os.close(window.master)
    deadline = time.monotonic() + PATIENCE
    while not window.job.finished():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.waitpid(window.pid, 0)
    assert read_header(window.job)["signal"] == (signal.SIGKILL if ignores else signal.SIGHUP)
    assert not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]


def test_a_signal_that_ends_it_is_told(open_window: Open) -> None:
    window = open_window("kill -9 $$")
    assert window.wait() == 128 + 9
    assert b"[web: signal 9]" in window.shown
    assert read_header(window.job)["signal"] == 9


def test_it_is_run_once(open_window: Open, tmp_path: Path) -> None:
    first = open_window("echo x >> count")
    assert first.wait() == 0
    second = Window(first.job)
    assert second.wait() == component.EXIT_CLAIMED
    assert (tmp_path / "count").read_text() == "x\n"


def test_without_a_window_it_has_a_terminal_all_the_same(open_window: Open, tmp_path: Path) -> None:
    window = open_window("exit 0")
    window.wait()
    window.job.drop()
    description = {"id": "job2", "name": "n", "folder": str(tmp_path), "temporary": False, "variables": {}}
    job = Job(str(tmp_path / "jobs" / "job2"))
    components._accept(job, "runner", {**description, "argv": ["/bin/sh", "-c", "tty >/dev/null && stty size"]})
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os._exit(component.main(job.directory))
    assert os.waitpid(pid, 0)[1] == 0
    assert Path(job.path("stdout")).read_text() == "24 80\n"


def test_what_it_shows_goes_on_where_its_output_cannot_be_kept(
    open_window: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(component.Terminal, "_output_path", lambda self: "/dev/full")
    window = open_window("echo one; echo two")
    assert window.wait() == 0
    assert b"its output cannot be kept: No space left on device" in window.shown
    assert b"two" in window.shown
