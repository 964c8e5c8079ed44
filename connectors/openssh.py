"""``openssh:`` is any host that ``ssh HOST`` reaches: the ssh program, with its own configuration and sign-in.

All commands go over one connection that ssh keeps in the background (see
``openssh_master``), so that signing in, perhaps with a one-time code, happens once.
ssh asks questions in ``login`` alone; everywhere else what would need an answer is
an error.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path

from sremote.connectors.address import Address
from sremote.connectors.base import DEFAULT_CONNECT_TIMEOUT, Process
from sremote.connectors.check import Check
from sremote.connectors.command import CommandConnector
from sremote.connectors.errors import ConnectionLost, HostUnreachable, LineTimeout, SignInRefused, UsageError
from sremote.connectors.openssh_errors import error_of
from sremote.connectors.openssh_master import IDLE, alone, control_path, is_listening, private_folder, sessions
from sremote.connectors.shell import command_line
from sremote.connectors.ssh_check import check_ssh
from sremote.connectors.subprocess_stream import SubprocessProcess

KEEPALIVE = 15
"""Seconds of silence after which ssh asks whether the server is there; the third unanswered time it gives up."""
SESSION_WAIT = 5.0
"""Seconds that a command waits for its turn on the shared connection before it gets one of its own."""
_SSH_FAILED = 255
"""The ssh program's status for any failure of its own; a command may end with it too."""
_HARMFUL = re.compile(r"LD_|DYLD_|OPENSSL_|PYTHON")
"""Variables that environments set for programs of theirs, and that break the system's ssh."""
_SETTINGS = (
    "StrictHostKeyChecking=yes",
    "BatchMode=yes",
    "RequestTTY=no",
    "RemoteCommand=none",
    "PermitLocalCommand=no",
    "ClearAllForwardings=yes",
    "ForwardX11=no",
)
"""What a user may have configured for sessions at the keyboard and would break commands; and the safe choices."""

_LOOK_AGAIN = 0.001
"""Seconds between looks at what ssh logs."""

# What ssh logs: over a master at DEBUG2; on a connection of its own at DEBUG1, and at DEBUG2 too much.
_OWN_STATUS = re.compile(r"^debug\d: (?:Received exit status from master|Exit status) 255\s*$", re.MULTILINE)
_SENT = re.compile(r"^debug\d: Sending command", re.MULTILINE)
_OPENED = re.compile(r"^debug\d: mux_client_request_session: master session id", re.MULTILINE)
_REFUSED = re.compile(r"session request failed|refused session request|Control socket")

# ssh has no exit status for a command that a signal ended: 255, as for a dropped line.  With a
# shell around it, that is 128 + signal; what the shell says of it ("Killed") goes nowhere.
_KEEP_STATUS = 'exec 3>&2 2>/dev/null; (exec "$@") 2>&3 3>&-; exit $?'


class OpensshConnector(CommandConnector):
    """The ssh program as a way to a host.

    ssh             the program; default: the one on PATH
    config_file     its configuration, in place of ~/.ssh/config and the system's
    known_hosts     the file of host keys, in place of ~/.ssh/known_hosts
    control_master  whether commands share one connection; else each has its own
    ssh_options     more settings, each as ``Keyword=value`` of ssh_config(5)

    Where the configuration names a ControlPath and a master of the user's own runs
    there, that is the shared connection.  Host keys are checked whatever the
    configuration says.
    """

    scheme = "openssh"

    def __init__(
        self,
        address: Address,
        *,
        ssh: str = "ssh",
        config_file: str | os.PathLike[str] | None = None,
        known_hosts: str | os.PathLike[str] | None = None,
        control_master: bool = True,
        ssh_options: Sequence[str] = (),
        connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    ) -> None:
        if not address.host or address.rest:
            raise UsageError(f"{address}: there is no host in it", "Write openssh://[user@]host[:port].")
        if isinstance(ssh_options, str) or not all("=" in setting for setting in ssh_options):
            raise UsageError(f"{address}: ssh_options is a list of 'Keyword=value'", "See: man ssh_config")
        super().__init__(address, prefix=[ssh], connect_timeout=connect_timeout)
        self.environment = {name: value for name, value in os.environ.items() if not _HARMFUL.match(name)}
        self.control_master = control_master
        keys = [] if known_hosts is None else [f'UserKnownHostsFile="{_literal(known_hosts)}"']
        self._address_options = [
            *_options([*keys, *ssh_options, f"ConnectTimeout={ceil(connect_timeout)}"]),
            *(["-F", str(Path(config_file).expanduser())] if config_file is not None else []),
            *(["-l", address.user] if address.user is not None else []),
            *(["-p", str(address.port)] if address.port is not None else []),
        ]
        self._configuration: Mapping[str, str] = {}
        self._lock = threading.Lock()

    def connect(self) -> None:
        """Sign in without a question; nothing where a master is running already."""
        if self.control_master:
            self._master()
        elif not self._connected:
            self._try_sign_in()
            self._connected = True

    def close(self) -> None:
        """Forget the connection; it ends once nobody has used it for ``openssh_master.IDLE`` seconds."""
        super().close()
        self._configuration = {}

    def diagnose(self) -> Iterator[Check]:
        found = self.configuration()
        jumps = [f"{key} {found[key]}" for key in ("proxyjump", "proxycommand") if found.get(key, "none") != "none"]
        yield from check_ssh(
            self.connect,
            found["hostname"],
            int(found["port"]),
            timeout=self.connect_timeout,
            through=jumps[0] if jumps else None,
        )

    def login(self) -> None:
        """Sign in on the terminal, where ssh asks what the host wants, and stay signed in until ``logout``.

        A host that is not known yet shows its key's fingerprint, for the user to
        accept.  Nothing where a master is running already.
        """
        path = self._socket()
        if is_listening(path):
            return
        path.unlink(missing_ok=True)
        is_strict = self.configuration()["stricthostkeychecking"] in ("yes", "true")
        settings = ["BatchMode=no", "ControlPersist=yes", f"StrictHostKeyChecking={'yes' if is_strict else 'ask'}"]
        command = self._ssh("-MNf", "-S", str(path), *_options(settings))
        status = subprocess.run(command, env=self.environment, check=False).returncode
        if status != 0 or not is_listening(path):
            raise SignInRefused(f"{self.name}: ssh did not sign in", "What it said above tells why.")

    def logout(self) -> bool:
        """End the connection and every command on it; say whether there was one.

        A master of the user's own is left alone.
        """
        path = control_path(self.configuration())
        if not is_listening(path):
            return False
        self._run_ssh(self._ssh("-S", str(path), "-O", "exit"))
        return True

    def configuration(self) -> Mapping[str, str]:
        """Return what ``ssh -G`` tells of this host: the first value of each keyword, in lower case."""
        with self._lock:
            if not self._configuration:
                lines = self._run_ssh(
                    [*self.prefix, "-G", *self._address_options, "--", self.address.host]
                ).splitlines()
                self._configuration = dict(line.split(" ", 1) for line in reversed(lines) if " " in line)
            return self._configuration

    def open(self, argv: Sequence[str]) -> Process:
        line = command_line(["/bin/sh", "-c", _KEEP_STATUS, "sh", *argv])
        if self.control_master and (process := self._open_session(line)):
            return process
        return self._start_ssh(line, ["-S", "none", *_options(["LogLevel=DEBUG1"])])

    def _open_session(self, line: str) -> Process | None:
        """Start a command on the shared connection; None where that has no room, and nothing was started.

        Left to itself, ssh would send the command again over a new connection even
        where the master died right behind sending it.
        """
        path = self._master()
        turn = sessions(path)
        if not turn.acquire(timeout=SESSION_WAIT):
            return None
        settings = _options(["ControlMaster=no", "ProxyCommand=false", "LogLevel=DEBUG2"])
        process = self._start_ssh(line, ["-S", str(path), *settings], turn)
        if not process.is_refused(self.connect_timeout):
            return process
        process.kill()
        return None

    def _start_ssh(self, line: str, way: Sequence[str], turn: threading.Semaphore | None = None) -> _SshProcess:
        log = private_folder() / f"{secrets.token_hex(8)}.log"
        command = [*self._ssh(*way, "-E", str(log)), line]
        return _SshProcess(command, name=self.name, environment=self.environment, log=log, turn=turn)

    def _ssh(self, *options: str) -> list[str]:
        """Return the command that reaches the host; ``options`` come first, so that they win."""
        keepalive = self.configuration()["serveraliveinterval"] == "0"
        more = _options([*_SETTINGS, *([f"ServerAliveInterval={KEEPALIVE}"] if keepalive else [])])
        return [*self.prefix, *options, *more, *self._address_options, "--", self.address.host]

    def _socket(self) -> Path:
        """Return the socket of the user's own master where that is running, else of ours."""
        users = self.configuration().get("controlpath", "none")
        return Path(users) if users != "none" and is_listening(Path(users)) else control_path(self.configuration())

    def _master(self) -> Path:
        """Return the socket of a running master; start one where there is none, or where it has died."""
        path = self._socket()
        if is_listening(path):
            return path
        with alone(path, self.name, self.connect_timeout):
            if not is_listening(path):
                path.unlink(missing_ok=True)
                self._start_master(path)
        return path

    def _start_master(self, path: Path) -> None:
        try:
            self._run_ssh(self._ssh("-MNf", "-S", str(path), *_options([f"ControlPersist={IDLE}", "LogLevel=INFO"])))
        except HostUnreachable as error:
            if "UNKNOWN port" in error.message:  # a proxy failed, and behind a master it keeps the reason to itself
                self._try_sign_in()
            raise

    def _try_sign_in(self) -> None:
        self._run_ssh([*self._ssh("-S", "none", *_options(["LogLevel=INFO"])), "exit 0"])

    def _run_ssh(self, command: Sequence[str]) -> str:
        """Run the ssh program, without a terminal to ask on, and return what it prints."""
        limit = self.connect_timeout + 5  # ssh itself gives up earlier, with a reason
        # A file takes its messages: a proxy command that lives on would keep a pipe open.
        with tempfile.TemporaryFile() as messages:
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=messages,
                    env=self.environment,
                    start_new_session=True,
                    timeout=limit,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise HostUnreachable(
                    f"{self.name}: no answer within {limit:g} seconds", f"Try by hand: ssh -v {self.address.host}"
                ) from None
            except OSError as error:
                raise UsageError(
                    f"{self.name}: cannot start the program {command[0]!r}: {error.strerror}",
                    "Install OpenSSH's client (Debian: apt-get install openssh-client), or give the option 'ssh'.",
                ) from error
            messages.seek(0)
            words = messages.read().decode(errors="replace")
        if done.returncode != 0:
            raise error_of(self.name, words)
        return done.stdout.decode(errors="replace")


class _SshProcess(SubprocessProcess):
    """A command on the host, carried by the ssh program, whose own words go to ``log``.

    On a shared connection it has a ``turn``, which it gives back when it ends.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str,
        environment: Mapping[str, str] | None,
        log: Path,
        turn: threading.Semaphore | None,
    ) -> None:
        self._log = log
        self._is_shared = turn is not None
        self._forget_log = weakref.finalize(self, log.unlink, missing_ok=True)
        self._end_turn = weakref.finalize(self, turn.release if turn else int)
        super().__init__(command, name=name, environment=environment)

    def is_refused(self, timeout: float) -> bool:
        """Wait until the session is open or has failed; say whether it is certain that nothing was started."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            has_ended = self._popen.poll() is not None
            words = self._words()
            if has_ended or _OPENED.search(words):
                return _REFUSED.search(words) is not None
            time.sleep(_LOOK_AGAIN)
        self.kill()
        raise LineTimeout(f"{self._name}: no session within {timeout:g} seconds; the command may have been started")

    def outcome(self, status: int) -> int:
        self._end_turn()
        if status < 0:
            raise ConnectionLost(f"{self._name}: the ssh program was ended by signal {-status}")
        if status != _SSH_FAILED:
            return status
        words = self._words()
        if _OWN_STATUS.search(words):
            return status
        if self._is_shared:
            raise ConnectionLost(f"{self._name}: the line dropped")
        raise error_of(self._name, words, started=_SENT.search(words) is not None)

    def kill(self) -> None:
        super().kill()
        self._end_turn()
        self._forget_log()

    def _words(self) -> str:
        try:
            return self._log.read_text(errors="replace")
        except FileNotFoundError:  # ssh has not begun, or it was killed
            return ""


def _options(settings: Sequence[str]) -> list[str]:
    return [word for setting in settings for word in ("-o", setting)]


def _literal(path: str | os.PathLike[str]) -> str:
    """Return a path as ssh_config(5) takes it within double quotes."""
    return re.sub(r'(["\\])', r"\\\1", str(Path(path).expanduser())).replace("%", "%%")
