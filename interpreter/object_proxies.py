"""Proxies: what stands on this side for an object that stayed on the other.

A class of the user's own that derives from RemoteProxy names what it passes on in
``proxy_methods``, ``proxy_attrs`` and ``proxy_attrs_cache``; others are made from what the
object's class exports.
"""

from typing import Any, Dict, Iterable

from .object_exports import SPECIAL_METHODS, Exports

_UNSET = object()


def _add_members(kind: type, methods: Iterable[str], attributes: Iterable[str]) -> None:
    for name in methods:
        if name not in vars(kind):
            setattr(kind, name, _method(name))
    for name in attributes:
        if name not in vars(kind):
            setattr(kind, name, _attribute(name))


def _method(name: str) -> Any:
    if name in ("__eq__", "__ne__"):

        def compare(self: Any, other: Any) -> Any:
            if self is other and name == "__eq__":
                return True
            return self._remote_client.call_method(self, name, (other,), {})

        compare.__name__ = name
        return compare

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._remote_client.call_method(self, name, args, kwargs)

    method.__name__ = name
    return method


def _attribute(name: str) -> property:
    return property(
        lambda self: self._remote_client.get_attribute(self, name, {}),
        lambda self, value: self._remote_client.set_attribute(self, name, value, {}),
    )


def _cached(name: str) -> property:
    def get(self: Any) -> Any:
        cache = self._remote_cache
        value = cache.get(name, _UNSET)
        if value is _UNSET:
            value = cache[name] = self._remote_client.get_attribute(self, name, {})
        return value

    return property(get)


class RemoteProxy:
    """Stands for an object on the other side; calls and attributes that are exported go there.

    Keywords that every call takes (``nonblocking``, ``threadid``, …) may be given to its methods.
    """

    proxy_methods: Iterable[str] = ()
    proxy_attrs: Iterable[str] = ()
    proxy_attrs_cache: Iterable[str] = ()
    __slots__ = ("__weakref__", "_remote_cache", "_remote_client", "_remote_count", "_remote_number")
    _remote_client: Any
    _remote_number: int
    _remote_count: int
    _remote_cache: Dict[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _add_members(cls, vars(cls).get("proxy_methods", ()), vars(cls).get("proxy_attrs", ()))
        for name in vars(cls).get("proxy_attrs_cache", ()):
            if name not in vars(cls):
                setattr(cls, name, _cached(name))

    def __new__(cls, *_: Any, **__: Any) -> Any:
        raise TypeError("{} is a proxy: it comes from the other side, and cannot be made here".format(cls.__name__))

    def __repr__(self) -> str:
        client = self._remote_client
        return "<{} for oid {} on {}>".format(type(self).__name__, self._remote_number, client.where)

    def __eq__(self, other: Any) -> bool:
        return self is other

    def __hash__(self) -> int:
        return hash((id(self._remote_client), self._remote_number))

    def __reduce__(self) -> Any:
        raise TypeError("{!r} cannot be copied or sent elsewhere".format(self))

    def __del__(self) -> None:
        client = getattr(self, "_remote_client", None)
        if client is not None:
            client.release(self._remote_number, self._remote_count)

    def raw_call_method(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method over there by its name."""
        return self._remote_client.call_method(self, method, args, kwargs)

    def raw_get_attribute(self, attribute: str, **how: Any) -> Any:
        """Return an attribute over there by its name."""
        return self._remote_client.get_attribute(self, attribute, how)

    def raw_set_attribute(self, attribute: str, value: Any, **how: Any) -> Any:
        """Set an attribute over there by its name."""
        return self._remote_client.set_attribute(self, attribute, value, how)


class SelfIterProxy(RemoteProxy):
    """Stands for an iterator: it is its own iterator on this side, and asks the other for each item."""

    __slots__ = ()
    proxy_methods = ("__next__",)

    def __iter__(self) -> Any:
        return self


class DefaultRemoteProxy(RemoteProxy):
    """Passes on every attribute and method that does not begin with an underscore and is exported."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError("{!r} object has no attribute {!r}".format(type(self).__name__, name))
        return self._remote_client.get_member(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_remote_") or isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
        else:
            self._remote_client.set_attribute(self, name, value, {})


def make_proxy(kind: type, client: Any, number: int) -> Any:
    """Return a proxy of a class for the object of that number."""
    proxy: Any = object.__new__(kind)
    for name, value in (("number", number), ("count", 1), ("cache", {}), ("client", client)):
        object.__setattr__(proxy, "_remote_" + name, value)
    return proxy


def proxy_class(exports: Exports) -> type:
    """Return a class made for what an object exports."""
    named = "_".join(sorted(name for name in (*exports.methods, *exports.attributes) if not name.startswith("_")))
    base: type = DefaultRemoteProxy if exports.every_attribute else RemoteProxy
    members: Dict[str, Any] = {
        "__slots__": (),
        "__module__": __name__,
        "proxy_methods": tuple(name for name in exports.methods if _may_pass(name)),
        "proxy_attrs": tuple(exports.attributes),
        "proxy_attrs_cache": tuple(exports.cached),
    }
    if "__next__" in exports.methods and "__iter__" in exports.methods:
        members["__iter__"] = SelfIterProxy.__iter__
    if "__eq__" in exports.methods and "__hash__" not in exports.methods:
        members["__hash__"] = RemoteProxy.__hash__
    return type("dynamic_proxy_{}".format(named or exports.name)[:80], (base,), members)


def _may_pass(name: str) -> bool:
    return not name.startswith("_") or name in SPECIAL_METHODS
