"""Remote calls under way, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from sremote.errors import LineTimeout, UsageError
from sremote.objects.errors import RemoteException

if TYPE_CHECKING:
    from sremote.objects.connection import Connection
    from sremote.objects.lanes import Lane

SINGLE = object()
"""A ``threadid``: a thread over there for this call alone."""

Completion = Callable[..., object] | tuple[Any, ...]
OrigExc = bool | Literal["quiet"]

CALL_KEYWORDS = ("nonblocking", "oncomplete", "onerror", "threadid", "origexc")


class Options:
    """How a call is made; each keyword of ``CALL_KEYWORDS`` that was given."""

    __slots__ = ("nonblocking", "oncomplete", "onerror", "origexc", "threadid")

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.nonblocking: bool = given.get("nonblocking", False)
        self.oncomplete: Completion | None = given.get("oncomplete")
        self.onerror: Completion | None = given.get("onerror")
        self.threadid: Any = given.get("threadid")
        self.origexc: OrigExc = given.get("origexc", True)
        if self.origexc not in (True, False, "quiet"):
            raise UsageError(f"origexc is True, False or 'quiet', not {self.origexc!r}")

    @property
    def is_waited_for(self) -> bool:
        """Whether the caller waits for the value, in a thread that lasts."""
        return not self.nonblocking and self.oncomplete is None and self.threadid is not SINGLE


_USUAL = Options({})


def take_options(kwargs: dict[str, Any]) -> Options:
    """Take the keywords that say how a call is made out of those for the function."""
    if not kwargs:
        return _USUAL
    given = {name: kwargs.pop(name) for name in CALL_KEYWORDS if name in kwargs}
    return Options(given) if given else _USUAL


class NonblockingResponse:
    """A call that was made without waiting for its value."""

    def __init__(self, connection: Connection, lane: Lane, options: Options, held: Any) -> None:
        self._connection = connection
        self._lane = lane
        self._options = options
        self._held = held
        """The arguments: proxies among them live until the call is over."""
        self._value: Any = None
        self._error: BaseException | None = None
        self.is_done = False

    @property
    def have_response(self) -> bool:
        """Whether it is over."""
        return self.is_done

    def wait(self, timeout: float | None = None) -> Any:
        """Wait until it is over, up to ``timeout`` seconds; return its value, or raise what it raised.

        Raises LineTimeout when the time is up.
        """
        if not self._lane.wait(self, timeout):
            raise LineTimeout(f"{self._connection.where}: no answer within {timeout} s", "Wait again, or for longer.")
        self._connection.run_completions()
        return self.result()

    def result(self) -> Any:
        """Return the value, or raise the error, of a call that is over."""
        if self._error is None:
            return self._value
        raise self._connection.error_to_raise(self._error, self._options.origexc)

    def fileno(self) -> int:
        """Return a descriptor that is readable once something has come for the client."""
        return self._connection.fileno()

    def succeed(self, value: Any) -> None:
        """Note the value."""
        self._value = value
        self._end()

    def fail(self, error: BaseException) -> None:
        """Note what it raised, or why nothing can come."""
        self._error = error
        self._end()

    def _end(self) -> None:
        self._held = None
        self.is_done = True
        if self._options.nonblocking or self._options.oncomplete is not None:
            self._connection.note_end(self)

    def complete(self) -> None:
        """Call what was to be called at the end."""
        options = self._options
        if self._error is None:
            _call(options.oncomplete, self._value)
        else:
            text = str(getattr(getattr(self._error, "remote", None), "traceback", "") or self._error)
            _call(options.onerror or options.oncomplete, RemoteException(self._error, text))


def _call(completion: Completion | None, value: Any) -> None:
    if isinstance(completion, tuple):
        completion[0](value, *completion[1:])
    elif completion is not None:
        completion(value)
