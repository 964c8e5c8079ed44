"""What can go wrong between the client and a host; ``sremote.errors`` shows the whole tree."""

from __future__ import annotations

from sremote.interpreter.errors import SremoteError


class UsageError(SremoteError, ValueError):
    """The user asked for something that cannot be: a bad address, option or combination."""

    exit_status = 2


class LineError(SremoteError, ConnectionError):
    """The way to the host failed; nothing is known to be wrong with the host itself."""

    exit_status = 3


class HostUnreachable(LineError):
    """The name does not resolve, the port does not answer, or the way there is closed."""


class HostKeyError(LineError):
    """The host's key is unknown, or is not the one that was seen before."""


class SignInRefused(LineError):
    """The host answered and did not let the user in."""


class ConnectionLost(LineError):
    """The line dropped; what was under way may or may not have happened."""


class LineTimeout(LineError, TimeoutError):
    """An operation had no answer within its deadline; it may still be going on there."""


class SchedulerAway(LineError):
    """The host answered, its batch system did not: nothing is known of its jobs, and they may be well."""


class MailboxEnded(LineError):
    """The job that served a mailbox has ended: what was under way in it has been stopped."""


class HostError(SremoteError, OSError):
    """The host answered and refused: no such file, no permission, no space."""


class FileMissing(HostError, FileNotFoundError):
    """A file or folder is not there."""


class PermissionRefused(HostError, PermissionError):
    """The host's permissions forbid it."""


class HostFull(HostError):
    """No space, no inodes or no quota left on the host."""
