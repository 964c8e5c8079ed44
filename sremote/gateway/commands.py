"""Commands as NEWT has them: one line for a shell, and its whole output in the answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive

OUTPUT_LIMIT = 1 << 22
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
    too_much = asyncio.Event()
    outputs = bytearray(), bytearray()
    readers = [
        asyncio.create_task(_read(stream, output, too_much))
        for stream, output in zip((process.stdout, process.stderr), outputs, strict=True)
    ]
    ended = asyncio.ensure_future(asyncio.gather(*readers, process.wait()))
    reasons: dict[asyncio.Future[Any], str] = {
        ended: "",
        asyncio.ensure_future(_hang_up(receive)): "the client hung up",
        asyncio.ensure_future(too_much.wait()): f"it printed more than {OUTPUT_LIMIT} bytes: write them to a file",
    }
    try:
        done, _ = await asyncio.wait(reasons, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        problem = f"it was ended after {timeout:g} seconds"
        if done:
            problem = reasons[next(reason for reason in reasons if reason in done)]
    finally:
        for reason in reasons:
            if reason is not ended:
                reason.cancel()
        if process.returncode is None:
            await _end(process)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended, GRACE)
    return Finished(process.returncode or 0, bytes(outputs[0]), bytes(outputs[1]), problem)


async def _read(stream: asyncio.StreamReader, kept: bytearray, too_much: asyncio.Event) -> None:
    """Keep what comes; what is too much is read and dropped until the command has been ended."""
    while data := await stream.read(1 << 16):
        if len(kept) + len(data) > OUTPUT_LIMIT:
            too_much.set()
        else:
            kept += data


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
