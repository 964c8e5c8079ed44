"""Files over a channel: what is written is sent, what is received is read."""

from typing import TYPE_CHECKING, Any, Iterable, Iterator

if TYPE_CHECKING:
    from .channel import Channel


class _ChannelFile:
    def __init__(self, channel: "Channel", proxyclose: bool) -> None:
        self.channel = channel
        self._proxyclose = proxyclose

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        """Close the channel, where the file was made so."""
        if self._proxyclose:
            self.channel.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WritingFile(_ChannelFile):
    """Sends text or bytes as they are written, one value for each write."""

    def write(self, data: Any) -> int:
        """Send ``data``; return its length."""
        self.channel.send(data)
        return len(data)

    def writelines(self, lines: Iterable[Any]) -> None:
        """Send each of ``lines``."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Nothing: what is written is on its way."""


class ReadingFile(_ChannelFile):
    """Reads text or bytes from the values that are received, until the channel is closed."""

    def __init__(self, channel: "Channel", proxyclose: bool) -> None:
        super().__init__(channel, proxyclose)
        self._rest: Any = None

    def read(self, size: int = -1) -> Any:
        """Return ``size`` characters or bytes, or all up to the end; fewer at the end."""
        while size < 0 or self._rest is None or len(self._rest) < size:
            if not self._more():
                break
        return self._take(size)

    def readline(self) -> Any:
        """Return the next line with its newline; without one at the end."""
        position = 0
        while True:
            if self._rest is not None:
                newline = "\n" if isinstance(self._rest, str) else b"\n"
                found = self._rest.find(newline, position)
                if found >= 0:
                    return self._take(found + 1)
                position = len(self._rest)
            if not self._more():
                return self._take(-1)

    def __iter__(self) -> Iterator[Any]:
        while True:
            line = self.readline()
            if not line:
                return
            yield line

    def _more(self) -> bool:
        """Wait for one more value; say whether one came."""
        try:
            data = self.channel.receive()
        except EOFError:
            return False
        self._rest = data if self._rest is None else self._rest + data
        return True

    def _take(self, size: int) -> Any:
        if self._rest is None:
            return ""
        taken = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return taken
