"""execnet's channels: sremote's, with execnet's exceptions; and several of them as one."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from typing import Any

from sremote import channel
from sremote.errors import SremoteError, ValueRefused
from sremote.execnet.errors import DumpError, RemoteError, TimeoutError  # noqa: A004

NO_ENDMARKER_WANTED = object()


class Channel(channel.Channel):
    """One end of a channel between this program and code that ``remote_exec`` has started."""

    RemoteError = RemoteError
    TimeoutError = TimeoutError

    def send(self, item: object) -> None:
        """Send a value.  Raises DumpError where it is not plain data, OSError where the channel is closed."""
        try:
            super().send(item)
        except ValueRefused as error:
            raise DumpError(error.message) from None

    def next(self) -> Any:
        """Return the next value; StopIteration at the end."""
        return next(self)

    def reconfigure(self, py2str_as_py3str: bool = True, py3str_as_py2str: bool = False) -> None:
        """Nothing: both sides are Python 3."""

    def _getremoteerror(self) -> Exception | None:
        error, self._error = self._error, None
        return error or self._channels.error

    def _error_of_sending(self) -> Exception:
        reason = f": {self._channels.error}" if self._channels.error else ""
        return OSError(f"cannot send to {self!r}{reason}")


class Channels(channel.ClientChannels):
    """The channels of a gateway; for a receiver, the end of the gateway is that of the channel."""

    channel_class = Channel
    remote_error_class = RemoteError

    def end(self, error: Exception, *, quietly: bool = True) -> None:
        """End all channels."""
        super().end(error, quietly=True)

    def remote_error(self, described: Any) -> Exception:
        """Return a RemoteError, also where what was to be run is not there."""
        error = super().remote_error(described)
        if isinstance(error, RemoteError) or not isinstance(error, SremoteError):
            return error
        return RemoteError(error.message, type_name="")


class MultiChannel:
    """Several channels as one."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = list(channels)
        self._queue: queue.Queue[tuple[Channel, Any]] | None = None

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._channels)

    def __getitem__(self, key: int) -> Channel:
        return self._channels[key]

    def __contains__(self, wanted: object) -> bool:
        return wanted in self._channels

    def send_each(self, item: object) -> None:
        """Send a value on each channel."""
        for each in self._channels:
            each.send(item)

    def receive_each(self, withchannel: bool = False) -> list[Any]:
        """Return one value of each channel, in their order; pairs of channel and value with ``withchannel``."""
        if self._queue is not None:
            raise OSError("what comes goes to the receive queue")
        return [(each, each.receive()) if withchannel else each.receive() for each in self._channels]

    def make_receive_queue(self, endmarker: Any = NO_ENDMARKER_WANTED) -> queue.Queue[tuple[Channel, Any]]:
        """Return the queue that gets (channel, value) for all that comes, and (channel, endmarker) at each end."""
        if self._queue is None:
            found: queue.Queue[tuple[Channel, Any]] = queue.Queue()
            self._queue = found
            for each in self._channels:

                def put(item: Any, each: Channel = each) -> None:
                    found.put((each, item))

                if endmarker is NO_ENDMARKER_WANTED:
                    each.setcallback(put)
                else:
                    each.setcallback(put, endmarker=endmarker)
        return self._queue

    def waitclose(self) -> None:
        """Wait until all channels are closed, then raise the first RemoteError."""
        first: RemoteError | None = None
        for each in self._channels:
            try:
                each.waitclose()
            except RemoteError as error:
                first = first or error
        if first is not None:
            raise first
