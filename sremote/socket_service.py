"""``sremote serve`` as a service of systemd: the user's own, or the whole machine's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sremote.errors import FileMissing, HostError, PermissionRefused, UsageError

UNIT = "sremote.service"
SYSTEMCTL_TIMEOUT = 60.0
"""Seconds that systemctl may take."""

_TEMPLATE = """\
[Unit]
Description=sremote: calls and commands over a TCP port
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={command}
{user}Restart=on-failure
RestartSec=2
# A connection ends with the server. What runs over it is seen to its end, as after any drop of the line.
KillMode=process

[Install]
WantedBy={target}
"""


@dataclass(frozen=True)
class ServiceState:
    """What systemd says of the service: words such as ``active`` and ``enabled``; ``file`` is the unit file."""

    file: str
    installed: bool
    active: str
    enabled: str


class Service:
    """The service of this user, or with ``system`` of the machine."""

    def __init__(self, *, system: bool = False) -> None:
        self.system = system
        if system:
            folder = Path("/etc/systemd/system")
        else:
            folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
        self.file = folder / UNIT

    def install(self, arguments: Sequence[str], *, user: str | None = None) -> None:
        """Write the unit file, and have the service start with the machine or the user's first sign-in.

        ``arguments`` are those of ``sremote serve``; ``user`` is whose the processes of
        a system's service are (default: root).
        """
        words = [*program(), "serve", *arguments]
        text = _TEMPLATE.format(
            command=" ".join(map(quote, words)),
            user=f"User={user}\n" if user else "",
            target="multi-user.target" if self.system else "default.target",
        )
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(text)
        except OSError as error:
            raise self._refusal("write", error) from error
        self._systemctl("daemon-reload")
        self._systemctl("enable", UNIT)

    def uninstall(self) -> None:
        """Stop the service and remove its unit file.  Raises FileMissing where there is none."""
        self._require_file()
        self._systemctl("disable", "--now", UNIT)
        try:
            self.file.unlink()
        except OSError as error:
            raise self._refusal("remove", error) from error
        self._systemctl("daemon-reload")

    def start(self) -> None:
        """Start it, or start it again where its unit file has changed."""
        self._require_file()
        self._systemctl("restart", UNIT)

    def stop(self) -> None:
        """Stop it until the next start."""
        self._require_file()
        self._systemctl("stop", UNIT)

    def state(self) -> ServiceState:
        """Return how it fares."""
        if not self.file.exists():
            return ServiceState(str(self.file), False, "inactive", "disabled")
        shown = self._systemctl("show", "--property=ActiveState,UnitFileState", UNIT)
        found = dict(line.partition("=")[::2] for line in shown.splitlines())
        active, enabled = found.get("ActiveState", "unknown"), found.get("UnitFileState") or "disabled"
        return ServiceState(str(self.file), True, active, enabled)

    def _systemctl(self, *words: str) -> str:
        command = ["systemctl", *([] if self.system else ["--user"]), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SYSTEMCTL_TIMEOUT)
        except FileNotFoundError:
            raise UsageError(
                "there is no systemctl on this machine",
                "Let its own service program start: sremote serve --key FILE",
            ) from None
        except subprocess.TimeoutExpired:
            raise HostError(f"{' '.join(command)}: no answer within {SYSTEMCTL_TIMEOUT:.0f} s") from None
        if done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}"
            remedy = "Type: journalctl " + ("" if self.system else "--user ") + f"--unit {UNIT}"
            if "bus" in said and not self.system:
                remedy = "Sign in anew, so that systemd has a session for you, or use --system as root."
            raise HostError(f"{' '.join(command)}: {said.splitlines()[0]}", remedy)
        return done.stdout

    def _require_file(self) -> None:
        if not self.file.exists():
            scope = " --system" if self.system else ""
            raise FileMissing(
                f"the service is not installed: there is no {self.file}",
                f"Type: sremote serve{scope} --install --key FILE",
            )

    def _refusal(self, verb: str, error: OSError) -> HostError:
        kind = PermissionRefused if isinstance(error, PermissionError) else HostError
        return kind(f"cannot {verb} {self.file}: {error.strerror}", "Use sudo." if self.system else None)


def program() -> list[str]:
    """Return the words that start this very sremote."""
    here = Path(sys.argv[0])
    found = str(here.absolute()) if here.name == "sremote" and here.exists() else shutil.which("sremote")
    return [found] if found else [sys.executable, "-c", "from sremote.cli import main; raise SystemExit(main())"]


def quote(word: str) -> str:
    """Return a word as a line of a unit file has it (systemd.service(5), "Command lines")."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    plain = word and all(letter.isalnum() or letter in "-_./:,=@[]" for letter in word)
    return escaped if plain else f'"{escaped}"'
