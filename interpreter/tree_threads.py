"""Threads and queues without the module threading, whose import takes as long as a small copy."""

from _thread import allocate_lock, start_new_thread

try:
    from _queue import SimpleQueue as Queue
except ImportError:  # Python 3.6, PyPy
    from queue import Queue  # type: ignore[assignment]

__all__ = ["Queue", "allocate_lock", "start_new_thread"]
