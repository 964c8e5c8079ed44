"""How long the program and the library take to start, as whole processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from benchmarks.place import Place
from benchmarks.proxy import timed
from benchmarks.results import OURS, Row, Verdict, at_most, interleaved

_LIGHT = "import sys, sremote; sys.exit('paramiko' in sys.modules)"


def measure(place: Place) -> Iterator[Row]:
    """Yield a row for ``import sremote`` and one for ``sremote --help``."""
    program = Path(sys.executable).with_name("sremote")
    samples = interleaved(
        place.rounds(20),
        {
            OURS: _process(sys.executable, "-c", "import sremote"),
            "python alone": _process(sys.executable, "-c", "pass"),
            "import paramiko": _process(sys.executable, "-c", "import paramiko"),
        },
    )
    verdict = at_most(median(samples[OURS]), 60, "ms")
    if subprocess.run([sys.executable, "-c", _LIGHT]).returncode != 0:
        verdict = Verdict(False, "it imports paramiko")
    yield Row("import sremote, whole process", "ms", samples, "under 60 ms, and no paramiko", verdict)
    samples = interleaved(place.rounds(20), {OURS: _process(str(program), "--help")})
    yield Row("sremote --help", "ms", samples, "under 150 ms", at_most(median(samples[OURS]), 150, "ms"))


def _process(*command: str) -> Callable[[], float]:
    return lambda: timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)) * 1000
