"""``newt+https://host/machine``: a machine behind an HTTP gateway that speaks NEWT, or behind ``sremote gateway``.

NEWT is what NERSC served from 2010 on, and sites built their own after it.  With the
gateway that sremote brings, files go through one request each, and commands have open
streams, so calls are as fast as over ssh.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, BinaryIO, ClassVar

from sremote.connectors import newt_files
from sremote.connectors.address import Address
from sremote.connectors.base import DEFAULT_CONNECT_TIMEOUT, Capability, Completed, Connector, OutputSink, Process
from sremote.connectors.check import Check, State
from sremote.connectors.credentials import find_secret
from sremote.connectors.errors import ConnectionLost, LineError, SignInRefused, UsageError
from sremote.connectors.http_session import LOOPBACK, HttpSession
from sremote.connectors.newt_dialect import DIALECTS, Ask, Dialect
from sremote.connectors.newt_plain import PlainNewt
from sremote.connectors.newt_queue import NewtQueue
from sremote.connectors.newt_sign_in import SignIn
from sremote.connectors.newt_stream import GatewayStreams
from sremote.connectors.ssh_prompt import Prompt, default_prompt
from sremote.interpreter.errors import SremoteError

PLAIN = Capability.EXECUTE | Capability.EXIT_STATUS

log = logging.getLogger("sremote.connectors")


class NewtConnector(Connector):
    """A machine behind a NEWT gateway.

    The address is ``newt+https://[user@]host[:port][/prefix]/machine``; ``newt:`` means
    the same, and ``newt+http:`` goes without encryption, to this machine only.  The
    machine may be left out where the gateway has but one: ``newt+https://host/prefix/``.

    password_file     a file with the password, or with the gateway's token; mode 0600
    password_env      an environment variable with it
    password_command  a program that prints it
    code              whether to ask for a one-time code, which goes behind the password
    code_command      a program that prints the one-time code
    prompt            asks the user for what is not given (default: SSH_ASKPASS or the terminal)
    fingerprint       the SHA-256 fingerprint of the gateway's certificate, to pin it
    ca_file           a file of certificate authorities (default: the system's)
    dialect           "1" or "2" (default: found out)
    batch             whether jobs go to the gateway's own queue, where the scheduler's
                      commands cannot be run there (default: no)
    stream            whether to use a WebSocket where the gateway has it (default: yes)
    insecure          whether newt+http: may leave this machine: the password and all
                      data can be read on the way
    connect_timeout   seconds to reach the gateway, and for it to answer (default: 30)
    """

    scheme: ClassVar[str] = "newt"
    capabilities = PLAIN

    def __init__(
        self,
        address: Address,
        *,
        password_file: str | None = None,
        password_env: str | None = None,
        password_command: str | Sequence[str] | None = None,
        code: bool = False,
        code_command: str | Sequence[str] | None = None,
        prompt: Prompt | None = None,
        fingerprint: str | None = None,
        ca_file: str | None = None,
        dialect: str | int | None = None,
        batch: bool = False,
        stream: bool = True,
        insecure: bool = False,
        connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    ) -> None:
        super().__init__(address, connect_timeout=connect_timeout)
        base, self._machine = gateway_of(address, insecure=insecure)
        if dialect is not None and str(dialect) not in DIALECTS:
            raise UsageError(f"{address}: there is no dialect {dialect!r} of NEWT", "Those that there are: 1, 2.")
        self._wanted_dialect = None if dialect is None else str(dialect)
        self._wants_stream = stream
        self._wants_batch = batch
        self._http = HttpSession(
            base, name=self.name, connect_timeout=connect_timeout, fingerprint=fingerprint, ca_file=ca_file
        )
        self._sign_in = SignIn(
            self._http,
            user=address.user,
            password=find_secret("password", file=password_file, variable=password_env, command=password_command),
            code=find_secret("one-time code", command=code_command),
            wants_code=code,
            prompt=prompt or default_prompt(),
        )
        self._connecting = threading.Lock()
        self._dialect: Dialect | None = None
        self._ask: Ask
        self._plain: PlainNewt | None = None
        self._streams: GatewayStreams | None = None
        self._has_files = False

    def connect(self) -> None:
        with self._connecting:
            if self._dialect is not None:
                return
            kind = self._sign_in.find_dialect(self._wanted_dialect)
            offers = self._sign_in.session.offers
            machine = self._machine or str(offers.get("machine") or "")
            if not machine:
                raise UsageError(
                    f"{self.name} names no machine", "Write newt+https://HOST/MACHINE, as the site's list has it."
                )
            dialect = kind(machine, self.name)
            self._sign_in.sign_in(dialect)
            offers = self._sign_in.session.offers
            self._ask = partial(self._sign_in.ask, dialect)
            plain = PlainNewt(self._http, dialect, self._ask)
            self._has_files = offers.get("files") is True
            if self._wants_stream and offers.get("stream") is True and find_spec("websockets") is not None:
                self._streams = GatewayStreams(self.address, self._http, self._sign_in, dialect)
                self.capabilities = PLAIN | Capability.STREAM
            elif offers.get("commands") is False:
                self.capabilities = Capability(0)
            elif not offers:
                plain.prepare()
            if self._wants_batch:
                self.capabilities |= Capability.BATCH
            self._plain = plain
            self._dialect = dialect

    def close(self) -> None:
        with self._connecting:
            dialect, self._dialect = self._dialect, None
            if dialect is None:
                return
            assert self._plain is not None
            # Asking again takes the session that ends here, so nothing signs in for that.
            self._plain.close()
            try:
                self._sign_in.sign_out(dialect)
            except LineError as error:
                log.info("%s: the session was not ended: %s", self.name, error.message)
            self._http.close()

    def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | BinaryIO = b"",
        output: OutputSink | None = None,
        timeout: float | None = None,
    ) -> Completed:
        plain = self._connected()
        if self._streams is not None:
            return self._streams.execute(argv, stdin=stdin, output=output, timeout=timeout)
        return plain.execute(argv, stdin, output, timeout)

    def start(self, argv: Sequence[str]) -> Process:
        self._connected()
        if self._streams is None:
            return super().start(argv)
        return self._streams.start(argv)

    def put(self, source: bytes | BinaryIO, path: str, *, mode: int = 0o600) -> None:
        plain = self._connected()
        if self._has_files:
            newt_files.put(self._ask, self._spoken(), source, path, mode)
        else:
            plain.put(source, path, mode)

    def get(self, path: str, target: BinaryIO) -> None:
        plain = self._connected()
        if self._has_files:
            newt_files.get(self._ask, self._spoken(), path, target, self.name)
        else:
            plain.get(path, target)

    @property
    def batch(self) -> NewtQueue:
        """The machine's queue, as the gateway has it."""
        self._connected()
        return NewtQueue(self._spoken(), self._ask)

    def list(self, path: str) -> list[dict[str, Any]]:
        """Return the entries of a folder, as the gateway has them.

        Each has ``perms``, ``hardlinks``, ``user``, ``group``, ``size``, ``date``,
        ``name`` and ``symlink``.  ``path`` is absolute.
        """
        self._connected()
        return self._spoken().list(self._ask, path)

    def delete(self, path: str) -> None:
        """Delete a file; ``path`` is absolute.  Raises FileMissing where there is none.

        NEWT 2.0 has no request for that, so ``rm`` does it there.
        """
        self._connected()
        self._spoken().delete(self._ask, path, self.execute)

    def diagnose(self) -> Iterator[Check]:
        try:
            self.connect()
        except SignInRefused as error:
            yield Check("gateway answers", State.OK, f"{self._http.base} speaks NEWT")
            yield Check.of_error("sign-in works", error)
        except SremoteError as error:
            yield Check.of_error("gateway answers", error)
        else:
            dialect = self._spoken()
            offers = "sremote gateway" if self._has_files else f"NEWT {dialect.name}"
            yield Check("gateway answers", State.OK, f"{self._http.base} is {offers}")
            yield Check("sign-in works", State.OK, f"signed in as {self._sign_in.session.user}")
            if self._has_files and self._streams is None:
                yield Check("streams", State.WARNING, "no WebSocket, so calls are slow", _STREAMS)

    def _connected(self) -> PlainNewt:
        if self._dialect is None or self._plain is None:
            raise ConnectionLost(f"{self.name}: not connected", "Call connect() first.")
        return self._plain

    def _spoken(self) -> Dialect:
        if self._dialect is None:
            raise ConnectionLost(f"{self.name}: not connected", "Call connect() first.")
        return self._dialect


_STREAMS = "Install sremote[gateway] here, and see that the gateway and the proxies before it let WebSockets through."


def gateway_of(address: Address, *, insecure: bool) -> tuple[str, str]:
    """Return the URL of the gateway and the name of the machine behind it, "" where the address names none.

    Raises UsageError where the address cannot be one, or would send a password unencrypted.
    """
    if not address.host:
        raise UsageError(f"{address} names no gateway", "Write it as newt+https://HOST/MACHINE.")
    if address.user and ":" in address.user:
        raise UsageError(
            "a password does not belong into an address, where others can see it",
            "Give the option password_file, password_env or password_command.",
        )
    encrypted = not address.scheme.endswith("+http")
    if not encrypted and not insecure and address.host not in LOOPBACK:
        raise UsageError(
            f"{address}: without TLS, the password and all data can be read on the way",
            f"Write newt+https://{address.host}, or give the option insecure=true.",
        )
    host = f"[{address.host}]" if ":" in address.host else address.host
    port = f":{address.port}" if address.port else ""
    prefix, _, machine = address.rest.rpartition("/")
    return f"{'https' if encrypted else 'http'}://{host}{port}{prefix}", machine
