"""What a user may rely on where a connector has a batch system of its own; part of ``sremote.testing``."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import pytest

from sremote.connectors.base import Capability, Connector
from sremote.connectors.batch import BatchJob, BatchScript, BatchState, Resources
from sremote.connectors.errors import FileMissing
from sremote.testing_needs import eventually, needs


class BatchConformance:
    """The contract of ``Connector.batch``.  ``resources`` is what a little job of the tests asks for."""

    @pytest.fixture
    def resources(self) -> Resources:
        """What a job of these tests asks for."""
        return Resources(walltime=300.0)

    @needs(Capability.BATCH)
    def test_the_home_directory_is_known(self, connector: Connector, host: Connector) -> None:
        home = host.execute(["sh", "-c", 'cd "$HOME" && pwd']).stdout.decode().strip()
        assert connector.home == home

    @needs(Capability.BATCH)
    def test_a_job_runs_its_command_as_it_is(self, connector: Connector, folder: str, resources: Resources) -> None:
        words = ["two  words", "$HOME", "'quotes' \"both\"", "line\nbreak", "back\\slash", "", "naïve Ω", "100% !"]
        command = ["sh", "-c", 'printf "%s\\0" "$@" >words.part && mv words.part words', "sh", *words]
        submit(connector, folder, command, resources)
        eventually(lambda: there(connector, f"{folder}/words"))
        assert connector.read(f"{folder}/words").decode().split("\0")[:-1] == words

    @needs(Capability.BATCH)
    def test_a_job_ends_completed_or_failed(self, connector: Connector, folder: str, resources: Resources) -> None:
        good = submit(connector, folder, ["true"], resources)
        bad = submit(connector, folder, ["sh", "-c", "exit 3"], resources)
        eventually(lambda: all(ended(connector, job) for job in (good, bad)))
        jobs = connector.batch.jobs([good, bad])
        assert (jobs[good].state, jobs[bad].state) == (BatchState.COMPLETED, BatchState.FAILED)
        assert jobs[bad].exit_status in (3, None)

    @needs(Capability.BATCH)
    def test_what_a_job_prints_is_in_the_file_batch(
        self, connector: Connector, folder: str, resources: Resources
    ) -> None:
        job = submit(connector, folder, ["sh", "-c", "echo out; echo err >&2"], resources)
        eventually(lambda: ended(connector, job))
        eventually(lambda: connector.read(f"{folder}/batch") in (b"out\nerr\n", b"err\nout\n"))

    @needs(Capability.BATCH)
    def test_a_job_is_found_by_its_name(self, connector: Connector, folder: str, resources: Resources) -> None:
        name = f"sremote-{secrets.token_hex(8)}"
        job = submit(connector, folder, ["sleep", "300"], resources, name)
        try:
            eventually(lambda: (found := connector.batch.find(name)) is not None and found.id == job)
            assert connector.batch.find(f"{name}-other") is None
        finally:
            connector.batch.cancel([job])

    @needs(Capability.BATCH)
    def test_a_job_is_cancelled(self, connector: Connector, folder: str, resources: Resources) -> None:
        job = submit(connector, folder, ["sh", "-c", "touch began; exec sleep 300"], resources)
        eventually(lambda: there(connector, f"{folder}/began"))
        connector.batch.cancel([job])
        eventually(lambda: ended(connector, job))
        assert connector.batch.jobs([job])[job].state is BatchState.CANCELLED
        connector.batch.cancel([job])

    @needs(Capability.BATCH)
    def test_a_job_that_is_not_known_is_left_out(self, connector: Connector) -> None:
        assert connector.batch.jobs(["987654321"]) == {}


def submit(
    connector: Connector, folder: str, command: Sequence[str], resources: Resources, name: str | None = None
) -> str:
    """Submit a command as a job, and return its id."""
    script = BatchScript(name or f"sremote-{secrets.token_hex(8)}", command, resources, folder)
    return connector.batch.submit(script)


def ended(connector: Connector, job: str) -> bool:
    found: BatchJob | None = connector.batch.jobs([job]).get(job)
    return found is not None and found.state.ended


def there(connector: Connector, path: str) -> bool:
    try:
        connector.read(path)
        return True
    except FileMissing:
        return False
