"""Threads that work on many hosts at once, and that nobody has to wait for when the program ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Workers:
    """Runs functions in threads, at most ``limit`` at the same time."""

    def __init__(self, limit: int) -> None:
        self._places = threading.Semaphore(limit)

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Run ``function`` as soon as there is a place for it."""
        future: Future[T] = Future()

        def work() -> None:
            with self._places:
                if not future.set_running_or_notify_cancel():
                    return
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)

        threading.Thread(target=work, name="sremote launch", daemon=True).start()
        return future
