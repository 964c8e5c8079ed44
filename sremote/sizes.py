"""Numbers of bytes as people read them."""

from __future__ import annotations


def as_size(count: float) -> str:
    """Return a number of bytes in the largest unit that leaves at least one: ``12.5 MiB``."""
    if count < 1024:
        return f"{count:.0f} bytes"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"
