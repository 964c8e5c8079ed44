"""A channel: values in both directions, in order, between two programs.

Both ends of a session use this class.  What one end sends waits at the other until
it is received, and the sender is told how much may wait: each frame costs its bytes
and FRAME_COST, and a sender that has spent its credit waits.  So a peer that does
not read costs a window of memory and no more.  The window begins at WINDOW, and
doubles up to LARGEST_WINDOW as long as the receiver keeps up, for fast lines that
are long.
"""

import contextlib
import struct
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Deque, Iterator, List, Optional, Sequence, Tuple

from . import frames
from .bells import Bell, ring_all, wait_until
from .errors import ChannelClosed, ChannelTimeout, FormatError, SremoteError
from .wire import Buffer

if TYPE_CHECKING:
    from .channel_files import ReadingFile, WritingFile
    from .channels import Channels

WINDOW = 1 << 18
LARGEST_WINDOW = 1 << 22
FRAME_COST = 64
"""Bytes that a frame costs beside its payload, as it takes memory beside that."""
_TOTAL = struct.Struct(">Q")
_MOST = frames.CHUNK + FRAME_COST
_NO_ENDMARKER = object()


class Channel:
    """One end of a channel; made by ``remote_exec``, ``newchannel``, or by receiving one."""

    def __init__(self, channels: "Channels", number: int) -> None:
        self._channels = channels
        self.number = number
        self._waiting: List[Bell] = []
        # What is sent: the peer lets on how much in all it takes.
        self._sending = threading.Lock()
        self._granted = WINDOW
        self._spent = 0
        # What is received; an item stands with what had arrived in all at its end.
        self._items: "Deque[Tuple[bytes | bytearray, int]]" = deque()
        self._partial = bytearray()
        self._arrived = 0
        self._counting = threading.Lock()
        self._acknowledged = 0
        self._window = WINDOW
        self._offered = WINDOW
        # How it ends.
        self._closed = False
        self._ended = False
        self._error: Optional[Exception] = None
        self._callback: Optional[Callable[[Any], object]] = None
        self._endmarker: Any = _NO_ENDMARKER
        self._called_back = False

    def send(self, item: Any) -> None:
        """Send a value: plain data, as an argument of a call, or another channel of this session.

        Waits while as much as may wait has not been received over there.  Raises
        ValueRefused where the value cannot travel, ChannelClosed (an OSError) where
        the channel is closed.
        """
        self.send_bytes(self._channels.encode(item))

    def send_bytes(self, buffers: "Sequence[Buffer]") -> None:
        """Send bytes as they are, for ``receive_bytes`` over there; else as ``send``."""
        with self._sending:
            if len(buffers) == 1 and len(buffers[0]) <= frames.CHUNK:
                self._send(frames.ITEM, buffers[0])
                return
            pieces = frames.pieces(buffers, frames.CHUNK)
            piece = next(pieces)
            try:
                for following in pieces:
                    self._send(frames.PART, piece)
                    piece = following
                self._send(frames.ITEM, piece)
            except BaseException as error:
                # What follows would be taken for the rest of this value.
                self.close("a value was sent in part only: {}".format(type(error).__name__))
                raise

    def receive(self, timeout: Optional[float] = None) -> Any:
        """Return the next value, waiting for it up to ``timeout`` seconds (default: for ever).

        Raises EOFError where the channel is closed and all has been received,
        RemoteError once where it was closed with an error, ChannelTimeout (a
        TimeoutError) when the time is up, and what ended the session.
        """
        return self._channels.decode(self.receive_bytes(timeout))

    def receive_bytes(self, timeout: Optional[float] = None) -> "bytes | bytearray":
        """Return the next value as the bytes that came; else as ``receive``."""
        if self._callback is not None:
            raise ChannelClosed("{}: its values go to a callback".format(self))
        return self._next(timeout)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self.receive()
        except EOFError:
            raise StopIteration from None

    def isclosed(self) -> bool:
        """Say whether nothing can be sent any more; what has arrived can still be received."""
        return self._closed or self._ended

    def waitclose(self, timeout: Optional[float] = None) -> None:
        """Wait up to ``timeout`` seconds until the other side has closed the channel.

        All that still comes is taken in meanwhile, and can be received then.  Raises as
        ``receive`` does, but for EOFError.
        """
        if not wait_until(self._waiting, self._is_over, timeout):
            raise ChannelTimeout("{} was not closed within {} s".format(self, timeout))
        self._raise_error()

    def close(self, error: Any = None) -> None:
        """Close the channel on both sides; nothing where that is done.

        A receiver over there gets what has been sent, then EOFError, or RemoteError
        with ``error``, which is a text or an exception.
        """
        with contextlib.suppress(OSError, SremoteError):  # the line has gone, and the channel with it
            self._close(error)

    def setcallback(self, callback: Callable[[Any], object], endmarker: Any = _NO_ENDMARKER) -> None:
        """Have ``callback`` called with each value that has come or comes, and with ``endmarker`` at the end.

        The calls of one session are made one after the other in a thread of their own.
        ``receive`` is over then.  A callback that raises closes the channel with that error.
        """
        if self._callback is not None:
            raise ChannelClosed("{} has a callback already".format(self))
        self._endmarker = endmarker
        self._callback = callback
        self._channels.call_back(self)

    def makefile(self, mode: str = "w", proxyclose: bool = False) -> "ReadingFile | WritingFile":
        """Return a file whose writes ("w") are sent as values, or whose reads ("r") take what is received.

        With ``proxyclose`` closing the file closes the channel.
        """
        from .channel_files import ReadingFile, WritingFile

        if mode not in ("r", "w"):
            raise ValueError("a channel's file has the mode 'r' or 'w', not {!r}".format(mode))
        return (ReadingFile if mode == "r" else WritingFile)(self, proxyclose)

    @property
    def gateway(self) -> Any:
        """Whose channel it is: the session here, and what stands for it over there."""
        return self._channels.owner

    def __repr__(self) -> str:
        return "<{} {} {}>".format(type(self).__name__, self.number, "closed" if self.isclosed() else "open")

    def __del__(self) -> None:
        # Whatever thread this is, it may hold any lock: so nothing is sent here.
        if not (self._closed or self._ended):
            self._channels.drop(self.number)

    # Sending

    def _send(self, kind: int, piece: Buffer) -> None:
        if not self._may_send():
            wait_until(self._waiting, self._may_send)
        if self._closed or self._ended:
            raise self._error_of_sending()
        self._spent += len(piece) + FRAME_COST
        self._channels.write(kind, self.number, piece)

    def _may_send(self) -> bool:
        return self._spent < self._granted or self._closed or self._ended

    def _error_of_sending(self) -> Exception:
        if self._channels.error is not None:
            return self._channels.error
        return ChannelClosed("cannot send: {}".format(self))

    def _close(self, error: Any) -> None:
        with self._counting:
            if self._closed or self._ended:
                self._closed = True
                return
            self._closed = True
        self._channels.forget(self)
        self.end(None)
        self._channels.write(frames.CLOSE, self.number, b"" if error is None else self._channels.describe(error))

    # Receiving

    def _next(self, timeout: Optional[float]) -> "bytes | bytearray":
        while True:
            try:
                data, end = self._items.popleft()
            except IndexError:
                if self._ended and not self._items:
                    self._raise_error()
                    raise EOFError("{}: nothing more comes".format(self)) from None
                if not wait_until(self._waiting, self._has_come, timeout):
                    raise ChannelTimeout("{}: nothing came within {} s".format(self, timeout)) from None
            else:
                self._acknowledge(end)
                return data

    def _has_come(self) -> bool:
        if self._items or self._ended:
            return True
        self._acknowledge(self._arrived)  # somebody waits for the rest of a large value
        return False

    def _is_over(self) -> bool:
        if self._ended and (self._callback is None or self._called_back or self._channels.is_courier()):
            return True
        if self._callback is None:
            self._acknowledge(self._arrived)
        return False

    def _acknowledge(self, position: int) -> None:
        """Let the peer send on, once it is worth a frame: ``position`` bytes in all need no room any more."""
        if self._ended or position + self._window // 2 < self._offered:
            return
        with self._counting:
            self._acknowledged = max(self._acknowledged, position)
            if 2 * (self._acknowledged + self._window - self._offered) < self._window:
                return
            self._window = min(2 * self._window, LARGEST_WINDOW)
            self._offered = offered = self._acknowledged + self._window
        with contextlib.suppress(OSError, SremoteError):  # what has come can still be received
            self._channels.write(frames.CREDIT, self.number, _TOTAL.pack(offered))

    def _raise_error(self) -> None:
        """Raise what the channel was closed with, once; what ended the session, each time."""
        error = self._error
        if error is not None:
            if error is not self._channels.error:
                self._error = None
            raise error

    def call_back(self) -> None:
        """Hand what has come to the callback; only the session's courier does this."""
        callback = self._callback
        while callback is not None and not self._called_back:
            try:
                data, end = self._items.popleft()
            except IndexError:
                if not self._ended:
                    self._acknowledge(self._arrived)
                    return
                if self._items:
                    continue
                self._called_back = True
                if self._endmarker is not _NO_ENDMARKER:
                    self._call(callback, self._endmarker)
                ring_all(self._waiting)
            else:
                self._acknowledge(end)
                self._call(callback, data, decode=True)

    def _call(self, callback: Callable[[Any], object], value: Any, decode: bool = False) -> None:
        try:
            callback(self._channels.decode(value) if decode else value)
        except Exception as error:
            self._items.clear()
            self.close(error)
            self._channels.report(self, error)

    # What the thread that reads the line tells

    def take(self, kind: int, payload: memoryview) -> None:
        """Take a frame of a value."""
        self._arrived += len(payload) + FRAME_COST
        if self._arrived > self._offered + _MOST:
            raise FormatError("the stream is damaged: more came on channel {} than may".format(self.number))
        if kind == frames.PART:
            self._partial += payload
            if self._arrived + self._window // 2 < self._offered:
                return  # nobody needs to wake up for this
        elif self._partial:
            self._partial += payload
            whole, self._partial = self._partial, bytearray()
            self._items.append((whole, self._arrived))
        else:
            self._items.append((bytes(payload), self._arrived))
        self._tell()

    def grant(self, payload: memoryview) -> None:
        """Take a frame that says how much the peer takes in all."""
        self._granted = max(self._granted, *_TOTAL.unpack(payload))
        ring_all(self._waiting)

    def end(self, error: Optional[Exception]) -> None:
        """Note that nothing more comes or goes."""
        self._error = self._error or error
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        if self._waiting:
            ring_all(self._waiting)
        if self._callback is not None:
            self._channels.call_back(self)
