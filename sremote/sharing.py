"""Lets other users of a host read an installation, and notes in location.json where it is."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from sremote.discovery import FILE, with_entry
from sremote.errors import FileMissing, PermissionRefused
from sremote.host import Host

TIMEOUT = 180.0
"""Seconds that ``find`` and ``chmod`` may take on a slow file system."""


def share(host: Host, *, dry_run: bool) -> bool:
    """Let all users read the interpreter and the environments in ``host.root``; say whether some was closed."""
    root = host.probe().root
    folders = [posixpath.join(root, name) for name in ("interpreter", "env")]
    unreadable = ["find", *folders, "!", "-type", "l", "!", "-perm", "-0444", "-print"]
    closed = host.execute(unreadable, timeout=TIMEOUT).stdout
    if dry_run or not closed:
        return bool(closed)
    for command in (["chmod", "-R", "a+rX", *folders], ["chmod", "a+rx", root]):
        done = host.execute(command, timeout=TIMEOUT)
        if done.status != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {done.status}"]
            raise PermissionRefused(f"{host.where}: {said[-1]}", "Only a folder's owner can share it.")
    return True


def note_location(
    host: Host, folder: str, application: str | None, entry: Mapping[str, str], *, mode: int, dry_run: bool
) -> bool:
    """Write an entry into the location.json of ``folder``; say whether it differs from what is there.

    Raises FormatError where the file there is damaged.
    """
    path = posixpath.join(folder, FILE)
    text: str | None
    try:
        text = host.connector.read(path).decode("utf-8", "replace")
    except FileMissing:
        text = None
    changed = with_entry(text, application, entry, where=f"{host.where}: {path}")
    if changed != text and not dry_run:
        host.connector.put(changed.encode(), path, mode=mode)
    return changed != text
