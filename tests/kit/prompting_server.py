"""An ssh server that asks questions: a password, a one-time code, several rounds of them.

OpenSSH asks such questions only through PAM, which a test cannot set up without
changing the machine; so this one double, on paramiko's server side, stands in for it.
Its commands are real.
"""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import paramiko


@dataclass(frozen=True)
class Question:
    """One prompt, whether what is typed may be seen, and the right answer."""

    prompt: str
    answer: str
    echo: bool = False


class PromptingServer:
    """Serves on 127.0.0.1:``port`` until ``close``; lets ``user`` in by questions or by password.

    ``rounds`` are the keyboard-interactive rounds, each a list of questions; none switches
    that method off.  ``password`` switches the password method on.  ``attempts`` notes the
    methods that were tried.
    """

    def __init__(
        self,
        *,
        user: str = "alice",
        rounds: Sequence[Sequence[Question]] = (),
        password: str | None = None,
        instructions: str = "",
    ) -> None:
        self.user = user
        self.rounds = rounds
        self.password = password
        self.instructions = instructions
        self.attempts: list[str] = []
        self.host_key = paramiko.ECDSAKey.generate()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._transports: list[paramiko.Transport] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"{self.user}@127.0.0.1:{self.port}"

    @property
    def known_hosts_line(self) -> str:
        return f"[127.0.0.1]:{self.port} {self.host_key.get_name()} {self.host_key.get_base64()}\n"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for transport in self._transports:
            transport.close()
            transport.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.host_key)
            self._transports.append(transport)
            # With an event it returns at once: a client that only looks at the key stops no other.
            transport.start_server(event=threading.Event(), server=_SignIn(self))


class _SignIn(paramiko.ServerInterface):
    def __init__(self, server: PromptingServer) -> None:
        self._server = server
        self._round = 0

    def get_allowed_auths(self, username: str) -> str:
        methods = []
        if self._server.rounds:
            methods.append("keyboard-interactive")
        if self._server.password is not None:
            methods.append("password")
        return ",".join(methods)

    def check_auth_password(self, username: str, password: str) -> int:
        self._server.attempts.append("password")
        right = username == self._server.user and password == self._server.password
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def check_auth_interactive(self, username: str, submethods: str) -> "int | paramiko.InteractiveQuery":
        self._server.attempts.append("keyboard-interactive")
        self._round = 0
        if not self._server.rounds or username != self._server.user:
            return paramiko.AUTH_FAILED
        return self._query()

    def check_auth_interactive_response(self, responses: list[str]) -> "int | paramiko.InteractiveQuery":
        if responses != [question.answer for question in self._server.rounds[self._round]]:
            return paramiko.AUTH_FAILED
        self._round += 1
        return paramiko.AUTH_SUCCESSFUL if self._round == len(self._server.rounds) else self._query()

    def _query(self) -> paramiko.InteractiveQuery:
        questions = self._server.rounds[self._round]
        prompts = [(question.prompt, question.echo) for question in questions]
        return paramiko.InteractiveQuery("", self._server.instructions, *prompts)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=_execute, args=(channel, command), daemon=True).start()
        return True


def _execute(channel: paramiko.Channel, command: bytes) -> None:
    with subprocess.Popen(
        ["/bin/sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        stdin = channel.makefile("rb").read()
        stdout, stderr = process.communicate(stdin)
    channel.sendall(stdout)
    channel.sendall_stderr(stderr)
    channel.send_exit_status(process.returncode)
    channel.close()
