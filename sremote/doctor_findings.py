"""What the doctor makes of a look at a host: each finding a check, with its mend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sremote.connectors.check import Check, State
from sremote.host import DEFAULT_ENVIRONMENT, Probe
from sremote.hosts import HostSettings
from sremote.sizes import as_size

LITTLE_SPACE = 100 << 20
"""Bytes below which a warning says that space is short: an environment with numpy needs about as many."""
FEW_INODES = 10_000
"""Files below which a warning says so: an environment with a few packages has some thousand."""
CLOCK_TOLERANCE = 5.0
"""Seconds that two clocks may differ, beyond what the line's delay leaves open, without a warning."""

_SHARED = ("nfs", "lustre", "gpfs", "beegfs", "panfs", "ceph", "afs", "fuse.sshfs")
_FLEETING = ("tmpfs", "ramfs")

Found = dict[str, Any]


def checks_of(found: Found, probe: Probe, settings: HostSettings, name: str) -> Iterator[Check]:
    """Yield the checks that a look at the host allows; ``name`` is how the user calls it."""
    version = ".".join(map(str, probe.version))
    others = found["pythons"]
    also = f"; on PATH: {', '.join(others)}" if others and isinstance(others, list) else ""
    yield Check("Python found", State.OK, f"{probe.implementation} {version} at {probe.python}{also}")
    looks: list[tuple[str, str, Callable[[], Iterator[Check]]]] = [
        ("root writable", "root", lambda: _root(found["root"], probe.root, name)),
        ("space", "space", lambda: _space(found["space"], found["quota"], probe.root)),
        ("file system", "facts", lambda: _file_system(found["facts"]["file_system"])),
        ("clock", "clock", lambda: _clock(found["clock_offset"], found["clock_error"])),
        ("interpreter", "interpreter", lambda: _interpreter(found["interpreter"])),
        ("environment", "environment", lambda: _environment(found["environment"], settings.environment, name)),
        ("background processes", "limits", lambda: _limits(found["limits"])),
        ("scheduler", "facts", lambda: _scheduler(found["facts"]["scheduler"])),
    ]
    for step, key, checks in looks:
        look = found[key]
        if isinstance(look, dict) and "error" in look:
            yield Check(step, State.WARNING, f"could not be looked at: {look['error']}")
        else:
            yield from checks()


def skipped(step: str, blocked: str) -> Check:
    """Return the check of a step that was not tried, for the step ``blocked`` failed."""
    return Check(step, State.SKIPPED, f"not tried, for '{blocked}' failed")


def _root(look: Found, root: str, name: str) -> Iterator[Check]:
    folder = look["folder"]
    if look["write"]:
        mend = f'Choose another: sremote doctor {name} --root DIR, then put root = "DIR" into the hosts file.'
        if "space" in look["write"] or "quota" in look["write"].lower():
            mend = f"Make room there (sremote clean {name}), or choose another place with --root DIR."
        yield Check("root writable", State.FAILED, f"{folder}: {look['write']}", mend, 1)
        yield skipped("exclusive create works", "root writable")
        yield skipped("rename works", "root writable")
        return
    made = "" if folder == root else f"; {root} is made on first use"
    yield Check("root writable", State.OK, f"{folder} takes files{made}")
    for step, key in (("exclusive create works", "exclusive"), ("rename works", "rename")):
        if look[key]:
            mend = "Jobs would not be safe on this file system; choose another with --root DIR."
            yield Check(step, State.FAILED, f"{folder}: {look[key]}", mend, 1)
        else:
            yield Check(step, State.OK, f"in {folder}")


def _space(look: Found, quota: Found, root: str) -> Iterator[Check]:
    if not look["size"]:
        yield Check("space", State.SKIPPED, f"the file system of {root} does not tell its size")
        return
    free = f"{as_size(look['free'])} of {as_size(look['size'])} free"
    if look["inodes"]:
        free += f", {look['free_inodes']:,} of {look['inodes']:,} inodes free"
    mend = "Make room there, or choose another place with --root DIR."
    if quota.get("over"):
        yield Check("space", State.WARNING, f"{free}; quota says that a limit is passed: {quota['text']}", mend)
    elif look["free"] < LITTLE_SPACE or (look["inodes"] and look["free_inodes"] < FEW_INODES):
        yield Check("space", State.WARNING, f"{free} for {root}", mend)
    else:
        yield Check("space", State.OK, free + ("; within the quota" if quota.get("text") else ""))


def _file_system(kind: str | None) -> Iterator[Check]:
    if kind is None:
        yield Check("file system", State.SKIPPED, "this host does not tell its mounts in /proc")
    elif kind in _FLEETING:
        mend = "Choose a place on disk with --root DIR where jobs must outlive a restart."
        yield Check("file system", State.WARNING, f"{kind}: in memory, empty after a restart", mend)
    elif kind.startswith(_SHARED):
        yield Check("file system", State.OK, f"{kind}: shared between machines")
    else:
        yield Check("file system", State.OK, kind)


def _clock(offset: float, error: float) -> Iterator[Check]:
    said = f"{abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}, give or take {error:.1f} s"
    if abs(offset) > CLOCK_TOLERANCE + error:
        mend = "sremote compares no clocks; sign-ins, certificates and make may. Set the wrong one with NTP."
        yield Check("clock", State.WARNING, said, mend)
    else:
        yield Check("clock", State.OK, said)


def _interpreter(look: Found) -> Iterator[Check]:
    others = f"; {look['others']} of other versions" if look["others"] else ""
    if look["current"]:
        yield Check("interpreter", State.OK, f"this version's is there{others}")
    else:
        yield Check("interpreter", State.OK, f"this version's is not there yet; the first call pushes it{others}")


def _environment(look: Found, wanted: str | None, name: str) -> Iterator[Check]:
    title = wanted or DEFAULT_ENVIRONMENT
    make = f"Make it: sremote install {name}" + (f" --environment {title}" if wanted else "")
    if "broken" in look:
        yield Check("environment", State.FAILED, f"the Python of {title!r} does not work: {look['broken']}", make, 4)
    elif "python" in look:
        packages = ", ".join(look["packages"]) or "no packages"
        yield Check("environment", State.OK, f"{title!r} has Python {look['python']} and {packages}")
    elif wanted:
        there = f"; there are {', '.join(look['names'])}" if look["names"] else ""
        yield Check("environment", State.FAILED, f"there is no {title!r}{there}", make, 4)
    else:
        yield Check("environment", State.OK, f"none; calls use the Python above. For packages: sremote install {name}")


def _limits(look: Found) -> Iterator[Check]:
    if look["kills"] and not look["lingers"]:
        detail = "systemd ends them when you sign out (KillUserProcesses)"
        yield Check("background processes", State.WARNING, detail, "Type there: loginctl enable-linger")
    elif look["cpu_seconds"] is not None:
        detail = f"each is ended after {look['cpu_seconds']} s of processor time (ulimit -t)"
        yield Check("background processes", State.WARNING, detail, "Give long work to the scheduler.")
    else:
        yield Check("background processes", State.OK, "nothing found that would end them")


def _scheduler(name: str | None) -> Iterator[Check]:
    yield Check("scheduler", State.OK, name or "none")
