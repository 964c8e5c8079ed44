"""The hosts file: short names for hosts, with what ``sremote.connect`` needs to reach them.

The file is TOML, ``~/.config/sremote/hosts.toml`` on Linux (``XDG_CONFIG_HOME``
counts); one table a host, its keys those of ``HostSettings``:

    [hosts.cluster]
    address = "user@login.example.org"
    root = "/scratch/user/.sremote"
    preamble = "module load python"

    [hosts.cluster.connector]          # the connector's own options
    key_file = "~/.ssh/id_cluster"

An edit changes the lines of one host and leaves the others, with their
comments, as they are.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sremote.connectors.address import parse_address
from sremote.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class HostSettings:
    """How to reach a host and what to use there: the arguments of ``sremote.connect``."""

    address: str
    """``user@host``, ``local:`` or a URL such as ``openssh://host``."""
    python: str | None = None
    """The Python to run there, a path or a name on its PATH; looked for by default."""
    root: str | None = None
    """sremote's directory there; ``~/.sremote`` by default."""
    environment: str | None = None
    """The installed environment that calls run in; the host's own Python by default."""
    preamble: str | None = None
    """A line of shell to run first, such as ``module load python``."""
    trust: bool = False
    """Whether what this host returns may be any object, which can run code here."""
    login_env: bool = False
    """Whether calls see the environment of the user's login shell."""
    application: str | None = None
    """The application whose shared installation is looked up there."""
    preload: Sequence[str] = ()
    """Modules that the host imports once a connection, for all calls."""
    via: str | None = None
    """The host on the way, a name or an address: what leads to this one runs there."""
    connector: Mapping[str, object] = field(default_factory=dict)
    """The connector's own options, by name."""
    name: str = ""
    """The host as the user wrote it; no key of the file."""

    def override(self, *, connector: Mapping[str, object] | None = None, **given: object) -> HostSettings:
        """Return these settings with those of ``given`` that are not None in their place."""
        merged = {**self.connector, **(connector or {})}
        changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        return dataclasses.replace(self, connector=merged, **changes)

    def entries(self) -> dict[str, object]:
        """Return what the hosts file says for this host: every key that differs from its default."""
        return {
            key.name: getattr(self, key.name)
            for key in _KEYS.values()
            if getattr(self, key.name) not in (None, False, (), {})
        }


_KEYS = {key.name: key for key in dataclasses.fields(HostSettings) if key.name != "name"}
_KINDS = {"str": str, "str | None": str, "bool": bool, "Sequence[str]": list, "Mapping[str, object]": dict}
_KIND_NAMES = {str: "a string", bool: "true or false", list: "a list of names", dict: "a table"}


def hosts_file() -> Path:
    """Return where the hosts file is, or would be."""
    from platformdirs import user_config_path

    return user_config_path("sremote", appauthor=False) / "hosts.toml"


def find_host(name: str, **given: Any) -> HostSettings:
    """Return the settings of ``name``: a host of the hosts file, else an address.

    Those of ``given`` (keys as in ``HostSettings``) that are not None override the
    file.  Raises UsageError where the hosts file is wrong.
    """
    known = read_hosts().get(name) if _NAME.fullmatch(name) else None
    return (known or HostSettings(name, name=name)).override(**given)


def read_hosts() -> dict[str, HostSettings]:
    """Return the hosts of the hosts file by name, in its order; none where there is no file.

    Raises UsageError with the file and line, or the host and key, where it is wrong.
    """
    path = hosts_file()
    return _hosts_in(_text_of(path), path)


def add_host(name: str, settings: HostSettings, *, replace: bool = False) -> None:
    """Write a host into the hosts file.

    Raises UsageError where the name is there already and ``replace`` is false, or
    the address cannot be one.
    """
    parse_address(settings.address)
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a name for a host", "Use letters, digits, '.', '_' and '-'.")
    path = hosts_file()
    text = _text_of(path)
    hosts = _hosts_in(text, path)
    if name in hosts and not replace:
        raise UsageError(f"{path} has a host {name!r} already", "Give --replace, or choose another name.")
    hosts[name] = dataclasses.replace(settings, name=name)
    rest = _without(text, name).rstrip("\n")
    _save(path, (rest + "\n\n" if rest else "") + _block(name, settings), hosts)


def remove_host(name: str) -> None:
    """Take a host out of the hosts file.  Raises UsageError where it is not there."""
    path = hosts_file()
    text = _text_of(path)
    hosts = _hosts_in(text, path)
    if name not in hosts:
        raise no_such_host(name, hosts)
    del hosts[name]
    _save(path, _without(text, name), hosts)


def no_such_host(name: str, hosts: Mapping[str, HostSettings]) -> UsageError:
    """Return the error for a name that the hosts file lacks."""
    return UsageError(f"{hosts_file()} has no host {name!r}", _nearest(name, hosts, "Those there"))


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            # As ssh does: who may write this file may run commands as its reader.
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
                raise UsageError(f"{path} may be changed by other users", f"Type: chmod go-w {path}")
            return file.read().decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _hosts_in(text: str, path: Path) -> dict[str, HostSettings]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at line (\d+), column \d+\)", str(error))
        line = int(place[1]) if place else text.count("\n") + 1
        raise UsageError(f"{path}:{line}: {re.sub(r' [(]at .*', '', str(error))}", "Mend that line.") from None
    _only_known(document, ["hosts"], f"{path}: ")
    tables = document.get("hosts", {})
    if not isinstance(tables, dict):
        raise UsageError(f"{path}: 'hosts' is not a table", "A host begins with a line such as [hosts.cluster].")
    return {name: _settings(name, table, f"{path}: [hosts.{name}]") for name, table in tables.items()}


def _settings(name: str, table: object, where: str) -> HostSettings:
    if not isinstance(table, dict):
        raise UsageError(f"{where} is not a table", f'Write [hosts.{name}] and below it address = "user@host".')
    _only_known(table, _KEYS, f"{where} ")
    if "address" not in table:
        raise UsageError(f"{where} has no address", 'Add a line such as address = "user@host".')
    for key, value in table.items():
        kind = _KINDS[str(_KEYS[key].type)]
        if not isinstance(value, kind):
            raise UsageError(f"{where} {key} = {value!r} is not {_KIND_NAMES[kind]}")
    return HostSettings(**{**table, "preload": tuple(table.get("preload", ()))}, name=name)


def _only_known(table: Mapping[str, object], keys: Mapping[str, object] | list[str], where: str) -> None:
    for key in table:
        if key not in keys:
            raise UsageError(f"{where}there is no key {key!r}", _nearest(key, keys, "Those that there are"))


def _nearest(word: str, known: Mapping[str, object] | list[str], title: str) -> str:
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"{title}: {', '.join(known) or 'none'}."


def _without(text: str, name: str) -> str:
    """Return the file's text less the tables of one host.

    Comment lines right above a table's header belong to it.
    """
    kept: list[str] = []
    pending: list[str] = []
    ours = False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("#"):
            pending.append(line)
            continue
        path = _header(line)
        if path is not None:
            ours = path[:2] == ["hosts", name]
        if not ours:
            kept += [*pending, line]
        pending = []
    return "".join(kept if ours else kept + pending)


def _header(line: str) -> list[str] | None:
    """Return the keys of a table's header line, ``[a.b]`` giving ``["a", "b"]``; None for other lines."""
    if not line.lstrip().startswith("["):
        return None
    try:
        table: object = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    path = []
    while isinstance(table, dict) and table:
        key, table = next(iter(table.items()))
        path.append(key)
    return path


def _block(name: str, settings: HostSettings) -> str:
    entries = settings.entries()
    options = entries.pop("connector", {})
    assert isinstance(options, Mapping)
    lines = [f"[hosts.{_key(name)}]", *(f"{_key(key)} = {_toml(value)}" for key, value in entries.items())]
    if options:
        lines += [f"[hosts.{_key(name)}.connector]"]
        lines += [f"{_key(key)} = {_toml(value)}" for key, value in options.items()]
    return "\n".join(lines) + "\n"


def _key(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else _toml(text)


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if value is None or not isinstance(value, str | bool | int | float):
        raise UsageError(f"{value!r} cannot stand in the hosts file")
    # TOML's strings, integers and booleans are JSON's, but for the delete character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _save(path: Path, text: str, hosts: Mapping[str, HostSettings]) -> None:
    """Write ``text`` in one step, mode 0600, once it is sure that it says ``hosts``."""
    try:
        right = _hosts_in(text, path) == hosts
    except UsageError:
        right = False
    if not right:
        raise UsageError(f"{path} is laid out in a way that cannot be edited here", "Edit it by hand.")
    target = path.resolve()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=target.parent, prefix=".hosts-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(aside).replace(target)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error}") from error
