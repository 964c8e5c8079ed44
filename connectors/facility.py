"""What the gateways of computing facilities have in common: tokens, paths, job options, tasks that are polled."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import posixpath
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeVar, Unpack

from sremote.connectors.address import Address
from sremote.connectors.base import DEFAULT_CONNECT_TIMEOUT, Connector
from sremote.connectors.batch import Resources
from sremote.connectors.batch_work import Patience
from sremote.connectors.errors import UsageError
from sremote.connectors.token_session import AT_ONCE, TokenSession
from sremote.connectors.tokens import TokenOptions, token_provider

if TYPE_CHECKING:
    import requests

TASK_TIMEOUT = 600.0
"""Seconds for a gateway to carry out one operation on files."""
MEGABYTE = 1 << 20

T = TypeVar("T")


class FacilityConnector(Connector):
    """A machine behind a facility's HTTP gateway.

    The address is ``scheme://gateway/path/MACHINE``, or ``scheme:MACHINE`` with the
    gateway's address in ``url``.  ``home`` is the home directory there, where the
    gateway does not tell.  ``account``, ``queue``, ``nodes``, ``walltime`` (seconds) and
    ``extra`` (lines for a script's head) are what jobs ask for.  ``max_file_size`` is how
    many bytes the gateway takes at once.  ``not_found_for`` is for how many seconds a new
    job may be unknown to the queue, ``longest_pause`` the seconds between two questions,
    ``at_once`` how many requests are under way at the same time.  ``ca_file`` and
    ``fingerprint`` are for certificates that the system does not know.  The rest says
    where tokens come from: ``TokenOptions``.
    """

    default_url: ClassVar[str | None] = None
    default_file_size: ClassVar[int] = 5 * MEGABYTE

    def __init__(
        self,
        address: Address,
        *,
        url: str | None = None,
        home: str | None = None,
        account: str | None = None,
        queue: str | None = None,
        nodes: int | str | None = None,
        walltime: float | str | None = None,
        extra: Sequence[str] | str = (),
        max_file_size: int | str | None = None,
        checksum: bool | str = True,
        not_found_for: float | str = 20.0,
        longest_pause: float | str = 10.0,
        at_once: int | str = AT_ONCE,
        fingerprint: str | None = None,
        ca_file: str | None = None,
        connect_timeout: float | str = DEFAULT_CONNECT_TIMEOUT,
        **tokens: Unpack[TokenOptions],
    ) -> None:
        def number(name: str, value: float | str | None) -> float | None:
            try:
                found = None if value is None else float(value)
            except ValueError:
                found = -1.0
            if found is not None and found <= 0:
                raise UsageError(f"{address}: {name}={value!r} is not a number above 0")
            return found

        def count(name: str, value: float | str | None) -> int | None:
            found = number(name, value)
            return None if found is None else max(1, int(found))

        super().__init__(address, connect_timeout=number("connect_timeout", connect_timeout) or 0.0)
        base, self.machine = _place(address, url or self.default_url)
        if home is not None and not home.startswith("/"):
            raise UsageError(f"{address}: home={home!r} is not absolute", "Write it as on the host: /home/user.")
        self.ca_file = ca_file
        self.checksum = str(checksum).lower() not in ("false", "no", "0")
        self.max_file_size = count("max_file_size", max_file_size)
        self.resources = Resources(
            account=account,
            queue=queue,
            nodes=count("nodes", nodes),
            walltime=number("walltime", walltime),
            extra=(extra,) if isinstance(extra, str) else tuple(extra),
        )
        self.patience = Patience(
            not_found_for=number("not_found_for", not_found_for) or 0.0,
            longest_pause=number("longest_pause", longest_pause) or 0.0,
        )
        self._home = home
        self._made: set[str] = set()
        self.http = TokenSession(
            base,
            name=self.name,
            tokens=token_provider(str(address), self.token_options(tokens)),
            read_error=self.read_error,
            connect_timeout=self.connect_timeout,
            at_once=count("at_once", at_once) or 1,
            fingerprint=fingerprint,
            ca_file=ca_file,
        )

    def token_options(self, given: TokenOptions) -> TokenOptions:
        """Return the options of the sign-in, with what this gateway's users need not say."""
        return given

    @staticmethod
    @abc.abstractmethod
    def read_error(answer: requests.Response) -> str | None:
        """Return what an answer of this gateway says went wrong."""

    @property
    def home(self) -> str:
        if self._home is None:
            self.connect()
        assert self._home is not None
        return self._home

    @property
    def file_size(self) -> int:
        """Bytes of a file that go at once."""
        return self.max_file_size or self.default_file_size

    def close(self) -> None:
        self.http.close()

    def absolute(self, path: str) -> str:
        """Return a path of the host, absolute.  Raises UsageError for one that cannot travel in JSON."""
        if not path or "\0" in path:
            raise UsageError(f"{path!r} is not a path")
        try:
            path.encode("utf-8")
        except UnicodeEncodeError:
            raise UsageError(
                f"{self.name}: {path!r} is not UTF-8, and cannot go through this gateway", "Give the file another name."
            ) from None
        plain = "" if path == "~" else path.removeprefix("~/")
        return posixpath.normpath(posixpath.join(self.home, plain))

    def poll(self, step: Callable[[], T | None], what: str, timeout: float = TASK_TIMEOUT) -> T:
        """Return what ``step`` returns once that is not None; raises LineTimeout after ``timeout`` seconds."""
        from sremote.connectors.errors import LineTimeout

        end = time.monotonic() + timeout
        for pause in self.patience.pauses():
            found = step()
            if found is not None:
                return found
            if time.monotonic() + pause > end:
                raise LineTimeout(f"{self.name}: cannot {what}: not done after {timeout:g} s; it may be going on there")
            time.sleep(pause)
        raise AssertionError


@contextlib.contextmanager
def sized(source: bytes | BinaryIO) -> Iterator[tuple[BinaryIO, int]]:
    """Give a source as a file that can be read again and again from its beginning, and its size."""
    with tempfile.SpooledTemporaryFile(8 * MEGABYTE) as spool:
        if isinstance(source, bytes):
            spool.write(source)
        else:
            shutil.copyfileobj(source, spool, MEGABYTE)
        size = spool.tell()
        spool.seek(0)
        yield spool, size  # type: ignore[misc]


def sha256(file: BinaryIO) -> str:
    """Return the digest of a file from its beginning, and leave it there."""
    digest = hashlib.sha256()
    file.seek(0)
    while data := file.read(MEGABYTE):
        digest.update(data)
    file.seek(0)
    return digest.hexdigest()


def parsed(answer: requests.Response) -> dict[str, Any]:
    """Return the JSON object of an answer; empty where it is none."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _place(address: Address, url: str | None) -> tuple[str, str]:
    """Return the gateway's URL and the machine that an address names."""
    if address.host:
        path, _, machine = address.rest.rstrip("/").rpartition("/")
        port = f":{address.port}" if address.port else ""
        base = f"https://{address.host}{port}{path}"
        if url is not None and address.rest.count("/") <= 1:
            base = url
    else:
        base, machine = url or "", address.rest.strip("/")
    if not machine or not base:
        scheme = address.scheme
        raise UsageError(
            f"{str(address)!r} names no {'machine' if base else 'gateway'}",
            f"Write it as {scheme}://gateway.example.org/path/MACHINE, or {scheme}:MACHINE with the option url.",
        )
    return base, machine
