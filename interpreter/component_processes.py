"""Finds the processes of components and sends them signals; no others.

Every process that a component starts inherits the variable ``MARKER`` with the job's
id, also where it has left the component's session, as daemons do.
"""

import os

try:
    import _signal as signals  # type: ignore[import-not-found, unused-ignore]  # without its enums
except ImportError:
    import signal as signals

TYPE_CHECKING = False  # as typing has it
if TYPE_CHECKING:
    from typing import Callable, Collection, Dict, Mapping, Set

__all__ = ["MARKER", "attempt", "processes_of", "send_signal", "signals"]

MARKER = "SREMOTE_COMPONENT"
"""The environment variable that tells a component's processes from all others."""
_NOBODY: "Mapping[int, str]" = {}


def processes_of(ids: "Collection[str]", leaders: "Mapping[int, str]" = _NOBODY) -> "Dict[int, str]":
    """Return the living processes of components, each with its component's job id.

    These are the processes that were started with one of the job ``ids``, and those
    in the sessions of ``leaders``, which maps processes to ids.
    """
    wanted = {os.fsencode("{}={}".format(MARKER, each)): each for each in ids}
    found = {}
    for name in _names():
        pid = int(name)
        try:
            with open("/proc/{}/stat".format(name), "rb") as file:
                state, _, _, session = file.read().rpartition(b")")[2].split()[:4]
            if state in (b"Z", b"X"):
                continue
            if int(session) in leaders:
                found[pid] = leaders[int(session)]
                continue
            with open("/proc/{}/environ".format(name), "rb") as file:
                for entry in file.read().split(b"\0"):
                    if entry in wanted:
                        found[pid] = wanted[entry]
        except (OSError, ValueError):  # it has gone, or is another user's
            continue
    found.pop(os.getpid(), None)
    return found


def send_signal(ids: "Collection[str]", number: int, leaders: "Mapping[int, str]" = _NOBODY) -> "Dict[int, str]":
    """Send a signal to the processes of components; return which those were, as ``processes_of`` does."""
    found = processes_of(ids, leaders)
    for pid in found:
        attempt(os.kill, pid, number)
    for leader in () if os.path.isdir("/proc/self") else leaders:
        attempt(os.killpg, leader, number)
    return found


def attempt(call: "Callable[..., object]", *arguments: object) -> None:
    """Make a call of the system whose refusal does not matter."""
    try:
        call(*arguments)
    except OSError:
        return


def _names() -> "Set[str]":
    try:
        return {name for name in os.listdir("/proc") if name.isdigit()}
    except OSError:
        return set()
