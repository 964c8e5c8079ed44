"""joblib on a host: ``with joblib.parallel_config(backend=JoblibBackend(executor)): …``."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib.parallel import ParallelBackendBase

from sremote.executor import Executor


class JoblibBackend(ParallelBackendBase):  # type: ignore[misc]
    """Runs what joblib is given on an executor of ``Client.executor``, which stays open.

    ``n_jobs`` counts for no more than the executor's workers.  The functions and their
    arguments go to the host as with ``Client.call_function``.
    """

    supports_retrieve_callback = True

    def __init__(self, executor: Executor, **options: Any) -> None:
        super().__init__(**options)
        self._executor = executor

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many calls run at once; a negative number counts from all workers down, as joblib has it."""
        workers = self._executor.workers
        if n_jobs is None or n_jobs >= workers:
            return workers
        return max(1, n_jobs if n_jobs > 0 else workers + 1 + n_jobs)

    def submit(self, func: Any, callback: Callable[[Any], Any] | None = None) -> Future[list[Any]]:
        """Start a batch of calls, one after the other on one worker."""
        future = self._executor.submit_batch([(call, args, kwargs) for call, args, kwargs in func.items])
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[list[Any]]) -> list[Any]:
        """Return the values of a batch that has ended, or raise its error."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Leave it to the calls that are under way to end; joblib submits no others after an error."""
