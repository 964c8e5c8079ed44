"""What a configuration is made of: components, and the list of them."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator
from typing import Any, ClassVar

from sremote.errors import UsageError

LOCAL_HOST = "localhost"
"""The host that means this machine."""


class Component:
    """A program, its arguments and files, and the host that it runs on.

    Its attributes are a closed set: setting another is an AttributeError that names the
    nearest.  ``name``, ``executable`` and ``host`` have to be set; keyword arguments set
    any.

    name         what messages and windows call it; no two have the same
    executable   its path on the host, relative to base_dir (for localhost: to the
                 configuration's folder); it is not sent there unless it is among the files
    args         its arguments, word for word
    base_dir     the folder on the host that it runs in, relative to home; None: a
                 temporary one is made (for localhost: the folder that one is in)
    files        files here (relative to the configuration's folder) and where they go on
                 the host (relative to base_dir); a folder here makes an empty one there
    host         ``localhost``, or whatever ``sremote.connect`` takes
    start_index  components start in this order, those of equal ones together
    wait         whether the run lasts until it has ended
    env          environment variables to set
    ready        when it counts as started: None as soon as it runs; a port number, once
                 that answers on its host; or a dict with ``port``, ``output`` (a regular
                 expression that a line of its output matches) or ``file`` (a path on the
                 host, relative to base_dir), and perhaps ``timeout`` in seconds
    on_failure   what its failure means: "continue", "stop" the whole run, or "restart" it
    """

    LEGAL_ATTRS: ClassVar[frozenset[str]] = frozenset(
        {
            "name",
            "executable",
            "args",
            "base_dir",
            "files",
            "host",
            "start_index",
            "wait",
            "env",
            "ready",
            "on_failure",
        }
    )

    name: str
    executable: str
    args: list[Any]
    base_dir: str | None
    files: dict[str, str]
    host: str
    start_index: float
    wait: bool
    env: dict[str, str]
    ready: int | dict[str, Any] | None
    on_failure: str

    def __init__(self, **attributes: Any) -> None:
        self.args = []
        self.base_dir = None
        self.files = {}
        self.start_index = 0
        self.wait = False
        self.env = {}
        self.ready = None
        self.on_failure = "continue"
        for name, value in attributes.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.LEGAL_ATTRS:
            raise AttributeError(_no_such_attribute(name))
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name in self.LEGAL_ATTRS:
            raise AttributeError(f"the component's {name} has not been set")
        raise AttributeError(_no_such_attribute(name))

    def __repr__(self) -> str:
        return f"<Component {vars(self).get('name', 'without a name')!r}>"

    def get_missing_attributes(self) -> list[str]:
        """Return the attributes that have not been set."""
        return sorted(self.LEGAL_ATTRS - vars(self).keys())

    def all_set(self) -> bool:
        """Say whether every attribute has been set."""
        return not self.get_missing_attributes()

    def check_all_set(self) -> None:
        """Raise UsageError where an attribute has not been set."""
        if missing := self.get_missing_attributes():
            name = vars(self).get("name", "a component without a name")
            raise UsageError(f"{name}: {', '.join(missing)} must be set")


def _no_such_attribute(name: str) -> str:
    known = sorted(Component.LEGAL_ATTRS)
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
    return f"a Component has no attribute {name!r}: {hint}"


class Config:
    """The components of a launch.  The configuration file gets one as ``config``, and adds to it."""

    LOCAL_HOST: ClassVar[str] = LOCAL_HOST

    def __init__(self) -> None:
        self._components: list[Component] = []

    def add_component(self, component: Component) -> None:
        """Add a copy of ``component``, which may then be changed and added again."""
        if not isinstance(component, Component):
            raise UsageError(f"config.add_component takes a Component, not {component!r}")
        self._components.append(copy.deepcopy(component))

    def clear_components(self) -> None:
        """Take all components out."""
        self._components = []

    def all_components(self) -> Iterator[Component]:
        """Iterate over the components, in the order in which they were added."""
        return iter(self._components)

    def all_remote_components(self) -> Iterator[Component]:
        """Iterate over those that do not run on this machine."""
        return (each for each in self._components if each.host != LOCAL_HOST)

    def all_local_components(self) -> Iterator[Component]:
        """Iterate over those that run on this machine."""
        return (each for each in self._components if each.host == LOCAL_HOST)

    def all_hosts(self) -> set[str]:
        """Return the hosts of all components."""
        return {each.host for each in self._components}

    def check_names_unique(self) -> None:
        """Raise UsageError where two components have the same name."""
        names = [each.name for each in self._components]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"several components are called {', '.join(map(repr, twice))}", "Give each its own name.")
