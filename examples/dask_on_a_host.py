"""Have dask compute on a host.

    python examples/dask_on_a_host.py [HOST]

dask sends functions among its data, so the host is one that you trust, with this
Python's minor version and dask: sremote install HOST --package dask
"""

import sys

import dask

import sremote


@dask.delayed
def square(number: int) -> int:
    return number * number


@dask.delayed
def total(numbers: list[int]) -> int:
    return sum(numbers)


def main(host: str = "local:") -> None:
    with (
        sremote.connect(host, trust=True) as client,
        client.executor(workers=2) as executor,
        dask.config.set(scheduler=executor),
    ):
        print("The sum of the squares is", total([square(number) for number in range(10)]).compute())


if __name__ == "__main__":
    main(*sys.argv[1:])
