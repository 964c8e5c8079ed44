"""A host of a launch: the way there, and what is asked of it in one call each."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sremote import trees
from sremote.client import Client
from sremote.connection import open_host
from sremote.connectors.address import parse_address
from sremote.connectors.base import Capability
from sremote.connectors.ssh_prompt import Prompt, default_prompt
from sremote.hosts import HostSettings, find_host
from sremote.launcher.configuration import LOCAL_HOST
from sremote.launcher.options import LaunchOptions
from sremote.launcher.plan import PlannedComponent, PlannedFile
from sremote.session import Session
from sremote.tree_progress import ProgressCallback
from sremote.trees import Copied

_FAR_SIDE = "sremote_interpreter.components"
_CHECKS = "sremote_interpreter.component_checks"


class HostLink:
    """One host; may be used from several threads once it is connected."""

    def __init__(self, name: str, options: LaunchOptions) -> None:
        self.name = name
        self.multiplexer = ""
        self._options = options
        self._client: Client | None = None
        self._session: Session | None = None
        self._lock = threading.Lock()
        self._folders: dict[str, str] = {}
        self._home = ""
        self._root = ""

    @property
    def client(self) -> Client:
        """The client of the host, which has been connected to."""
        assert self._client is not None
        return self._client

    def connect(self) -> None:
        """Connect, and see what is there.  Raises LineError and NotReady."""
        settings = host_settings(self.name, self._options).override(preload=(_FAR_SIDE, _CHECKS))
        self._client = Client(open_host(settings), login_env=settings.login_env)
        self._call("os", "getpid")  # whatever it is, it opens the way and tells what is there
        probe = self.client.host.probe()
        self._home, self._root = probe.home, probe.root

    def look(self, components: Sequence[PlannedComponent]) -> dict[str, Any]:
        """Return what the far side's ``look`` does: problems and multiplexer."""
        files = {}
        described = []
        for each in components:
            base_dir = None if each.base_dir is None else self.absolute(each.base_dir)
            executable: str | None = self.absolute(each.argv[0])
            if not posixpath.isabs(str(executable)):
                executable = None  # below a folder that is still to be made
            described.append(
                {"name": each.name, "executable": executable, "folder": base_dir, "sent": each.sends_executable}
            )
            for file in each.files:
                place = self.absolute(file.destination)
                if posixpath.isabs(place):
                    files[place] = {"name": each.name} if file.size is None else _described(each, file)
        found: dict[str, Any] = self._call(
            _CHECKS, "look", self._options.multiplexer, described, files, self._options.remote_done_dir
        )
        self.multiplexer = found["multiplexer"]
        return found

    def stop(
        self, ids: Sequence[str] | None = None, *, close: bool = False, drop: bool = False
    ) -> list[dict[str, Any]]:
        """Stop components (default: all of this launch's name) and return those that were running."""
        chosen = None if ids is None else list(ids)
        stopped: list[dict[str, Any]] = self._call(
            _FAR_SIDE, "stop", self._root, self._options.screen, chosen, self._options.grace, close=close, drop=drop
        )
        return stopped

    def make_folders(self, components: Sequence[PlannedComponent]) -> None:
        """Make the temporary folders of components that have no base_dir."""
        names = [each.name for each in components if each.base_dir is None]
        if names:
            paths = self._call(_FAR_SIDE, "make_folders", self._root, self._options.screen, len(names))
            self._folders.update(zip(names, paths, strict=True))

    def remove_folders(self) -> None:
        """Remove them, as nothing has been started in them."""
        if self._folders:
            self._call(_FAR_SIDE, "remove_folders", list(self._folders.values()))

    def copy(self, components: Sequence[PlannedComponent], progress: ProgressCallback | None) -> Copied:
        """Copy the files of components, in one pass; only what differs is sent."""
        files: dict[str, Path | None] = {
            self._place(each, file.destination): None if file.size is None else file.source
            for each in components
            for file in each.files
        }
        if not files:
            return Copied(0, 0, ())
        return trees.push_files(self.client.host, files, always_copy=self._options.always_copy, progress=progress)

    def start(self, components: Mapping[str, PlannedComponent]) -> dict[str, dict[str, Any]]:
        """Start components, named by the ids of their jobs; return what came of each, as the far side's ``start``."""
        described = [
            {
                "id": job_id,
                "name": each.name,
                "argv": [self._place(each, each.argv[0]), *each.argv[1:]],
                "folder": self._folder(each),
                "temporary": each.base_dir is None,
                "variables": dict(each.env),
                "done": self._done_file(each),
            }
            for job_id, each in components.items()
        ]
        settings = {"multiplexer": self.multiplexer, "zombie": self._options.zombie}
        came: dict[str, dict[str, Any]] = self._call(
            _FAR_SIDE, "start", self._root, self._options.screen, settings, described
        )
        return came

    def readiness(self, component: PlannedComponent) -> dict[str, Any] | None:
        """Return what the far side has to look for until a component is ready; None where it has nothing to."""
        ready = component.ready
        if ready is None or ready.output is not None:
            return None
        if ready.port is not None:
            return {"port": ready.port}
        assert ready.file is not None
        return {"file": self._place(component, ready.file)}

    def watch(
        self, offsets: Mapping[str, int], ready: Mapping[str, dict[str, Any]], patience: float
    ) -> dict[str, dict[str, Any]]:
        """Return what has happened to components, as the far side's ``watch``; for one thread."""
        arguments = (self._root, dict(offsets), dict(ready), patience)
        if Capability.STREAM not in self.client.host.connector.capabilities:
            news: dict[str, dict[str, Any]] = self._call(_FAR_SIDE, "watch", *arguments)
            return news
        if self._session is None:
            self._session = self.client.session(echo=False)
        try:
            news = self._session.call(_FAR_SIDE, "watch", arguments)
        except BaseException:
            self._session = None
            raise
        return news

    def status(self) -> list[dict[str, Any]]:
        """Return the components of this launch's name that the host knows, as the far side's ``status``."""
        found: list[dict[str, Any]] = self._call(_FAR_SIDE, "status", self._root, self._options.screen)
        return found

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            client, self._client = self._client, None
            session, self._session = self._session, None
        if session is not None:
            session.close()
        if client is not None:
            client.close()

    def absolute(self, path: str) -> str:
        """Return a path on the host with its home in the place of ``~``; relative ones stay as they are."""
        return (
            posixpath.normpath(posixpath.join(self._home, path[2:]))
            if path.startswith("~/")
            else (self._home if path == "~" else path)
        )

    def _folder(self, component: PlannedComponent) -> str:
        return self._folders[component.name] if component.base_dir is None else self.absolute(component.base_dir)

    def _place(self, component: PlannedComponent, path: str) -> str:
        return posixpath.normpath(posixpath.join(self._folder(component), self.absolute(path)))

    def _done_file(self, component: PlannedComponent) -> str:
        folder = self._options.remote_done_dir
        return "" if folder is None else posixpath.join(self._home, self.absolute(folder), f"{component.name}.done")

    def _call(self, module: str, function: str, *args: Any, **kwargs: Any) -> Any:
        return self.client.call(module, function, args, kwargs, echo=False)


def _described(component: PlannedComponent, file: PlannedFile) -> dict[str, Any]:
    return {"name": component.name, "size": file.size, "mode": file.mode}


def host_settings(name: str, options: LaunchOptions) -> HostSettings:
    """Return how to reach a component's host.  Raises UsageError where the name cannot be one."""
    if name == LOCAL_HOST:
        return find_host("local:")
    settings = find_host(name)
    address = parse_address(settings.address)
    if options.user and address.host and address.user is None:
        text = address.text
        where = text.index("//") + 2 if "//" in text else 0
        settings = settings.override(address=f"{text[:where]}{options.user}@{text[where:]}")
    if options.password is not None and address.scheme == "ssh":
        settings = settings.override(connector={"prompt": _answer_with(options.password)})
    return settings


def _answer_with(password: str) -> Prompt:
    """Return what answers questions for a password or passphrase, and passes others on to the user."""

    def answer(question: str, echo: bool) -> str:
        if "pass" in question.lower():
            return password
        ask = default_prompt()
        if ask is None:
            raise EOFError(f"nobody is here to answer {question!r}")
        return ask(question, echo)

    return answer
