"""The root of all errors, and those that both ends of the wire can raise."""

TYPE_CHECKING = False  # as typing has it, whose import takes as long as Python's start
if TYPE_CHECKING:
    from typing import Optional


class SremoteError(Exception):
    """Anything that went wrong in sremote; ``sremote.errors`` shows the whole tree.

    ``remedy`` is what to do or type next; it stands behind the message when the
    error is printed.  ``exit_status`` is what the command line ends with.
    """

    exit_status = 1

    def __init__(self, message: str, remedy: "Optional[str]" = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return "{}\n  {}".format(self.message, self.remedy) if self.remedy else self.message


class FormatError(SremoteError):
    """A request or response file is truncated, damaged, hostile or of another format."""


class ValueRefused(SremoteError, TypeError):
    """A value cannot travel: it is not plain data and its type was not allowed."""


class ChannelClosed(SremoteError, OSError):
    """Something was to be sent on a channel that is closed, or received where a callback does."""


class ChannelTimeout(SremoteError, TimeoutError):
    """Nothing came on a channel in time; it may still come."""
