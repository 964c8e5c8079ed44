"""``ssh://user@host:port``, or just ``user@host``: OpenSSH servers, through paramiko.

What holds for a host stands in ~/.ssh/config, as for the ssh program.  Host keys are
always checked.  Files travel as ``StreamConnector`` does it and not through scp: a
small one takes three round trips in place of five, it is renamed into place when
whole, and nothing that login scripts print can break it.  On loopback the scp package
puts 100 MB in 0.36 s, a stream in 0.5 s, and both get them in 0.5 s.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import paramiko

from sremote.connectors.address import Address
from sremote.connectors.base import DEFAULT_CONNECT_TIMEOUT, Process
from sremote.connectors.check import Check
from sremote.connectors.errors import ConnectionLost, HostError, UsageError
from sremote.connectors.shell import command_line
from sremote.connectors.ssh_channel import ChannelProcess
from sremote.connectors.ssh_check import check_ssh
from sremote.connectors.ssh_config import SshConfig
from sremote.connectors.ssh_line import Journey, SshLine, reach
from sremote.connectors.ssh_prompt import Prompt, default_prompt
from sremote.connectors.stream import StreamConnector

DEFAULT_KEEPALIVE = 15.0
"""Seconds of silence after which a sign of life is asked for."""
MAX_SESSIONS = 8
"""Commands at once over one connection: sshd's MaxSessions is 10, and a killed one lingers there."""
LOOK_AGAIN = 1.0
"""Seconds between looks whether the line still lives, while all sessions are taken."""

log = logging.getLogger("sremote.connectors")


class SshConnector(StreamConnector):
    """An ssh server.

    connect_timeout  seconds for each host on the way to answer, and again to sign in
                     (default: ConnectTimeout of the configuration, else 30)
    config_file      the ssh configuration (default: ~/.ssh/config and the system's)
    key_file         a private key to offer before those of the configuration
    known_hosts      the file of host keys (default: as configured)
    keepalive        seconds of silence between signs of life; without three answers
                     in a row the line is lost; 0 asks for none
    accept_host_key  the fingerprint (``SHA256:…``) of the host's key, to accept and
                     remember it where no key of the host is known yet
    prompt           asks the user for passphrases, passwords and codes (default:
                     SSH_ASKPASS or the terminal, where there is one)
    """

    scheme: ClassVar[str] = "ssh"

    def __init__(
        self,
        address: Address,
        *,
        connect_timeout: float | None = None,
        config_file: str | Path | None = None,
        key_file: str | Path | None = None,
        known_hosts: str | Path | None = None,
        keepalive: float = DEFAULT_KEEPALIVE,
        accept_host_key: str | None = None,
        prompt: Prompt | None = None,
    ) -> None:
        super().__init__(address, connect_timeout=connect_timeout or DEFAULT_CONNECT_TIMEOUT)
        self._timeout = connect_timeout
        self._config_file = _path(config_file)
        self._key_file = _path(key_file)
        self._known_hosts = _path(known_hosts)
        self._keepalive = keepalive
        self._accept_host_key = accept_host_key
        self._prompt = prompt
        self._line: SshLine | None = None
        self._connecting = threading.Lock()
        self._sessions = threading.Semaphore(MAX_SESSIONS)

    def connect(self) -> None:
        with self._connecting:
            if self._line is not None:
                if self._line.transport.is_active():
                    return
                self._line.close()
                self._line = None
            journey = Journey(
                config=self._config(),
                default_timeout=self.connect_timeout,
                timeout=self._timeout,
                keepalive=self._keepalive,
                prompt=self._prompt or default_prompt(),
            )
            self._line = reach(self.address, journey, accept_host_key=self._accept_host_key)
            self._sessions = threading.Semaphore(MAX_SESSIONS)
            log.info("%s: signed in as %s", self.name, self._line.host.user)

    def close(self) -> None:
        with self._connecting:
            line, self._line = self._line, None
            if line is not None:
                line.close()

    def diagnose(self) -> Iterator[Check]:
        try:
            host = self._config().host(self.address)
        except UsageError as error:
            yield Check.of_error("ssh configuration", error)
            return
        way = ", ".join(host.jumps) or host.proxy_command
        timeout = self._timeout or host.connect_timeout or self.connect_timeout
        yield from check_ssh(self.connect, host.host, host.port, timeout=timeout, through=way)

    def open(self, argv: Sequence[str]) -> Process:
        command = command_line(argv)
        line = self._line
        if line is None:
            raise ConnectionLost(f"{self.name}: not connected", "Call connect() first.")
        sessions = self._sessions
        while not sessions.acquire(timeout=LOOK_AGAIN):
            log.info("%s: waiting for one of %d commands to end", self.name, MAX_SESSIONS)
            self._require_line(line)
        try:
            return ChannelProcess(line.transport, self._begin(line, command), self.name, sessions.release)
        except BaseException:
            sessions.release()
            raise

    def _begin(self, line: SshLine, command: str) -> paramiko.Channel:
        """Open a session for a command; a server that has too many gets time to end some."""
        deadline = time.monotonic() + self.connect_timeout
        pause = 0.05
        refused = False
        while True:
            try:
                return line.transport.begin(command)
            except (paramiko.SSHException, EOFError, OSError) as error:
                refused = refused or isinstance(error, paramiko.ChannelException)
                if not refused:
                    self._require_line(line)
                # A command sent behind a request that is refused makes OpenSSH hang up.
                if time.monotonic() > deadline or not line.transport.is_active():
                    raise HostError(
                        f"{self.name}: the host opens no further session: {error}",
                        "Other commands may be running over this connection; see MaxSessions in its sshd_config.",
                    ) from error
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    def _require_line(self, line: SshLine) -> None:
        if not line.transport.is_active():
            raise ConnectionLost(f"{self.name}: the line dropped: {line.transport.reason}", "Connect again.")

    def _config(self) -> SshConfig:
        return SshConfig(self._config_file, self._key_file, self._known_hosts)


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value).expanduser()
