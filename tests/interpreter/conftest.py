"""Far sides: this Python and the oldest one for what is told in detail, every Python for a whole round."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interpreter.far_side import FarSide
from tests.interpreter.queue_side import QueueSide
from tests.kit.pythons import Python, installed_pythons

THIS = Python("this", sys.version_info[1], Path(sys.executable))
TOLD = (THIS, *installed_pythons()[:1])


@pytest.fixture(params=TOLD, ids=str)
def far_side(request: pytest.FixtureRequest, tmp_path: Path) -> FarSide:
    """A far side on this Python, and one on the oldest."""
    return FarSide(request.param.path, tmp_path)


@pytest.fixture(params=installed_pythons(), ids=str)
def each_far_side(request: pytest.FixtureRequest, tmp_path: Path) -> FarSide:
    """A far side on each Python of this machine."""
    return FarSide(request.param.path, tmp_path)


@pytest.fixture
def this_side(tmp_path: Path) -> FarSide:
    """A far side on this Python, which has numpy."""
    return FarSide(Path(sys.executable), tmp_path)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[QueueSide]:
    """A queue, and workers that are killed at the end."""
    side = QueueSide(tmp_path)
    yield side
    side.close()
