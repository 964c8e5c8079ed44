"""A batch system that is asked by commands on the host, whatever connector carries them there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sremote.connectors.base import Completed
from sremote.connectors.batch import BatchJob, BatchScript, BatchState, BatchSystem, Resources
from sremote.connectors.errors import HostError, LineTimeout, SchedulerAway
from sremote.interpreter.errors import SremoteError
from sremote.schedulers.adapter import Adapter, Answer, Command

QUERY_TIMEOUT = 30.0
"""Seconds that a question to the scheduler may take."""
SUBMIT_TIMEOUT = 60.0
"""Seconds that a submission may take."""
MOST_IDS = 1000
"""Jobs that one command asks about, as command lines have limits."""
_LINE_MARGIN = 10.0
"""Seconds more after which the line is taken for what does not answer."""

# A command that hangs is ended over there, too, where there is a `timeout`.
_LIMITED = (
    'seconds=$1; shift; if command -v timeout >/dev/null 2>&1; then exec timeout -k 2 "$seconds" "$@"; fi; exec "$@"'
)
_TIMED_OUT = (124, 137)
"""The statuses of ``timeout`` where it had to end, or to kill, the command."""


class Execute(Protocol):
    """Runs a command on a host, as ``Host.execute`` does."""

    def __call__(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float | None = None) -> Completed:
        """Run ``argv`` and wait for its end."""


class CommandBatchSystem(BatchSystem):
    """A scheduler's adapter, and the way to run its commands.

    ``where`` is the host at the beginning of messages.  Each command has a time limit
    of its own, in seconds, QUERY_TIMEOUT or SUBMIT_TIMEOUT unless told otherwise: one
    that hangs is a SchedulerAway, never a state of a job.
    """

    def __init__(
        self,
        adapter: Adapter,
        execute: Execute,
        where: str,
        *,
        query_timeout: float | None = None,
        submit_timeout: float | None = None,
    ) -> None:
        self.adapter = adapter
        self.name = adapter.name
        self._execute = execute
        self._where = where
        self.query_timeout = query_timeout or QUERY_TIMEOUT
        self.submit_timeout = submit_timeout or SUBMIT_TIMEOUT

    def submit(self, script: BatchScript) -> str:
        """Submit a job; see ``BatchSystem``."""
        try:
            command = self.adapter.submit_command(script)
            return self.adapter.submitted(self._run(command, self.submit_timeout))
        except SremoteError as error:
            raise self._at_host(error) from None

    def jobs(self, ids: Sequence[str]) -> Mapping[str, BatchJob]:
        """Ask how jobs are; see ``BatchSystem``."""
        found = {}
        for start in range(0, len(ids), MOST_IDS):
            asked = ids[start : start + MOST_IDS]
            jobs = self._ask(self.adapter.query_command(asked))
            found.update({job.id: job for job in jobs if job.id in asked})
        return found

    def own_name(self, name: str) -> str:
        """Return a name as the scheduler keeps it."""
        return self.adapter.job_name(name)

    def own_launcher(self, resources: Resources) -> Sequence[str]:
        """Return the scheduler's own launcher."""
        return self.adapter.own_launcher(resources)

    def find(self, name: str) -> BatchJob | None:
        """Look for a job by name: the newest of those that have not ended, else of those that were not cancelled."""
        wanted = self.own_name(name)
        found = [job for job in self._ask(self.adapter.find_command(name)) if job.name == wanted]
        alive = [job for job in found if not job.state.ended]
        ended = [job for job in found if job.state is not BatchState.CANCELLED]
        return next((jobs[-1] for jobs in (alive, ended, found) if jobs), None)

    def cancel(self, ids: Sequence[str]) -> None:
        """Cancel jobs; see ``BatchSystem``."""
        try:
            for start in range(0, len(ids), MOST_IDS):
                command = self.adapter.cancel_command(ids[start : start + MOST_IDS])
                self.adapter.cancelled(self._run(command, self.query_timeout))
        except SremoteError as error:
            raise self._at_host(error) from None

    def is_there(self) -> bool:
        """Say whether there is a scheduler behind the commands; one that is only away is there."""
        try:
            answer = self._run(self.adapter.find_command("sremote"), self.query_timeout)
        except SchedulerAway:
            return True
        return not any(words in answer.said.lower() for words in self.adapter.absent)

    def _ask(self, command: Command) -> Sequence[BatchJob]:
        try:
            return self.adapter.jobs(self._run(command, self.query_timeout))
        except SremoteError as error:
            raise self._at_host(error) from None

    def _run(self, command: Command, timeout: float) -> Answer:
        program = command.name or command.argv[0]
        try:
            done = self._execute(
                ["sh", "-c", _LIMITED, "sh", f"{timeout:g}", *command.argv],
                stdin=command.stdin.encode("utf-8", "surrogateescape"),
                timeout=timeout + _LINE_MARGIN,
            )
        except LineTimeout as error:
            raise self._timed_out(program, timeout) from error
        if done.status in _TIMED_OUT:
            raise self._timed_out(program, timeout)
        answer = Answer(
            done.status,
            done.stdout.decode("utf-8", "backslashreplace"),
            done.stderr.decode("utf-8", "backslashreplace"),
        )
        if done.status in (126, 127):
            raise HostError(
                f"{program} of {self.name} cannot be run: {answer.said}",
                "Load it first, with a preamble such as 'module load slurm', or name the right scheduler.",
            )
        return answer

    def _timed_out(self, program: str, timeout: float) -> SchedulerAway:
        return SchedulerAway(f"{self.name} gives no answer: {program} took more than {timeout:g} s")

    def _at_host(self, error: SremoteError) -> SremoteError:
        """Return an error with the host's name before its message, unless it stands there."""
        if error.message.startswith(self._where):
            return error
        return type(error)(f"{self._where}: {error.message}", error.remedy)
