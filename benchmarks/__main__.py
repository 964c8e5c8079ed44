"""Measures sremote beside its peers and the bare line: prints a table, writes JSON and a plot.

bin/benchmark                 everything, in about a quarter of an hour
bin/benchmark --quick         fewer rounds and smaller trees
bin/benchmark --only calls    the rows of one file of this folder; may be given several times
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from pathlib import Path

from benchmarks.place import prepared_place
from benchmarks.report import plot, print_table, save, summary
from benchmarks.results import Row

NAMES = (
    "round_trips",
    "first_call",
    "calls",
    "sessions",
    "channels",
    "objects",
    "gather",
    "arrays",
    "requests",
    "imports",
    "idle",
    "files",
    "launches",
    "queue",
)
RESULTS = Path(__file__).with_name("results")


def main() -> int:
    """Measure what was asked for; 1 where a row could not be measured."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller trees")
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to (default: %(default)s)")
    options = parser.parse_args()
    rows: list[Row] = []
    failed = False
    with prepared_place(quick=options.quick) as place:
        for name in options.only or NAMES:
            print(f"{name} …", file=sys.stderr, flush=True)
            try:
                for row in importlib.import_module(f"benchmarks.{name}").measure(place):
                    rows.append(row)
                    print(f"  {summary(row)}", file=sys.stderr, flush=True)
            except Exception:
                traceback.print_exc()
                failed = True
    print_table(rows)
    save(rows, options.results / "latest.json")
    plot(rows, options.results / "latest.svg")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
