"""The same call on many hosts at once."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sremote.interpreter.object_proxies import RemoteProxy
from sremote.objects.client import ObjectClient


def call_multi(clients: Iterable[ObjectClient], name: str, *args: Any, **kwargs: Any) -> list[Any]:
    """Call a function on all of the clients at once, wait for all, and return their values in order."""
    return _gather(clients, lambda client: client.call(name, *args, **{**kwargs, "nonblocking": True}))


def eval_multi(clients: Iterable[ObjectClient], source: str, **how: Any) -> list[Any]:
    """Evaluate an expression on all of the clients at once."""
    return _gather(clients, lambda client: client.eval(source, **{**how, "nonblocking": True}))


def execblock_multi(clients: Iterable[ObjectClient], source: str, **how: Any) -> list[Any]:
    """Run a block of code on all of the clients at once."""
    return _gather(clients, lambda client: client.execblock(source, **{**how, "nonblocking": True}))


def call_method_multi(proxies: Iterable[RemoteProxy], method: str, *args: Any, **kwargs: Any) -> list[Any]:
    """Call a method of all the objects at once."""
    return _gather(proxies, lambda proxy: proxy.raw_call_method(method, *args, **{**kwargs, "nonblocking": True}))


def _gather(targets: Iterable[Any], start: Callable[[Any], Any]) -> list[Any]:
    """Start a call on each, wait for all, and raise what the first raised that failed."""
    responses = [start(target) for target in targets]
    failure: BaseException | None = None
    values = []
    for response in responses:
        try:
            values.append(response.wait())
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return values


class ClientGroup:
    """Clients whose calls are waited for together."""

    def __init__(self, clients: Sequence[ObjectClient] = ()) -> None:
        self.clients = list(clients)

    def add_client(self, client: ObjectClient) -> None:
        """Wait for the answers of that client, too."""
        self.clients.append(client)

    def remove_client(self, client: ObjectClient) -> None:
        """Wait for them no longer."""
        self.clients.remove(client)

    def read_responses(self, timeout: float | None = None, max: int = 0) -> int:  # noqa: A002 - the name it has always had
        """Wait up to ``timeout`` seconds for calls to end, and call their completions; return how many there were.

        It returns once there was one, and has taken up to ``max`` (0: all there are).
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            count = 0
            for client in self.clients:
                count += len(client._connection.take_in(block=False))
                if max and count >= max:
                    return count
            left = None if deadline is None else deadline - time.monotonic()
            if count or not self.clients or (left is not None and left <= 0):
                return count
            select.select(self.clients, [], [], left)
