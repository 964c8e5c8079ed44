"""The page about schedulers holds: its program runs on a real Slurm."""

from pathlib import Path

import pytest

from tests.kit.slurm import Slurm
from tests.test_documentation import FENCE, PROJECT, run_python

NOT_RUN_ELSEWHERE = "<!-- not run: needs a Slurm"


@pytest.mark.root
def test_the_python_blocks_run_as_one_program(slurm: Slurm, tmp_path: Path) -> None:
    found = list(FENCE.finditer((PROJECT / "docs/schedulers.md").read_text()))
    blocks = [block["text"] for block in found if block["language"] == "python"]
    assert sum(block["before"].startswith(NOT_RUN_ELSEWHERE) for block in found) == len(blocks) - 1
    program = tmp_path / "page.py"
    program.write_text("\n".join(blocks))

    run_python(program)
