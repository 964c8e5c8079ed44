"""Commands and files through the Superfacility API, as little as ``PlainNewt`` needs to make the verbs of them."""

from __future__ import annotations

import base64
import binascii
import io
import secrets
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sremote.connectors.errors import ConnectionLost
from sremote.connectors.facility import MEGABYTE, TASK_TIMEOUT, parsed
from sremote.connectors.newt_dialect import CommandOutput
from sremote.connectors.newt_wrapper import bare_line
from sremote.connectors.token_session import refusal

if TYPE_CHECKING:
    import requests

    from sremote.connectors.sfapi import SfapiConnector


class _Once:
    """A file that is read once, and closed at its end."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        data: bytes = b"" if self._file.closed else self._file.read(size)
        if not data:
            self._file.close()
        return data

    def close(self) -> None:
        self._file.close()


class SfapiCarrier:
    """One machine's commands and files."""

    def __init__(self, connector: SfapiConnector) -> None:
        self._connector = connector

    def command(self, ask: object, line: str, *, timeout: float) -> CommandOutput:
        """Have the machine run a line of shell."""
        result = self._connector.task(
            "POST",
            f"/utilities/command/{quote(self._connector.machine)}",
            what="run a command",
            timeout=timeout + TASK_TIMEOUT,
            form={"executable": line},
        )
        return CommandOutput(str(result.get("output") or ""), str(result.get("error") or ""))

    def file_path(self, path: str) -> str:
        return quote(path)

    def read(self, ask: object, path: str, *, timeout: float) -> requests.Response:
        """Return the content of a file as an answer whose body is still to be read."""
        import requests

        answer = requests.Response()
        answer.status_code = 200
        spool = tempfile.SpooledTemporaryFile(MEGABYTE)  # noqa: SIM115 - closed at its end
        answer.raw = _Once(spool)
        parts = self._split(path)
        for part in parts or [path]:
            spool.write(self.download(part))
        if parts:
            self._remove(parts)
        spool.seek(0)
        return answer

    def check(self, answer: requests.Response, deed: str) -> None:
        """Nothing: ``_ask`` has seen to refusals."""

    def ask(self, method: str, path: str, *, body: Any = b"", **_how: Any) -> requests.Response:
        """Write a file, in pieces where it is larger than the gateway takes at once."""
        source = body() if callable(body) else io.BytesIO(body)
        pieces: list[str] = []
        while data := source.read(self._connector.file_size):
            answer = self._upload(data, f"{path}.{len(pieces)}")
            pieces.append(f"{path}.{len(pieces)}")
        joined = ["sh", "-c", 'place=$1; shift; cat "$@" >"$place" && rm -f "$@"', "sh", path, *pieces]
        said = self.command(None, bare_line(joined), timeout=TASK_TIMEOUT)
        if said.error.strip():
            raise refusal(f"{self._connector.name}: cannot write {path}", said.error, 500)
        return answer

    def _upload(self, content: bytes, path: str) -> requests.Response:
        what = f"write {path}"
        address = f"/utilities/upload/{quote(self._connector.machine)}{path}"
        answer = self._connector.http.request("PUT", address, what=what, upload=(path.rpartition("/")[2], content))
        self._connector.refuse(parsed(answer), what)
        return answer

    def download(self, path: str) -> bytes:
        """Return the content of a file that is not too large to come at once."""
        what = f"read {path}"
        address = f"/utilities/download/{quote(self._connector.machine)}{quote(path)}"
        body = self._connector.http.object("GET", address, what=what, query={"binary": True})
        self._connector.refuse(body, what)
        try:
            text = str(body.get("file") or "")
            return base64.b64decode(text, validate=True) if body.get("is_binary", True) else text.encode()
        except binascii.Error:
            raise ConnectionLost(f"{self._connector.name}: cannot {what}: the answer is not whole") from None

    def _split(self, path: str) -> list[str]:
        """Split a file that is too large for one answer into pieces beside it, and return their names."""
        prefix = f"{path}.{secrets.token_hex(4)}."
        script = 'if [ $(wc -c <"$1") -gt "$2" ]; then split -a 4 -b "$2" "$1" "$3" && ls "$3"*; fi'
        line = bare_line(["sh", "-c", script, "sh", path, str(self._connector.file_size), prefix])
        said = self.command(None, line, timeout=TASK_TIMEOUT)
        return sorted(line for line in said.output.splitlines() if line.startswith(prefix))

    def _remove(self, paths: Sequence[str]) -> None:
        self.command(None, bare_line(["rm", "-f", *paths]), timeout=TASK_TIMEOUT)
