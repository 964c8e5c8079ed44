"""Runs one component of a launch on a terminal of its own, keeps what it prints, and says how it ended.

Started as ``python -c START FOLDER DIRECTORY``, in a window of screen or tmux or in
the background; FOLDER is this one, DIRECTORY the job's.  The component gets a terminal (a pty) that is
connected to the window's, so that who attaches sees it and types to it.  What it
prints goes to the job's ``stdout`` as well, and the response tells how it ended, as
with any job.

One such process is started for each component, so what this module imports is what a
start costs; json, typing and signal would double that.
"""

import fcntl
import os
import select
import sys
import termios
from time import monotonic, time

from .processes import describe_process
from .starting import start_line

try:
    import _signal as signals  # type: ignore[import-not-found, unused-ignore]  # without its enums
except ImportError:
    import signal as signals
try:
    from _json import encode_basestring_ascii as quoted
except ImportError:  # PyPy
    from json import dumps as quoted

TYPE_CHECKING = False  # as typing has it
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, NoReturn, Optional

START = start_line("component")
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL, where the window is closed."""
EXIT_CLAIMED = 75
"""EX_TEMPFAIL of sysexits.h: another process has the job."""
_ROOM = 1 << 20
"""Bytes that may wait for a window that does not take them, as while somebody scrolls back; the oldest go."""
_READ = 1 << 16
_SIZE = b"\x18\x00\x50\x00" + bytes(4)  # 24 lines of 80 columns, where there is no window


class Component:
    """What the file ``component`` in the job's directory says: ``key=value`` entries, each ended by a zero byte."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.id = os.path.basename(directory)
        self.name = self.launch = self.folder = ""
        self.done = ""
        """A file that gets its exit status when it has ended; "" for none."""
        self.argv: "List[str]" = []
        self.variables: "Dict[str, str]" = {}
        self.temporary = False
        """Whether its folder was made for it, and goes with it."""
        with open(os.path.join(directory, "component"), "rb") as file:
            entries = file.read().split(b"\0")
        for entry in entries[:-1]:
            key, _, text = os.fsdecode(entry).partition("=")
            if key == "argument":
                self.argv.append(text)
            elif key == "variable":
                name, _, value = text.partition("=")
                self.variables[name] = value
            elif key == "temporary":
                self.temporary = text == "yes"
            elif key in ("name", "launch", "folder", "done"):
                setattr(self, key, text)


def main(directory: str) -> int:
    """Run the component whose job has that directory; return its exit status."""
    if not os.isatty(0):
        attempt(os.setsid)  # in the background; a window has a session of its own
    return Terminal(Component(os.path.abspath(directory))).run()


class Terminal:
    """The component's terminal, between it and the window."""

    def __init__(self, component: Component) -> None:
        self._component = component
        self._window = os.isatty(0)
        self._master, self._slave = os.openpty()
        self._modes = termios.tcgetattr(0) if self._window else None
        self._output = os.open(self._output_path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._waiting = b""
        """What the window has not taken yet."""
        self._typed = b""
        """What the component has not taken yet."""
        self._carriage_return = False
        self._failed = False
        self._hung_up = False
        self._deadline: "Optional[float]" = None
        self._pid = 0

    def run(self) -> int:
        """Run the component to its end and write its response; return its exit status."""
        os.close(os.open(os.path.join(self._component.directory, "stderr"), os.O_WRONLY | os.O_CREAT, 0o600))
        self._take_size()
        wake = self._catch_signals()
        began = time()
        go, went = os.pipe()
        trouble, told = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(went)
            os.close(trouble)
            self._become(go, told)
        for end in (go, told, self._slave):
            os.close(end)
        if not self._claim():
            os.close(went)
            os.waitpid(self._pid, 0)
            sys.stderr.write("sremote: {} has been run already\n".format(self._component.id))
            return EXIT_CLAIMED
        os.write(went, b"1")
        os.close(went)
        refused = os.read(trouble, 4096).decode("utf-8", "replace")
        os.close(trouble)
        if not refused:
            started = os.path.join(self._component.directory, "started")
            _write(
                started, '{{"window": {}, "time": {!r}}}'.format(quoted(_window_name() if self._window else ""), began)
            )
        if self._modes is not None:
            _set_raw(self._modes)
        status = self._relay(wake)
        return self._conclude(began, status, refused)

    def _output_path(self) -> str:
        return os.path.join(self._component.directory, "stdout")

    # The component

    def _become(self, go: int, told: int) -> "NoReturn":
        """Be the component's process: never returns."""
        try:
            os.setsid()
            fcntl.ioctl(self._slave, termios.TIOCSCTTY, 0)
            for number in (0, 1, 2):
                os.dup2(self._slave, number)
            signals.set_wakeup_fd(-1)
            for number in (
                signals.SIGCHLD,
                signals.SIGHUP,
                signals.SIGTERM,
                signals.SIGINT,
                signals.SIGWINCH,
                signals.SIGPIPE,
            ):
                signals.signal(number, signals.SIG_DFL)
            if os.read(go, 1) != b"1":
                os._exit(EXIT_CLAIMED)
            component = self._component
            os.environ.pop("SREMOTE_PYTHON", None)
            os.environ.update(component.variables)
            os.environ["SREMOTE_JOB"] = component.id
            what = component.folder
            try:
                os.chdir(component.folder)
                what = component.argv[0]
                os.execvp(what, component.argv)
            except (OSError, ValueError) as error:
                os.write(told, "{}: {}".format(what, getattr(error, "strerror", error)).encode("utf-8", "replace"))
        finally:
            os._exit(127)

    def _claim(self) -> bool:
        """Make the component's process the one that runs the job; False where another does."""
        place = os.path.join(self._component.directory, "claim")
        aside = "{}.{}".format(place, self._pid)
        process = describe_process(self._pid)
        os.mkdir(aside, 0o700)
        with open(os.path.join(aside, "owner"), "w") as file:
            file.write(
                '{{"host": {}, "boot": {}, "pid": {}, "started": {}}}'.format(
                    quoted(process["host"]), quoted(process["boot"]), process["pid"], quoted(process["started"])
                )
            )
        try:
            os.rename(aside, place)
        except OSError:
            os.unlink(os.path.join(aside, "owner"))
            os.rmdir(aside)
            return False
        return True

    # The window

    def _catch_signals(self) -> int:
        wake, woken = os.pipe()
        for end in (wake, woken):
            os.set_blocking(end, False)
        signals.set_wakeup_fd(woken)
        signals.signal(signals.SIGCHLD, lambda *_: None)
        signals.signal(signals.SIGWINCH, lambda *_: self._take_size())
        signals.signal(signals.SIGTERM, lambda *_: self._hang_up())
        signals.signal(signals.SIGINT, lambda *_: self._hang_up())
        signals.signal(signals.SIGHUP, (lambda *_: self._hang_up()) if self._window else signals.SIG_IGN)
        signals.signal(signals.SIGPIPE, signals.SIG_IGN)
        return wake

    def _take_size(self) -> None:
        """Give the component's terminal the size of the window."""
        size = _SIZE
        if self._window:
            try:
                size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
            except OSError:
                return
        attempt(fcntl.ioctl, self._master, termios.TIOCSWINSZ, size)

    def _hang_up(self) -> None:
        """Stop the component, as its window is being closed."""
        self._hung_up = True

    def _relay(self, wake: int) -> int:
        """Pass on what is typed and printed until the component has ended; return its wait status."""
        os.set_blocking(self._master, False)
        if self._window:
            os.set_blocking(1, False)
        while True:
            ended, status = os.waitpid(self._pid, os.WNOHANG)
            if ended:
                while self._take_output():
                    pass
                return status
            if self._hung_up:
                self._stop()
            reading = [wake, self._master]
            if self._window and len(self._typed) < _ROOM:
                reading.append(0)
            writing = ([1] if self._waiting else []) + ([self._master] if self._typed else [])
            pause = None if self._deadline is None else 0.05
            readable, writable, _ = select.select(reading, writing, [], pause)
            if wake in readable:
                os.read(wake, 4096)
            if self._master in readable and not self._take_output():
                # Nobody has the terminal open any more, though the component lives on: its end will wake this.
                select.select([wake], [], [], 0.2)
            if 1 in writable:
                self._show(b"")
            if 0 in readable:
                self._take_input()
            elif self._master in writable:
                self._type(b"")

    def _take_output(self) -> bool:
        """Pass on what the component has printed; say whether there was anything."""
        try:
            data = os.read(self._master, _READ)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last process that had it open has gone
            return False
        self._keep(data)
        self._show(data)
        return bool(data)

    def _keep(self, data: bytes) -> None:
        """Add to the job's output, with lines that end as in a file, not as on a terminal."""
        if self._carriage_return:
            data = b"\r" + data
        self._carriage_return = data.endswith(b"\r")
        if self._carriage_return:
            data = data[:-1]
        data = data.replace(b"\r\n", b"\n")
        try:
            while data:
                data = data[os.write(self._output, data) :]
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._show("\r\n[sremote: its output cannot be kept: {}]\r\n".format(error.strerror).encode())

    def _show(self, data: bytes) -> None:
        if not self._window:
            return
        self._waiting = (self._waiting + data)[-_ROOM:]
        try:
            self._waiting = self._waiting[os.write(1, self._waiting) :]
        except BlockingIOError:
            pass
        except OSError:
            self._waiting = b""

    def _take_input(self) -> None:
        try:
            data = os.read(0, _READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._window = False
            self._hang_up()
            return
        self._type(data)

    def _type(self, data: bytes) -> None:
        self._typed += data
        try:
            self._typed = self._typed[os.write(self._master, self._typed) :]
        except BlockingIOError:
            pass
        except OSError:
            self._typed = b""

    def _stop(self) -> None:
        now = monotonic()
        if self._deadline is None:
            self._deadline = now + GRACE
            for number in (signals.SIGHUP, signals.SIGTERM, signals.SIGCONT):
                self._signal(self._pid, number)
        elif now > self._deadline:
            self._deadline = now + GRACE
            self._signal(self._pid, signals.SIGKILL)

    def _signal(self, leader: "Optional[int]", number: int) -> None:
        """Send a signal to all processes of the component, which began as ``leader``."""
        from .family import families, kill_family

        kill_family(families({self._component.id: leader}), number)

    # The end

    def _conclude(self, began: float, status: int, refused: str) -> int:
        from .job import Job
        from .responses import respond

        if self._hung_up:
            self._signal(None, signals.SIGKILL)
        if self._carriage_return:
            self._keep(b"\n")
        outcome: "Dict[str, Any]" = {"outcome": "exited", "status": os.WEXITSTATUS(status)}
        code = os.WEXITSTATUS(status)
        words = "exit status {}".format(code)
        if refused:
            outcome, words = {"outcome": "refused", "reason": "command", "text": refused}, refused
        elif os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            outcome, words = {"outcome": "killed", "signal": number, "out_of_memory": False}, "signal {}".format(number)
            code = 128 + number
        if self._component.done:
            attempt(_write, self._component.done, "{}\n".format(code))
        request = {"id": self._component.id, "target": {"kind": "command"}}
        try:
            respond(Job(self._component.directory), request, started=began, **outcome)
        except OSError as error:
            words += "; that cannot be kept: {}".format(error.strerror)
        self._show("\r\n[{}: {}]\r\n".format(self._component.name, words).encode("utf-8", "replace"))
        if self._modes is not None:
            os.set_blocking(1, True)
            while self._window and self._waiting:
                self._show(b"")
            attempt(termios.tcsetattr, 0, termios.TCSANOW, self._modes)
        return code


def attempt(call: "Callable[..., object]", *arguments: object) -> None:
    """Make a call of the system whose refusal does not matter."""
    try:
        call(*arguments)
    except (OSError, termios.error):
        return


def _write(path: str, text: str) -> None:
    """Write a file in one step."""
    with open(path + ".part", "w") as file:
        file.write(text)
    os.rename(path + ".part", path)


def _window_name() -> str:
    """Return what screen or tmux calls the window: ``PID.SESSION:NUMBER`` or ``%PANE``; "" for none."""
    pane, session = os.environ.get("TMUX_PANE"), os.environ.get("STY")
    return pane or (session + ":" + os.environ.get("WINDOW", "") if session else "")


def _set_raw(modes: "List[Any]") -> None:
    """Have the window pass every key as it is: the component's own terminal gives them their meaning."""
    raw = [*modes[:6], list(modes[6])]
    raw[0] &= ~(termios.BRKINT | termios.ICRNL | termios.INPCK | termios.ISTRIP | termios.IXON)
    raw[1] &= ~termios.OPOST
    raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    raw[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
    raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
    termios.tcsetattr(0, termios.TCSANOW, raw)
