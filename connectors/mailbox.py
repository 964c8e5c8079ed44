"""Commands with open streams through a mailbox: a process over there that takes letters left for it as files.

``put`` and ``get`` alone carry everything, so a host that gives nothing else can be
used as one that has streams.  The far side is ``interpreter/mailbox.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from sremote.connectors.base import Connector, Process
from sremote.connectors.errors import ConnectionLost
from sremote.connectors.mailbox_post import Post
from sremote.connectors.stream import StreamConnector


class MailboxConnector(StreamConnector):
    """Another connector's host, through a mailbox there.  ``open_mailbox`` has one served, and returns its post."""

    scheme = "mailbox"
    noisy = False

    def __init__(self, connector: Connector, open_mailbox: Callable[[], Post]) -> None:
        super().__init__(connector.address, connect_timeout=connector.connect_timeout)
        self.connector = connector
        self._open_mailbox = open_mailbox
        self._post: Post | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return self.connector.name

    @property
    def post(self) -> Post | None:
        """The letters to and from the mailbox; None before it is opened."""
        return self._post

    def connect(self) -> None:
        self.connector.connect()
        with self._lock:
            if self._post is None or self._post.over:
                self._post = self._open_mailbox()
            elif self._post.failure is not None:
                self._post.revive()

    def close(self) -> None:
        """End the mailbox."""
        with self._lock:
            post, self._post = self._post, None
        if post is not None:
            post.stop()

    def open(self, argv: Sequence[str]) -> Process:
        post = self._post
        if post is None:
            raise ConnectionLost(f"{self.name}: no mailbox is open", "Open one: client.mailbox(...)")
        return post.start(argv)
