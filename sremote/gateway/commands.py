"""Commands as NEWT has them: one line for a shell, and its whole output in the answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive

OUTPUT_LIMIT = 1 << 24
"""Bytes of output and of errors that an answer holds."""
GRACE = 0.5
"""Seconds between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class Finished:
    """A line that has run."""

    status: int
    """Negative for a signal; as the shell has it otherwise."""
    stdout: bytes
    stderr: bytes
    problem: str = ""
    """Why it was ended before its own end."""


async def run_line(line: str, *, login: bool, home: str, timeout: float, receive: Receive) -> Finished:
    """Run a line with sh, in the user's login environment where ``login``; it ends when the client hangs up."""
    try:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            *(["-l"] if login else []),
            "-c",
            line,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=home,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Finished(126, b"", str(error).encode())
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [asyncio.create_task(_read(stream)) for stream in (process.stdout, process.stderr)]
    hangs_up = asyncio.create_task(_hang_up(receive))
    ended = asyncio.ensure_future(asyncio.gather(*readers, process.wait()))
    waiting: set[asyncio.Future[Any]] = {ended, hangs_up}
    try:
        done, _ = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        problem = "" if ended in done else f"it was ended after {timeout:g} seconds" if not done else "hung up"
        if ended in done and isinstance(ended.exception(), OverflowError):
            problem = f"it printed more than {OUTPUT_LIMIT} bytes: write them to a file and get that"
    finally:
        hangs_up.cancel()
        if process.returncode is None:
            await _end(process)
        with contextlib.suppress(OverflowError, asyncio.CancelledError):
            await asyncio.wait_for(ended, GRACE)
    stdout, stderr = (
        reader.result() if reader.done() and not reader.cancelled() and not reader.exception() else b""
        for reader in readers
    )
    return Finished(process.returncode or 0, stdout, stderr, problem)


async def _read(stream: asyncio.StreamReader) -> bytes:
    kept = bytearray()
    while data := await stream.read(1 << 16):
        kept += data
        if len(kept) > OUTPUT_LIMIT:
            raise OverflowError
    return bytes(kept)


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), GRACE)
            return
