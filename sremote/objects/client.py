"""The client of remote objects: names over there are attributes here."""

from __future__ import annotations

import sys
from typing import Any, Self

from sremote.objects.connection import Connection
from sremote.objects.definitions import DEFAULT_NAME, modules_for, sources
from sremote.objects.names import RemoteName
from sremote.objects.responses import Options, take_options
from sremote.session import Session


class ObjectClient:
    """Functions and objects in the process of ``session``, which ends with this.

    Attributes are names over there: ``client.add(3, 4)``, ``client.os.getcwd()``.
    Common code, made by ``define_common`` in the module ``definitions``, comes before
    modules and builtins.  With ``compress`` what is sent is compressed.

    Every call takes keywords that say how it is made.  ``nonblocking`` returns a NonblockingResponse
    at once.  ``oncomplete`` and ``onerror`` are called at its end, with its value or a
    RemoteException: a function, or a tuple of one and further arguments.  ``threadid``
    is the thread over there, SINGLE for one of its own; the calls of a thread run one after
    the other.  ``origexc`` is True to print the remote traceback and raise what was
    raised, ``"quiet"`` to raise it only, False to raise RemoteException.
    """

    _connection_class = Connection

    def __init__(
        self, session: Session, *, definitions: str = DEFAULT_NAME, compress: bool = False, **options: Any
    ) -> None:
        self._sent: dict[str, int] = {}
        self._connection = self._connection_class(self, session, definitions, compress=compress, **options)
        try:
            self.update_definitions()
        except BaseException:
            self.close()
            raise

    def __getattr__(self, name: str) -> RemoteName:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._connection.name(name)

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call what has a dotted name over there."""
        options = take_options(kwargs)
        return self._connection.request("call", 0, name, args, kwargs, options)

    def eval(self, source: str, **how: Any) -> Any:
        """Return the value of an expression over there, in the module of common code."""
        return self._connection.request("eval", 0, source, options=Options(how))

    def execblock(self, source: str, **how: Any) -> Any:
        """Run a block of code over there; return what it gives to ``exec_return``."""
        return self._connection.request("exec", 0, source, options=Options(how))

    def import_module(self, name: str, **how: Any) -> RemoteName:
        """Import a module over there, and return its name."""
        self._connection.request("import", 0, name, options=Options(how))
        return self._connection.name(name)

    def import_modules(self, *names: str) -> list[RemoteName]:
        """Import modules over there, and return their names."""
        return [self.import_module(name) for name in names]

    def update_definitions(self) -> None:
        """Define over there what ``define_common`` was given since the last time."""
        for name in modules_for(self._connection.definitions):
            texts = sources(name)
            for text in texts[self._sent.get(name, 0) :]:
                self._connection.request("define", 0, name, (text,))
            self._sent[name] = len(texts)

    def set_default_thread(self, threadid: Any) -> None:
        """Have calls that name no ``threadid`` run in that thread over there."""
        self._connection.default_thread = threadid

    def stop_remote_thread(self, threadid: Any) -> None:
        """End a thread over there, once it has done what it was asked."""
        self._connection.stop_thread(threadid)

    def remote_object_count(self) -> int:
        """Return how many objects stay over there for this client."""
        count: int = self._connection.request("count", 0, "")
        return count

    def read_response(self, block: bool = True) -> bool:
        """Call the completions of calls that are over; say whether any was.

        With ``block`` it waits for one, if a call is under way.
        """
        return bool(self._connection.take_in(block=block))

    def fileno(self) -> int:
        """Return a descriptor that is readable once a call that nobody waits for is over."""
        return self._connection.fileno()

    def report_exception(self, error: BaseException, text: str) -> None:
        """Print the remote traceback of an exception; override it for another way to tell."""
        sys.stderr.write(text if text.endswith("\n") else text + "\n")

    @property
    def connected(self) -> bool:
        """Whether the process over there lives, as far as is known."""
        return self._connection.lives

    def close(self) -> None:
        """End the process over there, and with it all that stays there; nothing where that is done."""
        if not self._connection.closed:
            self._connection.close()
            self._connection.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._connection.where}>"
