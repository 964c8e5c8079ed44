"""What ~/.ssh/config says about a host.

paramiko reads the file's ``Host`` and ``Match`` blocks.  Added here are ``Include``,
the system's own file, the tokens and variables of each setting as ssh_config(5) has
them, and the order in which ProxyJump and ProxyCommand shut each other out.
"""

from __future__ import annotations

import getpass
import glob
import logging
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import paramiko

from sremote.connectors.address import DEFAULT_SCHEME, Address, parse_address
from sremote.connectors.errors import UsageError

DEFAULT_PORT = 22
SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
SYSTEM_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
USER_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
DEFAULT_IDENTITIES = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")
"""Those of ssh(1) that paramiko can read."""

_INCLUDE_DEPTH = 16
_MATCH_CRITERIA = {"all", "canonical", "final", "host", "originalhost", "user", "localuser", "exec"}

log = logging.getLogger("sremote.connectors")


@dataclass(frozen=True)
class SshHost:
    """A host as the configuration describes it; paths are expanded, ``name`` is what the user wrote."""

    name: str
    host: str
    port: int
    user: str
    identity_files: tuple[Path, ...] = ()
    certificate_files: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: str | None = None
    """The socket of the ssh agent; None for none."""
    jumps: tuple[str, ...] = ()
    """The hosts on the way, in order, each as ``[user@]host[:port]``."""
    proxy_command: str | None = None
    known_hosts: tuple[Path, ...] = ()
    """Where the user's host keys stand; the first is written to."""
    system_known_hosts: tuple[Path, ...] = ()
    hash_known_hosts: bool = False
    key_alias: str | None = None
    connect_timeout: float | None = None
    family: socket.AddressFamily = socket.AF_UNSPEC

    @property
    def key_name(self) -> str:
        """What known_hosts calls it."""
        if self.key_alias:
            return self.key_alias
        return self.host if self.port == DEFAULT_PORT else f"[{self.host}]:{self.port}"


@dataclass
class SshConfig:
    """An ssh_config file, and what options say over it.

    ``path`` None is the user's file and the system's behind it.  ``key_file`` goes
    before the identities of the file, ``known_hosts`` replaces its files.
    """

    path: Path | None = None
    key_file: Path | None = None
    known_hosts: Path | None = None
    _parsed: paramiko.SSHConfig = field(init=False, repr=False)

    def __post_init__(self) -> None:
        user_file = self.path or Path("~/.ssh/config").expanduser()
        if self.path is not None and not self.path.exists():
            raise UsageError(f"there is no ssh configuration file {self.path}")
        files = [user_file] if self.path is not None else [user_file, SYSTEM_CONFIG]
        text = "\n".join(line for path in files for line in ("Host *", *_lines(path)))
        try:
            self._parsed = _Parser.from_text(text)
        except (paramiko.ConfigParseError, ValueError) as error:
            raise UsageError(f"{user_file} is not an ssh configuration: {error}") from error

    def host(self, address: Address) -> SshHost:
        """Return what holds for ``address``, whose own user and port win."""
        try:
            found = self._parsed.lookup(address.host)
        except (paramiko.SSHException, KeyError) as error:
            raise UsageError(f"{address}: the ssh configuration cannot be followed: {error}") from error
        settings = _Settings(found, address)
        jumps, command = settings.proxy()
        certificates = settings.paths("certificatefile")
        identities = settings.paths("identityfile", DEFAULT_IDENTITIES)
        return SshHost(
            name=str(address),
            host=settings.host,
            port=settings.port,
            user=settings.user,
            identity_files=(self.key_file.expanduser(), *identities) if self.key_file else identities,
            certificate_files=certificates,
            identities_only=settings.flag("identitiesonly"),
            agent=settings.agent(),
            jumps=jumps,
            proxy_command=command,
            known_hosts=(self.known_hosts.expanduser(),)
            if self.known_hosts
            else settings.paths("userknownhostsfile", USER_KNOWN_HOSTS),
            system_known_hosts=settings.paths("globalknownhostsfile", SYSTEM_KNOWN_HOSTS),
            hash_known_hosts=settings.flag("hashknownhosts"),
            key_alias=found.get("hostkeyalias"),
            connect_timeout=settings.connect_timeout(),
            family={"inet": socket.AF_INET, "inet6": socket.AF_INET6}.get(
                found.get("addressfamily", "any").lower(), socket.AF_UNSPEC
            ),
        )


class _Parser(paramiko.SSHConfig):
    # The other settings are expanded below: paramiko knows too few tokens, and no %%.
    TOKENS_BY_CONFIG_KEY: ClassVar[dict[str, list[str]]] = {
        key: paramiko.SSHConfig.TOKENS_BY_CONFIG_KEY[key] for key in ("hostname", "match-exec")
    }

    def _does_match(
        self, match_list: list[dict[str, Any]], target_hostname: str, canonical: bool, final: bool, options: Any
    ) -> bool:
        # paramiko's own way to run the command of "Match exec" reads the program's standard input.
        others = [criterion for criterion in match_list if criterion["type"] != "exec"]
        if others and not super()._does_match(others, target_hostname, canonical, final, options):
            return False
        for criterion in match_list:
            if criterion["type"] == "exec":
                command = self._tokenize(options, target_hostname, "match-exec", criterion["param"])
                if _succeeds(command) == criterion["negate"]:
                    return False
        return bool(match_list)


def _succeeds(command: str) -> bool:
    shell = os.environ.get("SHELL") or "/bin/sh"
    return subprocess.run([shell, "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode == 0


class _Settings:
    """The settings found for one host, read one at a time."""

    def __init__(self, found: paramiko.SSHConfigDict, address: Address) -> None:
        self._found = found
        self._address = address
        self.host: str = found["hostname"]
        self.user: str = address.user or found.get("user") or getpass.getuser()
        self.port = address.port or self._number("port", DEFAULT_PORT)

    def flag(self, key: str) -> bool:
        return str(self._found.get(key, "no")).lower() in ("yes", "true")

    def paths(self, key: str, default: Sequence[str] = ()) -> tuple[Path, ...]:
        """Return a setting's paths; an IdentityFile is one path, others are words."""
        value = self._found.get(key, list(default))
        words = shlex.split(value) if isinstance(value, str) else value
        return tuple(self._path(word) for word in words if word.lower() != "none")

    def agent(self) -> str | None:
        value = self._found.get("identityagent", "SSH_AUTH_SOCK")
        if value.lower() == "none":
            return None
        if value == "SSH_AUTH_SOCK":
            return os.environ.get("SSH_AUTH_SOCK")
        return os.environ.get(value[1:]) if re.fullmatch(r"\$\w+", value) else str(self._path(value))

    def proxy(self) -> tuple[tuple[str, ...], str | None]:
        """Return the jumps and the proxy command; the one that stands first in the file holds."""
        for key, value in self._found.items():
            if key == "proxyjump":
                jumps = self._expand(value)
                return () if jumps.lower() == "none" else tuple(jump.strip() for jump in jumps.split(",")), None
            if key == "proxycommand":
                return (), None if value is None else self._expand(value)
        return (), None

    def connect_timeout(self) -> float | None:
        return float(self._number("connecttimeout", 0)) or None

    def _number(self, key: str, default: int) -> int:
        value = self._found.get(key, default)
        try:
            return int(value)
        except ValueError:
            raise UsageError(f"{self._address}: {key} {value!r} in the ssh configuration is not a number") from None

    def _path(self, value: str) -> Path:
        variables = re.sub(r"\$\{(\w+)\}", lambda match: os.environ.get(match[1], match[0]), value)
        return Path(self._expand(variables)).expanduser()

    def _expand(self, value: str) -> str:
        """Replace the tokens of ssh_config(5)."""
        tokens = {
            "%": lambda: "%",
            "d": lambda: str(Path.home()),
            "h": lambda: self.host,
            "k": lambda: self._found.get("hostkeyalias", self.host),
            "i": lambda: str(os.getuid()),
            "L": lambda: socket.gethostname().partition(".")[0],
            "l": socket.gethostname,
            "n": lambda: self._address.host,
            "p": lambda: str(self.port),
            "r": lambda: self.user,
            "u": getpass.getuser,
        }

        def token(match: re.Match[str]) -> str:
            if match[1] not in tokens:
                raise UsageError(f"{self._address}: {match[0]} in {value!r} of the ssh configuration is not understood")
            return str(tokens[match[1]]())

        return re.sub(r"%(.)", token, value)


def jump_address(jump: str) -> Address:
    """Read one host of a ProxyJump.  Raises UsageError where it is none."""
    address = parse_address(jump)
    if address.scheme != DEFAULT_SCHEME:
        raise UsageError(f"ProxyJump: {jump!r} is not an ssh host")
    return address


def _lines(path: Path, depth: int = 0) -> Iterator[str]:
    """Yield the lines of a configuration, with those of the files that it includes in their place.

    Behind an included file the block that it stood in begins again.
    """
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if depth > _INCLUDE_DEPTH:
        raise UsageError(f"{path}: the ssh configuration includes itself")
    block = "Host *"
    for line in text.splitlines():
        key, _, value = re.sub(r"\s*=\s*|\s+", " ", line.strip(), count=1).partition(" ")
        if key.lower() == "include":
            for pattern in shlex.split(value):
                place = _base(path) / Path(pattern).expanduser()
                for included in sorted(glob.glob(str(place))):  # noqa: PTH207 - Path.glob takes no absolute pattern
                    yield from _lines(Path(included), depth + 1)
                    yield block
            continue
        if key.lower() in ("host", "match"):
            block = line if key.lower() == "host" else _understood(line, value, path)
            yield block
        else:
            yield line


def _base(path: Path) -> Path:
    """Return where the relative paths of ``Include`` begin."""
    return SYSTEM_CONFIG.parent if SYSTEM_CONFIG.parent in path.parents else Path("~/.ssh").expanduser()


def _understood(line: str, criteria: str, path: Path) -> str:
    """Return a ``Match`` line, or one that matches nothing where paramiko would take it for anything."""
    words = shlex.split(criteria)
    while words:
        word = words.pop(0).lstrip("!")
        if word not in _MATCH_CRITERIA:
            log.warning("%s: %r is not understood; its block is left out", path, line.strip())
            return "Host !*"
        if word not in ("all", "canonical", "final"):
            words = words[1:]
    return line
