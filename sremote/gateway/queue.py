"""The queue of this machine, as NEWT shows it: Slurm's, through its commands."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from starlette.exceptions import HTTPException

TIMEOUT = 60.0
"""Seconds that one of Slurm's commands may take."""
_FIELDS = {
    "jobid": "%i",
    "user": "%u",
    "status": "%t",
    "state": "%T",
    "nodes": "%D",
    "procs": "%C",
    "queue": "%P",
    "timereq": "%l",
    "timeuse": "%M",
    "submittime": "%V",
    "rank": "%p",
    "repo": "%a",
    "hostname": "%N",
    "reason": "%r",
    "name": "%j",
}
"""NEWT's names and squeue's formats; a name may hold anything, so it is the last."""
_NUMBER = re.compile(r"\d+(_\d+)?")


class Queue:
    """Every method raises HTTPException where Slurm refuses or is not there."""

    async def list(self, *, user: str | None = None, queue: str | None = None) -> list[dict[str, str]]:
        """Return the jobs in the queue, and those that have just ended."""
        chosen = [*([f"--user={user}"] if user else []), *([f"--partition={queue}"] if queue else [])]
        return _rows(await _run(["squeue", *_SHOW, *chosen]))

    async def get(self, number: str) -> dict[str, str]:
        """Return one job."""
        if not _NUMBER.fullmatch(number):
            raise HTTPException(404, "there is no job of that number")
        try:
            found = _rows(await _run(["squeue", *_SHOW, f"--jobs={number}"]))
        except HTTPException as error:
            if "Invalid job id" not in error.detail:
                raise
            found = []
        if not found:
            raise HTTPException(404, "there is no job of that number")
        return found[0]

    async def submit(self, script: str) -> str:
        """Submit a job's script, and return the job's number."""
        return (await _run(["sbatch", "--parsable"], script)).strip().partition(";")[0]

    async def cancel(self, number: str) -> None:
        """Cancel a job."""
        await self.get(number)
        await _run(["scancel", number])


_SHOW = ["--noheader", "--states=all", "--format=" + "\x1f".join(_FIELDS.values())]


def _rows(text: str) -> list[dict[str, str]]:
    rows = (line.split("\x1f", len(_FIELDS) - 1) for line in text.splitlines() if line)
    return [dict(zip(_FIELDS, row, strict=True)) for row in rows if len(row) == len(_FIELDS)]


async def _run(argv: Sequence[str], text: str = "") -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise HTTPException(501, f"this machine has no Slurm: there is no {argv[0]}") from None
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(text.encode("utf-8", "surrogateescape")), TIMEOUT)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise HTTPException(503, f"{argv[0]} had not ended after {TIMEOUT:.0f} seconds") from None
    if process.returncode:
        raise HTTPException(409, stderr.decode("utf-8", "replace").strip() or f"{argv[0]} failed")
    return stdout.decode("utf-8", "replace")
