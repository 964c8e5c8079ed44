"""A real OpenSSH server on a loopback port, with keys, a home and programs of its own."""

import contextlib
import functools
import os
import pwd
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.kit.keys import make_key, public_key
from tests.kit.requirements import need_program
from tests.kit.tools import make_tools

START_TIMEOUT = 20.0
"""Seconds that a server may take until it answers."""


class SshServer:
    """One sshd, running from ``start`` to ``stop``, and the files a client needs to reach it.

    name         the alias that ``config_file`` gives it; also its first label in messages
    port, user   where it listens on ``listen``, and the account that runs it
    config_file  an ssh_config that makes ``ssh NAME`` work
    key_file     the private key that it accepts
    known_hosts  a file with its host keys
    home         the home directory that commands see
    log          what it writes with LogLevel VERBOSE
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "testhost",
        python: Path | None = Path(sys.base_prefix, "bin", "python3"),
        missing: Iterable[str] = (),
        home: Path | None = None,
        shell: str = "/bin/sh",
        noise: str = "",
        environment: Mapping[str, str] | None = None,
        host_keys: Iterable[str] = ("ed25519",),
        settings: str = "",
        listen: str = "127.0.0.1",
        inside: Iterable[str] = (),
    ) -> None:
        """Prepare a server in ``folder``, which is made.

        ``python`` and ``missing`` choose the programs on its PATH, as ``make_tools`` says.
        ``shell`` is the login shell (a name or a path) that commands run in, ``noise``
        what it prints on both outputs before each, ``environment`` more variables that
        they see.  ``host_keys`` are key types; ``settings`` are more lines of
        sshd_config, first so that they win.  ``listen`` is its address, and ``inside`` a
        command that starts it where that is, such as ``ip netns exec NAME``.
        """
        self.name = name
        self.folder = folder
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.port = 0
        self.key_file = folder / "user_key"
        self.known_hosts = folder / "known_hosts"
        self.config_file = folder / "ssh_config"
        self.authorized_keys = folder / "authorized_keys"
        self.log = folder / "sshd.log"
        self.home = home or folder / "home"
        self.shell = shell
        self.noise = noise
        self.settings = settings
        self.listen = listen
        self.inside = list(inside)
        self._process: subprocess.Popen[bytes] | None = None

        folder.mkdir(parents=True)
        self.home.mkdir(exist_ok=True)
        (folder / "tmp").mkdir()
        self.tools = make_tools(folder / "bin", python=python, missing=missing)
        make_key(self.key_file)
        self.authorized_keys.write_text(public_key(self.key_file) + "\n")
        self.host_keys = [make_key(folder / f"host_key_{kind}", kind=kind) for kind in host_keys]
        self._write_login(environment or {})

    @property
    def address(self) -> str:
        """The address that needs no alias: user@127.0.0.1:port."""
        return f"{self.user}@{self.listen}:{self.port}"

    @property
    def pid(self) -> int:
        """The process that listens."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it on a free port, or again on the one that it had."""
        program = need_program("sshd", "openssh-server")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it for privilege separation
        deadline = time.monotonic() + START_TIMEOUT
        chosen = self.port
        while True:
            self.port = chosen or _free_port(self.listen if not self.inside else "127.0.0.1")
            self._write_configuration()
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [*self.inside, program, "-D", "-e", "-f", self.folder / "sshd_config"],
                    stdin=subprocess.DEVNULL,
                    stderr=log,
                )
            if self._answers(deadline):
                return
            self.stop()
            if time.monotonic() > deadline or "already in use" not in self.log.read_text():
                raise RuntimeError(f"sshd does not start:\n{self.log.read_text()}")

    def stop(self) -> None:
        """End it, and with it the connections that it holds."""
        if self._process is None:
            return
        self.cut()
        self._process.terminate()
        self._process.wait()
        self._process = None

    def cut(self) -> None:
        """Kill the processes of all open connections, as a crashed host would; go on listening."""
        for pid in _children(self.pid):
            for each in (*_children(pid), pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)

    def authorize(self, key: Path, options: str = "") -> None:
        """Accept one more key; ``options`` stand before it, as authorized_keys has them."""
        with self.authorized_keys.open("a") as file:
            file.write(f"{options} {public_key(key)}\n".lstrip())

    def known_hosts_line(self, key: Path, name: str | None = None) -> str:
        """Return a line of known_hosts that gives ``key`` to ``name`` (default: [listen]:port)."""
        kind, blob = public_key(key).split()[:2]
        return f"{name or f'[{self.listen}]:{self.port}'} {kind} {blob}\n"

    def client_configuration(self, **more: object) -> str:
        """Return the ``Host`` block that reaches it; ``more`` are settings that replace or join its own."""
        settings = {
            "HostName": self.listen,
            "Port": self.port,
            "User": self.user,
            "IdentityFile": self.key_file,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.known_hosts,
            "StrictHostKeyChecking": "yes",
            **more,
        }
        return f"Host {self.name}\n" + "".join(f"    {key} {value}\n" for key, value in settings.items())

    def _write_login(self, environment: Mapping[str, str]) -> None:
        # The account's own shell runs this; SetEnv keeps it from the startup files of the account's home.
        variables = {
            "HOME": self.home,
            "SHELL": self._shell_path(),
            "PATH": self.tools,
            "TMPDIR": self.folder / "tmp",
            **environment,
        }
        exports = "\n".join(f"export {name}={shlex.quote(str(value))}" for name, value in variables.items())
        noise = shlex.quote(self.noise)
        login = self.folder / "login"
        login.write_text(
            f"""#!/bin/sh
{exports}
unset SHLVL  # bash reads ~/.bashrc for an ssh command only where it is the outermost shell
cd || exit
noise={noise}
[ -z "$noise" ] || {{ printf '%s' "$noise"; printf '%s' "$noise" >&2; }}
unset noise
case $SSH_ORIGINAL_COMMAND in
    '') exec "$SHELL" ;;
    internal-sftp) exec /usr/lib/openssh/sftp-server ;;
    *) exec "$SHELL" -c "$SSH_ORIGINAL_COMMAND" ;;
esac
"""
        )
        login.chmod(0o755)

    def _shell_path(self) -> str:
        return self.shell if "/" in self.shell else need_program(self.shell, self.shell)

    def _write_configuration(self) -> None:
        newer = "PerSourcePenalties no\n" if _openssh_version() >= (9, 8) else ""
        keys = "".join(f"HostKey {key}\n" for key in self.host_keys)
        (self.folder / "sshd_config").write_text(
            f"""{self.settings}
{keys}{newer}ListenAddress {self.listen}
Port {self.port}
PidFile none
AuthorizedKeysFile {self.authorized_keys}
ForceCommand {self.folder / "login"}
SetEnv "HOME={self.folder}" SHLVL=1
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
UseDNS no
MaxStartups 500
MaxAuthTries 20
LoginGraceTime 30
LogLevel VERBOSE
PrintMotd no
Subsystem sftp internal-sftp
"""
        )
        self.known_hosts.write_text("".join(self.known_hosts_line(key) for key in self.host_keys))
        self.config_file.write_text(self.client_configuration())

    def _answers(self, deadline: float) -> bool:
        assert self._process is not None
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((self.listen, self.port), 5) as connection:
                if connection.recv(4) == b"SSH-":
                    return self._process.poll() is None
            time.sleep(0.01)
        return False


@contextlib.contextmanager
def ssh_server(folder: Path, **options: object) -> Iterator[SshServer]:
    """A running SshServer; the options are its own."""
    server = SshServer(folder, **options)  # type: ignore[arg-type]
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _free_port(address: str) -> int:
    with socket.create_server((address, 0)) as listener:
        return int(listener.getsockname()[1])


def _children(pid: int) -> list[int]:
    # From /proc, so that the tests need no psutil; "children" lists what each thread has forked.
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


@functools.cache
def _openssh_version() -> tuple[int, int]:
    program = need_program("ssh", "openssh-client")
    banner = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stderr
    major, minor = banner.split("_")[1].split("p")[0].split(".")[:2]
    return int(major), int(minor)
