"""Where a gateway leads: ``key=value//key=value//flag``."""

from __future__ import annotations

from typing import Any


class XSpec:
    """A specification, whose keys are attributes; those that it does not have are None.

    ``env:NAME=VALUE`` goes to ``env``.  Raises ValueError for a key that stands twice,
    AttributeError for one that begins with an underscore.
    """

    id: Any
    execmodel: Any

    def __init__(self, string: str) -> None:
        self._spec = string
        self.env: dict[str, str] = {}
        for part in string.split("//"):
            key, given, value = part.partition("=")
            if key.startswith("_") or not key:
                raise AttributeError(f"{key!r} is not a key of a specification, in {string!r}")
            if key.startswith("env:"):
                self.env[key.removeprefix("env:")] = value
            elif key in vars(self):
                raise ValueError(f"the key {key!r} stands twice in {string!r}")
            else:
                setattr(self, key, value if given else True)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return None

    def __repr__(self) -> str:
        return f"<XSpec {self._spec!r}>"

    def __str__(self) -> str:
        return self._spec

    def __hash__(self) -> int:
        return hash(self._spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, XSpec) and self._spec == other._spec

    def _samefilesystem(self) -> bool:
        return bool(self.popen) and self.chdir is None
