"""Run your own function on a host that does not have it.

    python examples/by_value.py [HOST]

The function takes along what it uses: the other functions and the constants of
this file, and the modules by name.
"""

import math
import sys

import sremote

INTERVALS = 1000


def midpoint(index: int, width: float) -> float:
    return (index + 0.5) * width


def integral(end: float) -> float:
    """Integrate the sine from 0 to ``end``."""
    width = end / INTERVALS
    print(f"{INTERVALS} intervals of {width:.6f}")
    return sum(math.sin(midpoint(index, width)) * width for index in range(INTERVALS))


def main(host: str = "local:") -> None:
    with sremote.connect(host) as client:
        area = client.call_function(integral, math.pi)
        print(f"The area is {area:.4f}")

        job = client.last_response
        print(f"It took {job.seconds:.3f} s there and printed {job.stdout!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
