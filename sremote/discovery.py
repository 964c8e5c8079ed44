"""location.json: where an application's installation and folders are on a host.

The file stands in sremote's folder there, ``~/.sremote/location.json`` unless the
root is elsewhere, and in the folder of a shared installation:

    {"format": 1,
     "default": {"installation": "/project/shared/sremote"},
     "applications": {"qdo": {"environment": "qdo", "temporary": "/scratch/tmp", "working": "runs"}}}

An application's keys go before those of ``default``, and these before what is
built in.  Paths are absolute, or relative to the home directory of whoever reads
the file; ``~/`` may stand before them.  Keys that are not known are left alone.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sremote.connectors.base import Connector
from sremote.errors import FileMissing, FormatError, NotInstalled
from sremote.host import DEFAULT_ENVIRONMENT, DEFAULT_ROOT

FILE = "location.json"
FORMAT = 1


@dataclass(frozen=True)
class Location:
    """Where things are; paths as in the file, see ``absolute``."""

    root: str = DEFAULT_ROOT
    """The user's own folder, for jobs."""
    installation: str | None = None
    """The folder whose ``env/`` holds the environments; ``root`` by default."""
    environment: str = DEFAULT_ENVIRONMENT
    temporary: str | None = None
    """For temporary files of calls; the host's own choice by default."""
    working: str | None = None
    """Where calls start; the home directory by default."""


def absolute(path: str, home: str) -> str:
    """Return a path of the file for a user whose home directory is ``home``."""
    return posixpath.normpath(posixpath.join(home, "." if path == "~" else path.removeprefix("~/")))


def find_location(connector: Connector, application: str | None = None, *, root: str | None = None) -> Location:
    """Read a host's location.json from ``root`` (default ``~/.sremote``); without one, the defaults.

    Raises NotInstalled where the host does not know ``application``, FormatError
    where the file is damaged.
    """
    path = posixpath.join(root or DEFAULT_ROOT, FILE)
    try:
        text = connector.read(path).decode("utf-8", "replace")
    except FileMissing:
        text = json.dumps({"format": FORMAT})
    return read_location(text, application, where=f"{connector.name}: {path}", root=root)


def read_location(text: str, application: str | None = None, *, where: str = FILE, root: str | None = None) -> Location:
    """Return what a location.json says for ``application``; ``where`` is how messages call the file.

    ``root`` is the default of that key.  Raises as ``find_location``.
    """
    document = _parse(text, where)
    applications = document.get("applications", {})
    if application is not None and application not in applications:
        raise NotInstalled(
            f"{where} knows no application {application!r}; those there: {', '.join(applications) or 'none'}",
            f"Install it with --application {application}, or leave --application out.",
        )
    entry = {**document.get("default", {}), **applications.get(application or "", {})}
    known: dict[str, str] = {"root": root or DEFAULT_ROOT}
    for key in (field.name for field in fields(Location) if field.name in entry):
        value = entry[key]
        if isinstance(value, str) and value and "\0" not in value:
            known[key] = value
        else:
            raise FormatError(f"{where}: {key} = {value!r} is not a {'name' if key == 'environment' else 'path'}")
    return Location(**known)


def with_entry(text: str | None, application: str | None, entry: Mapping[str, str], *, where: str = FILE) -> str:
    """Return the file's text with ``entry`` for ``application`` (None: the default) put into it.

    ``text`` is the file as it is, None where there is none.  Raises FormatError
    where it is damaged.
    """
    document: dict[str, Any] = _parse(text, where) if text is not None else {"format": FORMAT}
    place = document.setdefault("applications", {}) if application is not None else document
    key = application if application is not None else "default"
    place[key] = {**place.get(key, {}), **entry}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _parse(text: str, where: str) -> dict[str, Any]:
    remedy = f"Mend or remove it: {where}"
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} is not JSON: {error}", remedy) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FormatError(f"{where} is not a location file of format {FORMAT}", remedy)
    applications = document.get("applications", {})
    tables = [document.get("default", {}), applications]
    tables += applications.values() if isinstance(applications, dict) else []
    if not all(isinstance(table, dict) for table in tables):
        raise FormatError(f"{where}: 'default' and 'applications' must be objects, and each application too", remedy)
    return document
