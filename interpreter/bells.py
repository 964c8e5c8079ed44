"""How one thread wakes another."""

import contextlib
import threading
import time

TYPE_CHECKING = False  # as typing has it, whose import takes as long as Python's start
if TYPE_CHECKING:
    from typing import Callable, List, Optional


class Bell:
    """Wakes one thread that waits for it, at once or as soon as it waits.

    Anything may ring it, a finalizer too: that is one call into C, which takes no
    lock that its thread may hold already.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wake whoever waits, or whoever waits next."""
        with contextlib.suppress(RuntimeError):  # it has been rung already
            self._lock.release()

    def wait(self, timeout: "Optional[float]" = None) -> bool:
        """Wait until it has been rung since the last wait, up to ``timeout`` seconds; say whether it has."""
        return self._lock.acquire(True, -1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))


def wait_until(bells: "List[Bell]", condition: "Callable[[], object]", timeout: "Optional[float]" = None) -> bool:
    """Wait until ``condition`` holds, and say whether it does; ``bells`` are rung when it may have come to hold.

    ``timeout`` is in seconds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    bell = Bell()
    bells.append(bell)
    try:
        while not condition():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            bell.wait(left)
        return True
    finally:
        bells.remove(bell)


def ring_all(bells: "List[Bell]") -> None:
    """Wake all that wait; each looks for itself whether what it waits for has happened."""
    for bell in tuple(bells):
        bell.ring()
