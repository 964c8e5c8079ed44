"""The process that runs a worker's tasks, as the worker sees it: hands it tasks, hears of it, replaces it."""

import contextlib
import os
import select
import signal
import time
from typing import List, NoReturn

from .queue_executor import TOKEN, Executor, Outputs
from .queue_journal import Journal

_TOKENS_AT_ONCE = 4096 // TOKEN.size
"""A write of so many is one write, and no reader finds half a token (pipe(7), PIPE_BUF)."""

_TO_END = 1.0
"""Seconds for an executor that has nothing to do to end."""


class Crew:
    """The executor that runs a worker's tasks, forked when there are some and it is not there."""

    def __init__(self, folder: str, journal: Journal) -> None:
        self._folder = folder
        self._journal = journal
        self.outputs = Outputs()
        self._pid = 0
        self._unread = self._tokens = self._notices = -1
        self.last_words = ""

    def hand_out(self, tokens: List[bytes]) -> None:
        """Have tasks run."""
        if not self._pid:
            self._fork()
        for start in range(0, len(tokens), _TOKENS_AT_ONCE):
            os.write(self._tokens, b"".join(tokens[start : start + _TOKENS_AT_ONCE]))

    def listen(self, wakeup: int, timeout: float) -> str:
        """Return "idle" where the executor has found nothing to do, "dead" where it has died, else ""."""
        readable, _, _ = select.select([self._notices, wakeup], [], [], timeout)
        if wakeup in readable:
            os.read(wakeup, 512)
        # Not by the end of its pipe alone, which a process that a task has started may hold open.
        if self._has_ended():
            return "dead"
        if self._notices not in readable:
            return ""
        return "idle" if os.read(self._notices, 512) else "dead"

    def take_back(self) -> List[int]:
        """Return the tasks that were handed out and not begun; nobody else will begin them now."""
        tasks: List[int] = []
        while True:
            try:
                data = os.read(self._unread, TOKEN.size * _TOKENS_AT_ONCE)
            except BlockingIOError:
                return tasks
            tasks.extend(task for _, task, _, _, _ in TOKEN.iter_unpack(data))

    def bury(self) -> int:
        """Clear away an executor that has died; return its wait status."""
        self._kill_children()  # now, as its number may be another's once it has been waited for
        _, status = os.waitpid(self._pid, 0)
        for descriptor in (self._unread, self._tokens, self._notices):
            os.close(descriptor)
        self._pid = 0
        self.last_words = "wait status {}".format(status)
        return status

    def dismiss(self, idle: bool = False) -> None:
        """Stop the executor with all its children; where it is ``idle``, let it end by itself first."""
        if self._pid and idle:
            os.close(self._tokens)
            self._tokens = os.open(os.devnull, os.O_WRONLY)
            deadline = time.monotonic() + _TO_END
            while not self._has_ended() and time.monotonic() < deadline:
                select.select([self._notices], [], [], 0.02)
        if self._pid:
            self._kill_children()
            os.kill(self._pid, signal.SIGKILL)
            self.bury()

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS, before Python 3.13
            return False
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _kill_children(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self._pid, signal.SIGKILL)

    def _fork(self) -> None:
        self._unread, self._tokens = os.pipe()
        self._notices, notices = os.pipe()
        os.set_blocking(self._unread, False)
        pid = os.fork()
        if pid == 0:
            self._be_executor(notices)
        os.close(notices)
        self._pid = pid

    def _be_executor(self, notices: int) -> NoReturn:
        try:
            os.close(self._tokens)
            os.close(self._notices)
            Executor(self._folder, self._journal, self.outputs, self._unread, notices).run()
        finally:
            os._exit(70)
