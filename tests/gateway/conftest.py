"""A gateway that the tests of a module share: leave it as you found it."""

from collections.abc import Iterator

import pytest

from tests.kit.gateway import Gateway, gateway


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "allowed").mkdir()
    with gateway(folder, allowed=(folder / "allowed", folder / "home"), body_timeout=1.0) as running:
        yield running
