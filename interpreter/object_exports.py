"""Which objects stay where they were made, and what of them may be reached from the other side.

``ServerObject``, ``make_server_class`` and ``make_singleton`` say so of a class or an
instance.  Generators, other iterators, files, and functions that have no name on the other side
stay without being told.
"""

import collections.abc
import io
import types
from typing import Any, Dict, FrozenSet, Iterable, List, Optional, Tuple

AUTO = "@auto"
"""In a list of methods or attributes: all that the class defines."""

_SPECIAL = """
abs add and bool bytes call ceil complex contains delitem divmod enter eq exit float floor floordiv format ge getitem gt
hash iadd iand ifloordiv ilshift imatmul imod imul index int invert ior ipow irshift isub iter itruediv ixor le len
length_hint lshift lt matmul missing mod mul ne neg next or pos pow radd rand rdivmod reversed rfloordiv rlshift rmatmul
rmod rmul ror round rpow rrshift rshift rsub rtruediv rxor setitem str sub truediv trunc xor
"""
SPECIAL_METHODS = frozenset("__{}__".format(name) for name in _SPECIAL.split())
"""Methods with underscores that a proxy may pass on.  What makes, copies or takes apart an object is not among them."""


class Exports:
    """What of an object may be reached: methods, attributes, those that never change, and its proxy's class."""

    def __init__(
        self,
        name: str,
        methods: Iterable[str] = (),
        attributes: Iterable[str] = (),
        cached: Iterable[str] = (),
        every_attribute: bool = False,
        proxy: str = "",
    ) -> None:
        self.name = name
        self.methods = frozenset(methods)
        self.attributes = frozenset(attributes)
        self.cached = frozenset(cached)
        self.every_attribute = every_attribute
        self.proxy = proxy
        """The name of the proxy's class, ``module:Class``; empty for one that is made to measure."""

    def described(self) -> List[Any]:
        """Return it as plain data, the arguments of ``Exports``."""
        lists = [sorted(names) for names in (self.methods, self.attributes, self.cached)]
        return [self.name] + lists + [self.every_attribute, self.proxy]

    def has_attribute(self, name: str) -> bool:
        """Say whether an attribute may be read and set."""
        if name in self.attributes or name in self.cached:
            return True
        return self.every_attribute and not name.startswith("_")


class ServerObject:
    """Base of classes whose instances stay where they were made.

    ``export_methods``, ``export_attrs`` and ``export_attrs_cache`` name what may be
    reached; without them all methods and attributes that do not begin with an
    underscore.  ``proxy_class`` is a subclass of RemoteProxy to stand for them.
    """


class _Wish:
    """What was said of a class or an instance."""

    def __init__(self, methods: Any, attributes: Any, cached: Any, proxy: Any) -> None:
        self.methods = methods
        self.attributes = attributes
        self.cached = cached
        self.proxy = proxy


_classes: Dict[type, _Wish] = {}
_singletons: Dict[int, Tuple[Any, Exports]] = {}
_exports: Dict[type, Optional[Exports]] = {}
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.LambdaType)


def make_server_class(
    kind: type,
    export_methods: Optional[Iterable[str]] = None,
    export_attrs: Optional[Iterable[str]] = None,
    export_attrs_cache: Iterable[str] = (),
    proxy_class: Optional[type] = None,
) -> type:
    """Have the instances of a class stay where they were made, as those of a ServerObject do; return the class."""
    _classes[kind] = _Wish(export_methods, export_attrs, export_attrs_cache, proxy_class)
    _exports.clear()
    return kind


def make_singleton(
    value: Any,
    export_methods: Optional[Iterable[str]] = None,
    export_attrs: Optional[Iterable[str]] = None,
    export_attrs_cache: Iterable[str] = (),
    proxy_class: Optional[type] = None,
) -> Any:
    """Have this one object stay where it was made, whatever others of its class do; return it."""
    wish = _Wish(export_methods, export_attrs, export_attrs_cache, proxy_class)
    _singletons[id(value)] = (value, _make(type(value), wish))
    return value


def exports_of(value: Any) -> Optional[Exports]:
    """Return what may be reached of an object that stays here; None for one that travels, if it can."""
    if _singletons and id(value) in _singletons:
        return _singletons[id(value)][1]
    kind = type(value)
    try:
        return _exports[kind]
    except KeyError:
        found = _exports[kind] = _find(kind)
        return found


def _find(kind: type) -> Optional[Exports]:
    for base in kind.__mro__:
        if base in _classes:
            return _make(kind, _classes[base])
    if issubclass(kind, ServerObject):
        names = ("export_methods", "export_attrs", "export_attrs_cache", "proxy_class")
        methods, attributes, cached, proxy = (getattr(kind, name, None) for name in names)
        return _make(kind, _Wish(methods, attributes, cached, proxy))
    if issubclass(kind, (io.IOBase, collections.abc.Iterator)):
        return _make(kind, _Wish(None, None if issubclass(kind, io.IOBase) else (), (), None))
    if issubclass(kind, _FUNCTIONS):
        return Exports(str(kind.__name__), ["__call__"])
    return None


def _make(kind: type, wish: _Wish) -> Exports:
    methods, attributes = _with_auto(wish.methods, kind), tuple(wish.attributes or ())
    every = wish.attributes is None or AUTO in attributes
    proxy = "" if wish.proxy is None else "{}:{}".format(wish.proxy.__module__, wish.proxy.__qualname__)
    if wish.proxy is not None:
        # What the proxy's own class names may be reached, too; and for the default one, all.
        methods |= frozenset(getattr(wish.proxy, "proxy_methods", ()))
        attributes += tuple(getattr(wish.proxy, "proxy_attrs", ()))
        wish.cached = tuple(wish.cached or ()) + tuple(getattr(wish.proxy, "proxy_attrs_cache", ()))
    names = [name for name in attributes if name != AUTO]
    return Exports(kind.__name__, methods, names, wish.cached or (), every, proxy)


def _with_auto(methods: Optional[Iterable[str]], kind: type) -> FrozenSet[str]:
    given = frozenset((AUTO,) if methods is None else methods)
    if AUTO not in given:
        return given
    return (given - {AUTO}) | frozenset(_methods_of(kind))


def _methods_of(kind: type) -> Iterable[str]:
    """Yield the methods that a class and its bases define, but for those that every object has."""
    for name in dir(kind):
        if name.startswith("_") and name not in SPECIAL_METHODS:
            continue
        found = getattr(kind, name, None)
        if callable(found) and not isinstance(found, type) and found is not getattr(object, name, None):
            yield name
