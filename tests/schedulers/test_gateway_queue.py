"""The queue of a real Slurm through sremote's own gateway, in both dialects of NEWT."""

import time
from pathlib import Path

import pytest

from sremote.connectors.batch import BatchScript, BatchState, Resources
from tests.kit.gateway import gateway
from tests.kit.slurm import Slurm


@pytest.mark.parametrize("dialect", ["1", "2"])
def test_a_job_goes_through_the_gateways_queue(slurm: Slurm, tmp_path: Path, dialect: str) -> None:
    with gateway(tmp_path) as running, running.connector(dialect=dialect, batch=True) as connector:
        queue = connector.batch
        script = BatchScript(f"sremote-{dialect}", ["sleep", "100"], Resources(tasks=1), str(tmp_path))

        number = queue.submit(script)

        end = time.monotonic() + 60
        while queue.jobs([number])[number].state is not BatchState.RUNNING:
            assert time.monotonic() < end
            time.sleep(0.2)
        found = queue.find(f"sremote-{dialect}")
        assert found is not None
        assert (found.id, bool(found.nodes)) == (number, True)
        queue.cancel([number])
        while queue.jobs([number])[number].state is not BatchState.CANCELLED:
            assert time.monotonic() < end
            time.sleep(0.2)
        assert queue.jobs(["999999"]) == {}
