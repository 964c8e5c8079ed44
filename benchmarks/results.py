"""What a row of the table holds: what was measured, of whom, and whether the goal is met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

OURS = "sremote"


@dataclass(frozen=True)
class Verdict:
    """Whether a goal is met, and by how much, in words."""

    met: bool
    text: str


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ``samples`` are the rounds of each contender by name, sremote's first, all in
    ``unit``; ``goal`` is what was aimed at, in words.  A row without a verdict is for
    information.
    """

    what: str
    unit: str
    samples: Mapping[str, list[float]]
    goal: str = ""
    verdict: Verdict | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def medians(self) -> dict[str, float]:
        """The median of each contender's rounds."""
        return {name: median(values) for name, values in self.samples.items()}


def at_most(value: float, limit: float, unit: str) -> Verdict:
    """Judge a value that is better when it is smaller."""
    return Verdict(value <= limit, f"{number(value)} {unit} of {number(limit)} {unit}")


def at_least_times(ratio: float, wanted: float) -> Verdict:
    """Judge a ratio that is better when it is larger."""
    if ratio >= wanted:
        return Verdict(True, f"{ratio:.2f}×")
    return Verdict(False, f"{ratio:.2f}× instead of {wanted:g}×")


def interleaved(rounds: int, contenders: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Let each contender measure once a round, in turn, so that a busy moment is everybody's."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            samples[name].append(measure())
    return samples


def number(value: float) -> str:
    """Write a number with three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
