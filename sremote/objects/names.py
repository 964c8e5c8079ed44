"""Dotted names on a host: ``remote.os.path.join`` is one, and calling it calls that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sremote.objects.responses import take_options

if TYPE_CHECKING:
    from sremote.objects.connection import Connection


class RemoteName:
    """A name over there: what has it may be called, and with ``value`` read and set.

    Attributes are names below it.  Common code comes first, then modules, which are
    imported as needed, then builtins.
    """

    __slots__ = ("_connection", "_path")
    _connection: Connection
    _path: str

    def __init__(self, connection: Connection, path: str) -> None:
        object.__setattr__(self, "_connection", connection)
        object.__setattr__(self, "_path", path)

    def __getattr__(self, name: str) -> RemoteName:
        if name.startswith("_"):
            raise AttributeError(f"{self._path}.{name} is private")
        return RemoteName(self._connection, f"{self._path}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "value":
            raise AttributeError(f"{self._path}.{name} is set with: {self._path}.{name}.value = …")
        self._connection.request("assign", 0, self._path, (value,))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        options = take_options(kwargs)
        return self._connection.request("call", 0, self._path, args, kwargs, options)

    @property
    def value(self) -> Any:
        """What has the name over there."""
        return self._connection.request("value", 0, self._path)

    def __repr__(self) -> str:
        return f"<{self._path} on {self._connection.where}>"
