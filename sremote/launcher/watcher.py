"""Watches the components of one host, and passes on what happens to them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sremote.connectors.base import Capability
from sremote.errors import LineError, SremoteError
from sremote.interpreter.components import OUTPUT_LIMIT
from sremote.launcher.host_link import HostLink
from sremote.reconnect import again

PATIENCE = 0.5
"""Seconds that the host waits for news before it says that there are none."""
PATIENCE_WITHOUT_STREAM = 5.0
"""The same where each look costs a request."""
PAUSE = 0.05
"""Seconds between news and the next look, so that what is printed comes in larger pieces."""

News = dict[str, Any]


class Watcher:
    """Watches from its own thread; ``tell`` gets a job's id and its news, or None and why nothing comes any more."""

    def __init__(self, link: HostLink, tell: Callable[[str | None, News | SremoteError], None]) -> None:
        self._link = link
        self._tell = tell
        self._offsets: dict[str, int] = {}
        self._ready: dict[str, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, job_id: str, ready: dict[str, Any] | None) -> None:
        """Watch a component's job from now on; ``ready`` is what it is waited for."""
        with self._changed:
            self._offsets[job_id] = 0
            if ready is not None:
                self._ready[job_id] = ready
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name=f"sremote watch {self._link.name}", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Watch no longer, and wait until nothing is asked of the host any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(2 * PATIENCE)

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._offsets or self._closed)
                if self._closed:
                    return
                offsets, ready = dict(self._offsets), dict(self._ready)
            try:
                news = self._ask(offsets, ready)
            except SremoteError as error:
                if not self._closed:
                    self._tell(None, error)
                return
            self._take(news)
            if not any(len(each.get("output", b"")) == OUTPUT_LIMIT for each in news.values()):
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, PAUSE)

    def _ask(self, offsets: dict[str, int], ready: dict[str, dict[str, Any]]) -> dict[str, News]:
        streams = Capability.STREAM in self._link.client.host.connector.capabilities
        patience = PATIENCE if streams else PATIENCE_WITHOUT_STREAM
        try:
            return self._link.watch(offsets, ready, patience)
        except LineError:
            return again(self._link.client.host.connector, lambda: self._link.watch(offsets, ready, patience))

    def _take(self, news: dict[str, News]) -> None:
        with self._changed:
            for job_id, each in news.items():
                if "output" in each:
                    self._offsets[job_id] += len(each["output"])
                if "ready" in each:
                    self._ready.pop(job_id, None)
                if "ended" in each:
                    self._offsets.pop(job_id, None)
                    self._ready.pop(job_id, None)
        for job_id, each in news.items():
            self._tell(job_id, each)
