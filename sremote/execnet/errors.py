"""execnet's exceptions."""

from __future__ import annotations

import sys

from sremote import errors
from sremote.errors import ChannelTimeout as TimeoutError  # noqa: A004 - execnet calls it so


class RemoteError(errors.RemoteError):
    """What was raised on the other side; its text is the traceback over there."""

    @property
    def formatted(self) -> str:
        """The traceback over there, or the text that the channel was closed with."""
        return (self.remote.traceback if self.remote else "") or self.message

    def __str__(self) -> str:
        return self.formatted

    def warn(self) -> None:
        """Print that nobody has asked for this error."""
        print(f"[{id(self)}] Warning: unhandled {self!r}", file=sys.stderr)


class HostNotFound(Exception):
    """The host cannot be reached."""


class DataFormatError(Exception):
    """A value cannot be written or read."""


class DumpError(DataFormatError, TypeError):
    """A value is not plain data."""


class LoadError(DataFormatError):
    """What was to be read as a value is none."""


__all__ = ["DataFormatError", "DumpError", "HostNotFound", "LoadError", "RemoteError", "TimeoutError"]
