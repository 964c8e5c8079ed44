"""The interpreter on hosts where nothing can be unpacked beforehand: one file that unpacks itself when it is run."""

from __future__ import annotations

import posixpath
from contextlib import suppress

from sremote.bundle import interpreter_digest, interpreter_program
from sremote.connectors.base import Capability, Completed, Connector
from sremote.connectors.batch import BatchSystem
from sremote.errors import FileMissing, HostError, LineError, SremoteError, UsageError
from sremote.host import EXITS_BEFORE_START, Host


def absolute_root(host: Host) -> str:
    """Return sremote's folder on the host, absolute.  Raises UsageError where the home directory is not known."""
    if host.root.startswith("/"):
        return host.root
    capabilities = host.connector.capabilities
    if Capability.BATCH in capabilities:
        return posixpath.join(host.connector.home, host.root)
    if Capability.EXECUTE in capabilities:
        return host.probe().root
    raise UsageError(f"{host.where}: its home directory is not known", "Give root= an absolute folder there.")


def why_without_result(
    host: Host, files: Connector, batch: BatchSystem, job: str, folder: str
) -> tuple[str, SremoteError | None]:
    """Return the last line that a job printed into its folder, and why it could not start where that is known."""
    printed, status = b"", None
    with suppress(HostError, LineError):
        printed = files.read(f"{folder}/batch")
    with suppress(HostError, LineError):
        found = batch.jobs([job]).get(job)
        status = None if found is None else found.exit_status
    reason = host.failure_to_start(Completed(status, b"", printed)) if status in EXITS_BEFORE_START else None
    return printed.decode("utf-8", "replace").strip().rpartition("\n")[2], reason


class SelfUnpacking:
    """The file that unpacks itself, on one host; it is put there once for each version."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._there = False

    def ensure(self, connector: Connector) -> None:
        """Have the file there.  A little one beside it says that it is whole."""
        if self._there:
            return
        place = self._place()
        try:
            connector.read(f"{place}.pushed")
        except FileMissing:
            connector.put(interpreter_program(), place)
            connector.put(b"", f"{place}.pushed")
        self._there = True

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs the interpreter with ``arguments``, in the host's environment."""
        host = self._host
        return host.command(
            [
                *("env", f"SREMOTE_PYTHON={host.python or ''}", "sh", self._place(), "--unpacked"),
                *(absolute_root(host), host.shared or "", interpreter_digest(), *host.wanted_environment),
                *arguments,
            ]
        )

    def _place(self) -> str:
        return posixpath.join(absolute_root(self._host), "interpreter", f"{interpreter_digest()}.run")
