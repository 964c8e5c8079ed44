"""What a client of remote objects is made of: threads over there, requests, answers, and proxies."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from sremote.allowed import allowed_types
from sremote.errors import ConnectionLost, SremoteError, UsageError, ValueRefused
from sremote.interpreter.bells import Bell
from sremote.interpreter.errors import FormatError
from sremote.interpreter.object_definitions import common_modules, find
from sremote.interpreter.object_exports import Exports
from sremote.interpreter.object_proxies import RemoteProxy, make_proxy, proxy_class
from sremote.interpreter.objects import expanded, shortened
from sremote.interpreter.wire import Buffer, Message
from sremote.objects.errors import RemoteException
from sremote.objects.lanes import Lane
from sremote.objects.names import RemoteName
from sremote.objects.responses import SINGLE, NonblockingResponse, Options, OrigExc, take_options
from sremote.objects.values import read_answer, without_traceback, write_request
from sremote.response import Response
from sremote.session import Session

if TYPE_CHECKING:
    from sremote.objects.client import ObjectClient

_FAR_SIDE = "sremote_interpreter.objects"
_CONTROL = object()
"""The thread over there that makes no calls, so that it answers at once."""
MAIN = 0
"""The thread over there for calls that name none: its main one."""
RELEASE_PAUSE = 0.02
"""Seconds after which the host is told by itself of objects that are held no longer."""
_USUAL = Options({})
_QUIET = Options({"origexc": "quiet"})


class Connection:
    """The objects and threads of one client in the process of ``session``."""

    def __init__(self, client: ObjectClient, session: Session, definitions: str, *, compress: bool) -> None:
        self.session = session
        self.definitions = definitions
        self.closed = False
        self.default_thread: Any = MAIN
        self._client = weakref.ref(client)
        self._compress = compress
        self._group = secrets.token_hex(8)
        self._lanes: dict[Any, Lane] = {}
        self._lock = threading.Lock()
        self._classes: dict[int, type] = {}
        self._proxies: weakref.WeakValueDictionary[int, RemoteProxy] = weakref.WeakValueDictionary()
        self._released: deque[tuple[int, int]] = deque()
        self._release_bell = Bell()
        self._releaser: threading.Thread | None = None
        self._ended: deque[NonblockingResponse] = deque()
        self._readable: tuple[int, int] | None = None
        session.call(_FAR_SIDE, "begin", [self._group, definitions, sorted(allowed_types), compress])

    @property
    def where(self) -> str:
        """The host's name."""
        return self.session.host.name

    @property
    def lives(self) -> bool:
        """Whether the process over there lives, as far as is known."""
        return not self.closed and self.session.is_open

    def name(self, path: str) -> RemoteName:
        """Return a dotted name over there."""
        return RemoteName(self, path)

    def close(self) -> None:
        """End the threads over there."""
        self.closed = True
        self._release_bell.ring()
        for lane in self._all_lanes():
            lane.close()
        with self._lock:
            if self._readable is not None:
                for end in self._readable:
                    os.close(end)
                self._readable = None

    # What proxies ask for

    def call_method(self, proxy: RemoteProxy, method: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call a method of the object that a proxy stands for."""
        options = take_options(kwargs) if method != "__next__" else _QUIET
        if method == "__exit__":
            args = without_traceback(*args)
        try:
            return self.request("method", proxy._remote_number, method, args, kwargs, options, proxy)
        except SremoteError as error:
            if method == "__next__" and getattr(error, "type_name", "") == "builtins.StopIteration":
                raise StopIteration from None
            raise

    def get_attribute(self, proxy: RemoteProxy, name: str, how: dict[str, Any]) -> Any:
        """Return an attribute of the object that a proxy stands for."""
        return self.request("get", proxy._remote_number, name, (), {}, Options(how), proxy)

    def set_attribute(self, proxy: RemoteProxy, name: str, value: Any, how: dict[str, Any]) -> Any:
        """Set an attribute of the object that a proxy stands for."""
        return self.request("set", proxy._remote_number, name, (value,), {}, Options(how), proxy)

    def get_member(self, proxy: RemoteProxy, name: str) -> Any:
        """Return an attribute, or what calls the method of that name."""
        is_method, value = self.request("member", proxy._remote_number, name, (), {}, _QUIET, proxy)
        if not is_method:
            return value
        return lambda *args, **kwargs: self.call_method(proxy, name, args, kwargs)

    def release(self, number: int, count: int) -> None:
        """Note that a proxy has died; called by finalizers, so it takes no lock."""
        if not self.closed:
            self._released.append((number, count))
            self._release_bell.ring()

    # Requests

    def request(
        self,
        kind: str,
        number: int,
        name: str,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        options: Options = _USUAL,
        proxy: RemoteProxy | None = None,
    ) -> Any:
        """Send a request, and return what its options ask for: the value, a response, or nothing."""
        if self.closed:
            raise UsageError(f"{self.where}: the client is closed", "Make another one.")
        request = write_request([kind, number, name, list(args), kwargs or {}, self._take_released()], self)
        if options is _USUAL or options.is_waited_for:
            thread = self._thread_of(options)
            if thread == MAIN and MAIN not in self._lanes:
                return self._ask_main(request, options)
        single = options.threadid is SINGLE
        lane = self._open_lane() if single else self._lane(self._thread_of(options))
        response = NonblockingResponse(self, lane, options, (proxy, args, kwargs))
        lane.send(response, request)
        if options.nonblocking or options.oncomplete is not None:
            self.started(lane, options)
            return response if options.nonblocking else None
        lane.wait(response)
        if single:
            lane.close()
        return response.result()

    def started(self, lane: Lane, options: Options) -> None:
        """Take note of a call that nobody waits for yet."""
        if options.threadid is SINGLE:
            lane.close_when_idle()
        elif not options.nonblocking:
            lane.drain()

    def stop_thread(self, thread: Any) -> None:
        """End a thread over there, once it has done what it was asked."""
        with self._lock:
            lane = self._lanes.pop(thread, None)
        if lane is not None:
            lane.close_when_idle()

    def _thread_of(self, options: Options) -> Any:
        return self.default_thread if options.threadid is None else options.threadid

    def _lane(self, thread: Any) -> Lane:
        lane = self._lanes.get(thread)
        if lane is None:
            with self._lock:
                lane = self._lanes.get(thread)
                if lane is None:
                    lane = self._lanes[thread] = self._open_lane(thread)
        return lane

    def _ask_main(self, request: list[Buffer], options: Options) -> Any:
        """Have the main thread over there answer, by a call of the session: no thread passes it on to another."""
        if self._compress:
            request = shortened(request)
        news, data = self.session.call(_FAR_SIDE, "answer", [self._group, b"".join(bytes(each) for each in request)])
        for text in news:
            self.learn_class(text)
        try:
            return self.read_answer(expanded(data))
        except BaseException as error:
            raise self.error_to_raise(error, options.origexc) from error.__cause__

    def _open_lane(self, thread: Any = None) -> Lane:
        where = "main" if thread == MAIN else "own"
        channel = self.session.open_channel(_FAR_SIDE, "serve", thread=where, group=self._group)
        return Lane(self, channel, compress=self._compress)

    def _all_lanes(self) -> list[Lane]:
        with self._lock:
            return list(self._lanes.values())

    # Calls that nobody waits for

    def take_in(self, *, block: bool, timeout: float | None = None) -> list[NonblockingResponse]:
        """Take in answers, and call the completions of the calls that are over; return those.

        With ``block`` it waits for one up to ``timeout`` seconds, if any call is under way.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            missing = [lane for lane in self._all_lanes() if lane.has_pending]
            for lane in missing:
                lane.drain()
            over = self.run_completions()
            left = None if deadline is None else deadline - time.monotonic()
            if over or not block or not missing or (left is not None and left <= 0):
                return over
            select.select([self.fileno()], [], [], left)

    def fileno(self) -> int:
        """Return a descriptor that is readable once a call without a waiter is over."""
        with self._lock:
            if self._readable is None:
                self._readable = os.pipe()
                for end in self._readable:
                    os.set_blocking(end, False)
                if self._ended:
                    os.write(self._readable[1], b"\0")
            return self._readable[0]

    def note_end(self, response: NonblockingResponse) -> None:
        """Take a call that is over, whose completion is to be called."""
        self._ended.append(response)
        if self._readable is not None:
            with contextlib.suppress(BlockingIOError, OSError):
                os.write(self._readable[1], b"\0")

    def run_completions(self) -> list[NonblockingResponse]:
        """Call the completions of the calls that are over, in this thread; return the calls."""
        if self._readable is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._readable[0], 4096)
        over = []
        while self._ended:
            with contextlib.suppress(IndexError):
                over.append(self._ended.popleft())
                over[-1].complete()
        return over

    # Answers

    def read_answer(self, data: Buffer) -> Any:
        """Return the value of an answer, or raise the error that it tells of."""
        value, message = read_answer(data, self._resolve, self.name)
        return self._raise(message) if "outcome" in message.header else value

    def _raise(self, message: Message) -> NoReturn:
        if message.header["outcome"] == "unencodable":
            raise ValueRefused(
                f"{self.where}: the returned {message.header.get('text')}",
                "Return plain data, define its class in common, or have it stay there: make_server_class(…).",
            )
        Response(self.where, self.session.id, message, allowed_types, trust=False).result()
        raise FormatError(f"{self.where}: an answer is neither a value nor an error")

    def error_to_raise(self, error: BaseException, origexc: OrigExc) -> BaseException:
        """Return what to raise for what a call raised, once it has been told as ``origexc`` says."""
        remote = getattr(error, "remote", None)
        if remote is None:
            return error
        if origexc is False:
            return RemoteException(error, remote.traceback)
        client = self._client()
        if origexc is True and client is not None:
            client.report_exception(error, remote.traceback)
        return error

    def why_ended(self, error: BaseException) -> BaseException:
        """Return the error for calls that get no answer any more."""
        if self.closed:
            return UsageError(f"{self.where}: the client was closed")
        if isinstance(error, EOFError):
            return ConnectionLost(f"{self.where}: the thread over there has ended")
        return error

    def learn_class(self, text: bytes) -> None:
        """Take what the objects of a class export.  Raises FormatError."""
        try:
            number, described = json.loads(text)
            exports = Exports(*described)
        except (ValueError, TypeError) as error:
            raise FormatError(f"{self.where}: what a class exports cannot be read: {error}") from None
        module, _, path = exports.proxy.partition(":")
        found = find(common_modules.get(module), path.split(".")) if exports.proxy else None
        is_proxy = isinstance(found, type) and issubclass(found, RemoteProxy)
        self._classes[number] = found if is_proxy else proxy_class(exports)  # type: ignore[assignment]

    def _resolve(self, kind: str, number: int) -> Any:
        """Return the proxy of an object, which has come once more."""
        proxy = self._proxies.get(number)
        if proxy is not None:
            proxy._remote_count += 1
            return proxy
        try:
            found = self._classes[int(kind.partition(" ")[2])]
        except (ValueError, KeyError):
            raise FormatError(f"{self.where}: an object of a class that it has not told of") from None
        proxy = self._proxies[number] = make_proxy(found, self, number)
        self._start_releaser()
        return proxy

    # Objects that nobody holds any more

    def _take_released(self) -> list[list[int]]:
        released: list[list[int]] = []
        while self._released:
            with contextlib.suppress(IndexError):
                released.append(list(self._released.popleft()))
        return released

    def _start_releaser(self) -> None:
        if self._releaser is None:
            self._releaser = threading.Thread(
                target=_release_on, args=(weakref.ref(self), self._release_bell), name="sremote objects", daemon=True
            )
            self._releaser.start()

    def send_released(self) -> None:
        """Tell the host now which objects are held no longer."""
        if self._released:
            with contextlib.suppress(OSError, SremoteError):
                self._release_now()

    def _release_now(self) -> None:
        if self._lanes:
            self.ping()
            return
        released = self._take_released()
        if released:
            self._ask_main(write_request(["ping", 0, "", [], {}, released], self), _QUIET)

    def ping(self, timeout: float | None = None) -> bool:
        """Ask for a sign of life; say whether one came within ``timeout`` seconds."""
        lane = self._lane(_CONTROL)
        response = NonblockingResponse(self, lane, _USUAL, None)
        lane.send(response, write_request(["ping", 0, "", [], {}, self._take_released()], self))
        if not lane.wait(response, timeout):
            return False
        response.result()
        return True


def _release_on(connection: weakref.ref[Connection], bell: Bell) -> None:
    while True:
        bell.wait()
        time.sleep(RELEASE_PAUSE)  # the next request may take the news along
        here = connection()
        if here is None or here.closed:
            return
        here.send_released()
        del here
