"""Signing in to an ssh server: keys and certificates, then questions, then a password."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import paramiko

from sremote.connectors.errors import ConnectionLost, LineTimeout, SignInRefused
from sremote.connectors.ssh_config import SshHost
from sremote.connectors.ssh_keys import (
    CERTIFICATE,
    Agent,
    Certificate,
    Identity,
    certificates_of,
    read_certificate,
    read_identity,
)
from sremote.connectors.ssh_known_hosts import HostKey
from sremote.connectors.ssh_prompt import Prompt, ask
from sremote.connectors.ssh_transport import TunedTransport

ATTEMPTS = 3
"""How often a passphrase, a password or a round of questions may be answered wrongly."""
STAGES = 4
"""How many methods a server may ask for, one after the other (sshd's AuthenticationMethods)."""
PROMPT_TIMEOUT = 600.0
"""Seconds that the user has to answer; servers usually give two minutes."""


def sign_in(transport: TunedTransport, host: SshHost, prompt: Prompt | None) -> None:
    """Sign in to ``host`` over a connection whose host key was checked.

    ``prompt`` asks the user; without it only keys are tried.  Raises SignInRefused
    with what was tried and what the server would take.
    """
    _SignIn(transport, host, prompt).run()


class _SignIn:
    def __init__(self, transport: TunedTransport, host: SshHost, prompt: Prompt | None) -> None:
        self._transport = transport
        self._host = host
        self._prompt = prompt
        self._tried: list[str] = []
        self._problems: list[str] = []
        self._allowed: list[str] | None = None
        self._stage = 0

    def run(self) -> None:
        agent = Agent(self._host.agent) if self._host.agent else None
        try:
            methods = {
                "publickey": lambda: self._with_keys(agent),
                "keyboard-interactive": self._with_answers,
                "password": self._with_password,
            }
            for stage in range(STAGES):
                for method, way in methods.items():
                    if self._is_allowed(method) and way():
                        return
                    if self._stage > stage:
                        break
                else:
                    break
        finally:
            if agent:
                agent.close()
        raise self._refused()

    def _is_allowed(self, method: str) -> bool:
        if self._allowed is None and method != "publickey":
            # A key that is merely refused does not tell what else the server takes.
            self._attempt("", lambda: self._transport.auth_none(self._host.user))
        return self._allowed is None or method in self._allowed

    def _attempt(self, what: str, authenticate: Callable[[], list[str]]) -> bool:
        """Try one way in; note the methods that the server names.  True where the user is in."""
        if what:
            self._tried.append(what)
        try:
            remaining = authenticate()
        except paramiko.BadAuthenticationType as error:
            self._allowed = list(error.allowed_types)
        except SignInRefused:
            raise
        except (paramiko.SSHException, EOFError, OSError) as error:
            if not self._transport.is_active():
                raise self._refused() from error
            if "timeout" in str(error).lower():
                raise LineTimeout(
                    f"{self._host.name}: the host did not answer the sign-in within {self._transport.auth_timeout:g} s",
                    "It may be overloaded; try again, or give it a longer connect_timeout.",
                ) from error
        else:
            if self._transport.is_authenticated():
                return True
            self._allowed = list(remaining)
            self._stage += 1
        return False

    def _with_keys(self, agent: Agent | None) -> bool:
        stage = self._stage
        for what, key in self._keys(agent):
            if self._attempt(what, lambda key=key: self._transport.auth_publickey(self._host.user, key)):  # type: ignore[misc]
                return True
            if self._stage > stage or (self._allowed is not None and "publickey" not in self._allowed):
                break
        return False

    def _keys(self, agent: Agent | None) -> Iterator[tuple[str, paramiko.PKey]]:
        """Yield the keys to offer: those configured, the agent's others, then those that need a passphrase.

        A server gives up after a few keys (sshd: 6), so the likely ones go first.
        """
        held = dict(agent.keys) if agent else {}
        named = [found for path in self._host.certificate_files if (found := read_certificate(path))]
        encrypted = []
        for identity in filter(None, map(read_identity, dict.fromkeys(self._host.identity_files))):
            key = held.pop(identity.blob, None) if identity.blob else None
            if key is not None:
                yield from self._with_certificates(f"agent key {identity.path}", identity, key, named)
            elif identity.problem:
                self._problems.append(identity.problem)
            elif identity.encrypted:
                encrypted.append(identity)
            else:
                try:
                    key = identity.load()
                except ValueError as error:
                    self._problems.append(f"key {identity.path} is damaged: {error}")
                else:
                    yield from self._with_certificates(f"key {identity.path}", identity, key, named)
        if not self._host.identities_only:
            for key in held.values():
                what = "certificate" if key.name.endswith(CERTIFICATE) else "key"
                yield f"agent {what} {HostKey('', key.name, key.blob)}", key
        for identity in encrypted:
            key = self._decrypt(identity)
            if key is not None:
                yield from self._with_certificates(f"key {identity.path}", identity, key, named)

    def _with_certificates(
        self, what: str, identity: Identity, key: paramiko.PKey, named: list[Certificate]
    ) -> Iterator[tuple[str, paramiko.PKey]]:
        for certificate in certificates_of(identity, named):
            if certificate.problem:
                self._problems.append(certificate.problem)
                continue
            key.load_certificate(str(certificate.path))
            yield f"certificate {certificate.path}", key
        key.public_blob = None
        yield what, key

    def _decrypt(self, identity: Identity) -> paramiko.PKey | None:
        if self._prompt is None:
            self._problems.append(
                f"key {identity.path} is encrypted, and there is no terminal to ask for its passphrase on"
            )
            return None
        for _ in range(ATTEMPTS):
            passphrase = self._ask(f"Passphrase of {identity.path}: ")
            try:
                return identity.load(passphrase)
            except ValueError:
                continue
        self._problems.append(f"key {identity.path}: wrong passphrase")
        return None

    def _with_password(self) -> bool:
        stage = self._stage
        for _ in range(ATTEMPTS):
            if self._prompt is None:
                self._problems.append("there is no terminal to ask for the password")
                return False
            password = self._ask(f"{self._host.user}@{self._host.host}'s password: ")
            if self._attempt(
                "password",
                lambda password=password: self._transport.auth_password(self._host.user, password, fallback=False),  # type: ignore[misc]
            ):
                return True
            if self._stage > stage:
                break
        return False

    def _with_answers(self) -> bool:
        stage = self._stage
        for _ in range(ATTEMPTS):
            if self._prompt is None:
                self._problems.append("there is no terminal to ask the host's questions on")
                return False
            if self._attempt("answers to the host's questions", self._converse):
                return True
            if self._stage > stage:
                break
        return False

    def _converse(self) -> list[str]:
        """Let the host ask and the user answer, round after round.

        paramiko asks in its own thread, where Ctrl-C does not arrive; so the
        questions come here, and the sign-in waits in a thread meanwhile.
        """
        questions: queue.Queue[tuple[str, list[tuple[str, bool]]] | None] = queue.Queue()
        answers: queue.Queue[list[str] | None] = queue.Queue()
        outcome: list[list[str] | Exception] = []

        def on_questions(title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
            if not prompts:
                return []
            questions.put(("".join(f"{text}\n" for text in (title, instructions) if text), prompts))
            given = answers.get()
            if given is None:
                raise EOFError("the user did not answer")
            return given

        def converse() -> None:
            try:
                outcome.append(self._transport.auth_interactive(self._host.user, on_questions))
            except Exception as error:
                outcome.append(error)
            finally:
                questions.put(None)

        usual, self._transport.auth_timeout = self._transport.auth_timeout, PROMPT_TIMEOUT
        worker = threading.Thread(target=converse, daemon=True)
        worker.start()
        try:
            while (asked := questions.get()) is not None:
                introduction, prompts = asked
                given = []
                for text, echo in prompts:
                    given.append(self._ask(f"{introduction}({self._host.user}@{self._host.host}) {text}", echo=echo))
                    introduction = ""
                answers.put(given)
        except BaseException:
            answers.put(None)
            self._transport.close()
            raise
        finally:
            worker.join()
            self._transport.auth_timeout = usual
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    def _ask(self, text: str, *, echo: bool = False) -> str:
        assert self._prompt is not None
        try:
            return ask(self._prompt, text, echo=echo)
        except EOFError:
            raise SignInRefused(f"{self._host.name}: the sign-in was given up: no answer to {text!r}") from None

    def _refused(self) -> SignInRefused | ConnectionLost:
        host = self._host
        words = [f"{host.name}: {host.user} was not let in"]
        if not self._transport.is_active():
            words.append(f"the host hung up ({self._transport.reason})")
        words.append("tried: " + (", ".join(dict.fromkeys(self._tried)) or "nothing"))
        words += dict.fromkeys(self._problems)
        if self._allowed:
            words.append(f"the host takes: {', '.join(self._allowed)}")
        return SignInRefused("; ".join(words), self._remedy())

    def _remedy(self) -> str:
        host = self._host
        allowed = self._allowed or ["publickey"]
        if any("expired" in problem for problem in self._problems):
            return "Get a new certificate the way your site gives them."
        if any("is encrypted" in problem for problem in self._problems):
            return "Add the key to your ssh agent (ssh-add), or type it in a terminal."
        if self._prompt is None and {"keyboard-interactive", "password"} & set(allowed):
            return f"Type it in a terminal, or sign in once with: sremote login openssh://{host.user}@{host.host}"
        if "publickey" in allowed:
            return (
                f"See that user {host.user!r} is right and that one of your public keys is in ~/.ssh/authorized_keys "
                "there (ssh-copy-id), or name the key with --option key_file=PATH."
            )
        return "See that the user and the answers are right."
