"""A ``concurrent.futures.Executor`` whose calls run on a host, and maps in chunks.

Its threads wait here while the host works; so all that the standard library says of
executors and futures holds, as its own thread pool sees to that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sremote.allowed import allowed_types
from sremote.bars import bars
from sremote.errors import UsageError
from sremote.functions import add_function
from sremote.interpreter.wire import Header, Message
from sremote.job_status import Progress
from sremote.response import Response
from sremote.submission import Wishes
from sremote.surroundings import Surroundings

if TYPE_CHECKING:
    from sremote.client import Client

P = ParamSpec("P")
T = TypeVar("T")

AddTarget = Callable[[Message], Header]
"""Adds a function to a request, and returns its target."""
CHUNKS_FOR_EACH = 4
"""Chunks of a map for each worker, so that a slow one does not keep the others waiting for long."""
CHUNK_BYTES = 16 << 20
"""Bytes of a chunk's large items, at most."""


class Executor(ThreadPoolExecutor):
    """Made by ``Client.executor``.

    ``submit`` sends the function as ``call_function`` does; where that cannot be, the
    future has the error.  A call that is under way cannot be cancelled.
    """

    def __init__(self, client: Client, workers: int, wishes: Wishes, surroundings: Surroundings) -> None:
        if workers < 1:
            raise UsageError(f"{workers} workers cannot do anything")
        super().__init__(workers, thread_name_prefix=f"sremote {client.host.name}")
        self.workers = workers
        self._client = client
        self._wishes = wishes
        self._surroundings = surroundings

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` called on the host."""

        def call() -> T:
            add_target = self._sender(fn, (args, kwargs))
            value: T = self._perform(add_target, list(args), kwargs, _name(fn)).result()
            return value

        return super().submit(call)

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """Call ``fn`` on the host as ``map`` does; ``chunksize`` items at a time in one process there."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        items = list(zip(*iterables, strict=False))
        chunks = [items[start : start + chunksize] for start in range(0, len(items), chunksize)]
        add_target = self._sender(fn, items)
        end = None if timeout is None else time.monotonic() + timeout
        perform = self._chunk(add_target, _name(fn))
        futures = [super(Executor, self).submit(perform, part) for part in chunks]
        return _values(futures, len(items), _name(fn), show=False, end=end)

    def submit_batch(
        self, calls: Sequence[tuple[Callable[..., Any], Sequence[Any], dict[str, Any]]]
    ) -> Future[list[Any]]:
        """Have several calls made one after the other, in one process if they are of one function."""

        def perform() -> list[Any]:
            function, _, keywords = calls[0]
            if all(other is function and given == keywords for other, _, given in calls):
                items = [list(args) for _, args, _ in calls]
                add_target = self._sender(function, (items, keywords))
                return list(self._perform(add_target, [items], keywords, _name(function), each=True).results())
            return [
                self._perform(self._sender(each, (args, given)), list(args), given, _name(each)).result()
                for each, args, given in calls
            ]

        return super().submit(perform)

    def _sender(self, function: Callable[..., Any], values: Any) -> AddTarget:
        self._client._exchange.prepare()
        return lambda request: add_function(request, function, self._client.host, allowed_types, values)

    def _perform(
        self, add_target: AddTarget, args: list[Any], kwargs: dict[str, Any], label: str, *, each: bool = False
    ) -> Response:
        """Make one call on the host, and return its response."""
        request = Message({"each": True} if each else {})
        target = add_target(request)
        return self._client._perform(request, target, args, kwargs, self._surroundings, self._wishes.named(label))

    def _chunk(self, add_target: AddTarget, label: str) -> Callable[[Sequence[Any]], Response]:
        return lambda items: self._perform(add_target, [[list(item) for item in items]], {}, label, each=True)


def call_each(
    executor: Executor, add_target: AddTarget, items: Sequence[Sequence[Any]], chunk: int | None, label: str, show: bool
) -> Iterator[Any]:
    """Call a function with each of many arguments, on an executor that is then shut down; yield the values in order."""
    if chunk is not None and chunk < 1:
        raise UsageError(f"a chunk of {chunk} items cannot be")
    most = chunk or max(1, -(-len(items) // (executor.workers * CHUNKS_FOR_EACH)))
    perform = executor._chunk(add_target, label)
    futures = [ThreadPoolExecutor.submit(executor, perform, part) for part in chunks_of(items, most)]
    executor.shutdown(wait=False)
    return _values(futures, len(items), label, show=show)


def _values(
    futures: Sequence[Future[Response]], total: int, label: str, *, show: bool, end: float | None = None
) -> Iterator[Any]:
    done = 0
    try:
        with bars(wanted=show) as shown:
            for future in futures:
                left = None if end is None else max(0.0, end - time.monotonic())
                response = future.result(left)
                for value in response.results():
                    done += 1
                    yield value
                if shown is not None:
                    shown.show(label, Progress(done, total, ""))
    finally:
        for future in futures:
            future.cancel()


def chunks_of(items: Sequence[Sequence[Any]], most: int) -> Iterator[Sequence[Sequence[Any]]]:
    """Cut ``items`` into chunks of at most ``most``, and fewer where they are large."""
    start, size = 0, 0
    for position, item in enumerate(items):
        weight = sum(_size(part) for part in item)
        if position - start == most or (size + weight > CHUNK_BYTES and position > start):
            yield items[start:position]
            start, size = position, 0
        size += weight
    if start < len(items):
        yield items[start:]


def _size(value: Any) -> int:
    """Return about how many bytes a value has, where it may have many."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size
    return len(value) if isinstance(value, bytes | bytearray | str) else 0


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)
