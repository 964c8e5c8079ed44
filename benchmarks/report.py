"""Shows the rows: a table on the terminal, a JSON file, a plot."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.results import OURS, Row, number


def print_table(rows: Sequence[Row]) -> None:
    """Print what was measured, and whether each goal is met."""
    table = Table(show_lines=True)
    for title in ("what", "unit", OURS, "beside it", "goal", "met"):
        table.add_column(title)
    for row in rows:
        medians = row.medians
        others = "\n".join(f"{name}: {number(value)}" for name, value in medians.items() if name != OURS)
        verdict = "" if row.verdict is None else f"{'yes' if row.verdict.met else 'NO'}: {row.verdict.text}"
        table.add_row(row.what, row.unit, number(medians[OURS]), others, row.goal, verdict)
    Console(width=None if os.isatty(1) else 160).print(table)


def summary(row: Row) -> str:
    """Return a row in one line."""
    medians = ", ".join(f"{name} {number(value)}" for name, value in row.medians.items())
    verdict = "" if row.verdict is None else f": {'met' if row.verdict.met else 'MISSED'}, {row.verdict.text}"
    return f"{row.what}, {row.unit}: {medians}{verdict}"


def save(rows: Sequence[Row], path: Path) -> None:
    """Write the rows and what machine they are of as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()},
        "rows": [
            {
                "what": row.what,
                "unit": row.unit,
                "goal": row.goal,
                "met": None if row.verdict is None else row.verdict.met,
                "verdict": None if row.verdict is None else row.verdict.text,
                "medians": row.medians,
                "samples": dict(row.samples),
            }
            for row in rows
        ],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw a small bar chart for each row."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    columns = 3
    lines = -(-len(rows) // columns)
    figure, axes = pyplot.subplots(lines, columns, figsize=(15, 2.2 * lines), squeeze=False, layout="constrained")
    for axis in axes.flat[len(rows) :]:
        axis.axis("off")
    for axis, row in zip(axes.flat, rows, strict=False):
        medians = row.medians
        colours = ["tab:blue" if name.startswith(OURS) else "lightgray" for name in medians]
        bars = axis.barh(list(medians), list(medians.values()), color=colours)
        axis.bar_label(bars, [number(value) for value in medians.values()], padding=3)
        axis.margins(x=0.2)
        axis.invert_yaxis()
        axis.set_title(f"{row.what}, {row.unit}", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
