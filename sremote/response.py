"""What a job left as its response: the value or the error, the output, what it took."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, NoReturn

from sremote.errors import (
    FormatError,
    HostError,
    JobCancelled,
    JobLost,
    NotInstalled,
    RemoteContext,
    RemoteError,
    RemoteExit,
    RemoteKilled,
    RemoteOutOfMemory,
    SremoteError,
    UsageError,
    ValueRefused,
    VersionMismatch,
    WalltimeExceeded,
)
from sremote.interpreter.values import decode
from sremote.interpreter.wire import Buffer, Message, parse
from sremote.pickle_grammar import check_pickle

# Raised here, these would mean something else: to the loop or generator around the call, or about this client.
_NOT_RAISED_HERE = (StopIteration, StopAsyncIteration, SremoteError)


class Response:
    """The response of a finished job.

    ``host`` is the host as the user wrote it, ``types`` are the user's allowed types
    by name; with ``trust`` the response may hold code, which is then run.
    """

    def __init__(self, host: str, job_id: str, message: Message, types: Mapping[str, type], *, trust: bool) -> None:
        self.host = host
        self.id = job_id
        self.message = message
        self._types = types
        self._trust = trust

    @classmethod
    def read(cls, host: str, job_id: str, data: Buffer, types: Mapping[str, type], *, trust: bool) -> Response:
        """Read a response file.  Raises FormatError where it is not a response to job ``job_id``."""
        response = parse(data)
        header = response.header
        if header.get("kind") != "response" or header.get("format") != 1 or not isinstance(header.get("outcome"), str):
            raise FormatError(f"{host}: the answer to job {job_id} is not a response of format 1")
        if header.get("id") != job_id:
            raise FormatError(f"{host}: the answer to job {job_id} is that of job {header.get('id')!r}")
        return cls(host, job_id, response, types, trust=trust)

    @property
    def outcome(self) -> str:
        """returned, raised, exited, killed, walltime, refused, unencodable, unwritten, lost or cancelled."""
        outcome: str = self.message.header["outcome"]
        return outcome

    @property
    def stdout(self) -> str:
        """What the job printed; bytes that are not UTF-8 show as ``\\xff``."""
        return self.output("stdout").decode("utf-8", "backslashreplace")

    @property
    def stderr(self) -> str:
        """What the job wrote to standard error, as ``stdout``."""
        return self.output("stderr").decode("utf-8", "backslashreplace")

    def output(self, name: str) -> bytes:
        """Return ``stdout`` or ``stderr`` as bytes."""
        return bytes(self.message.get(name))

    @property
    def usage(self) -> dict[str, float]:
        """``cpu_seconds`` and ``max_memory`` in bytes; empty where the host does not tell."""
        return {name: number for name, number in self._header("usage", dict).items() if isinstance(number, int | float)}

    @property
    def seconds(self) -> float:
        """How long the job ran, on its host's clock."""
        times = self._header("times", dict)
        started, finished = times.get("started"), times.get("finished")
        return finished - started if isinstance(started, float) and isinstance(finished, float) else 0.0

    def exit_status(self) -> int:
        """Return the exit status of a command; minus the signal's number where a signal ended it.

        Raises what ``result`` raises where the command was not run or was stopped.
        """
        if self.outcome == "exited":
            return self._number("status")
        if self.outcome == "killed" and not self.message.header.get("out_of_memory"):
            return -self._number("signal")
        return self._fail()

    def result(self) -> Any:
        """Return the value that the function returned, or raise what became of it instead."""
        if self.outcome != "returned":
            self._fail()
        if self.message.header.get("encoding") == "dill":
            if not self._trust:
                raise ValueRefused(f"{self.host} sent code instead of data", "If you trust that host: trust=True.")
            import dill

            return dill.loads(bytes(self.message.get("value")))
        return self._decode("value")

    def results(self) -> Iterator[Any]:
        """Yield the values of a function that was called many times; then raise what ended that, if it failed."""
        if self.outcome != "returned" and self.message.has("done"):
            yield from self._decode("done")
        yield from self.result()

    def _decode(self, section: str) -> Any:
        check_pickle(self.message.get(section))
        return decode(self.message, section, self._types)

    def _header(self, name: str, kind: type) -> Any:
        value = self.message.header.get(name, kind())
        if not isinstance(value, kind):
            raise FormatError(f"{self.host}: job {self.id}: the response's {name!r} is {value!r}")
        return value

    def _number(self, name: str) -> int:
        number = self.message.header.get(name)
        if not isinstance(number, int):
            raise FormatError(f"{self.host}: job {self.id}: the response's {name!r} is {number!r}")
        return number

    def _fail(self) -> NoReturn:
        header = self.message.header
        where = f"{self.host.rstrip(':')}: job {self.id}"
        if self.outcome == "raised":
            raise self._exception()
        if self.outcome == "exited":
            status = self._number("status")
            raise RemoteExit(
                f"{where}: the process exited with status {status} instead of returning",
                status=status,
                remote=self._context(),
            )
        if self.outcome == "killed":
            self._fail_killed(where)
        if self.outcome == "walltime":
            raise WalltimeExceeded(
                f"{where}: stopped at its time limit after {self.seconds:.1f} s",
                "Allow more time.",
                remote=self._context(),
            )
        if self.outcome == "refused":
            raise self._refusal(where)
        if self.outcome == "unencodable":
            raise ValueRefused(
                f"{where}: the returned {header.get('text')}",
                "Return plain data, sremote.allow(...) the type, or set trust=True for the host.",
            )
        if self.outcome == "unwritten":
            raise HostError(
                f"{where}: the function ran, but its response cannot be written: {header.get('text')}",
                "Make room on the host, or return less.",
            )
        if self.outcome == "lost":
            raise JobLost(
                f"{where}: {self._header('text', str) or 'its process is gone and left no response'}",
                "It ran; whether to its end is not known.",
                remote=self._context(),
            )
        if self.outcome == "cancelled":
            raise JobCancelled(f"{where}: it was cancelled", remote=self._context())
        raise FormatError(f"{where}: the response tells an unknown outcome {self.outcome!r}")

    def _fail_killed(self, where: str) -> NoReturn:
        number = self._number("signal")
        if self.message.header.get("out_of_memory"):
            raise RemoteOutOfMemory(
                f"{where}: killed by the host's kernel for want of memory",
                "Use less memory at once, or a host with more.",
                signal=number,
                remote=self._context(),
            )
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        raise RemoteKilled(f"{where}: killed by {name}", signal=number, remote=self._context())

    def _refusal(self, where: str) -> SremoteError:
        reason, text = self._header("reason", str), self._header("text", str)
        message = f"{where}: {text}"
        if reason in ("module", "function"):
            return NotInstalled(message, f"Install what is missing: sremote install {self.host} --package ...")
        if reason in ("version", "code"):
            return VersionMismatch(message)
        if reason == "arguments":
            return ValueRefused(message)
        if reason == "request":
            return FormatError(message)
        if reason == "host":
            return HostError(message)
        return UsageError(message)

    def _context(self, trace: str = "") -> RemoteContext:
        return RemoteContext(self.host, self.id, trace, self.stdout, self.stderr)

    def _exception(self) -> BaseException:
        """Return the exception that the function raised, as itself where its class is known here."""
        described = self._header("error", dict)
        name, text = str(described.get("type")), str(described.get("text"))
        context = self._context(str(described.get("traceback", "")))
        kind = _known_exception(name)
        error = None if kind is None else self._rebuild(kind)
        if error is None:
            shown = name.replace(":", ".").removeprefix("builtins.")
            error = RemoteError(f"{shown}: {text}", type_name=name.replace(":", "."), remote=context)
        # Past the class's own __setattr__, which may forbid it.
        vars(error)["remote"] = context
        BaseException.__setattr__(error, "__cause__", _RemoteTraceback(context))
        return error

    def _rebuild(self, kind: type[Exception]) -> BaseException | None:
        try:
            arguments, attributes = self._decode("error")
            if kind.__module__ == "builtins":  # their state is set by their own __init__ alone
                error: Exception = kind(*arguments)
            else:
                error = kind.__new__(kind, *arguments)
                BaseException.__setattr__(error, "args", tuple(arguments))
            if isinstance(error, ImportError):
                error.name, error.path = attributes.pop("name", None), attributes.pop("path", None)
            vars(error).update(attributes)
        except Exception:
            return None
        return error


class _RemoteTraceback(Exception):
    """Shows the remote traceback above the local one, as the cause of an exception."""

    def __init__(self, context: RemoteContext) -> None:
        super().__init__(f"on {context.host}, job {context.job_id}:\n{context.traceback}")


def _known_exception(name: str) -> type[Exception] | None:
    """Return an exception class that is already here, by name; nothing is imported for it."""
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        if not isinstance(found, type | ModuleType):
            return None
        found = vars(found).get(part)  # as getattr may import
    if isinstance(found, type) and issubclass(found, Exception) and not issubclass(found, _NOT_RAISED_HERE):
        return found
    return None
