"""Send numpy arrays to a host and get arrays back.

    python examples/arrays.py [HOST]

numpy must be here and on the host, where ``sremote install HOST --package numpy``
puts it.  The two need not be of the same version.
"""

import sys

import numpy

import sremote


def principal_axes(points: numpy.ndarray) -> dict:
    centred = points - points.mean(axis=0)
    values, vectors = numpy.linalg.eigh(centred.T @ centred / len(points))
    return {"variances": values, "axes": vectors}


def main(host: str = "local:") -> None:
    points = numpy.random.default_rng(1).normal(size=(100_000, 3)) * [3.0, 2.0, 1.0]
    with sremote.connect(host) as client:
        client.require("numpy", ">=1.20")  # checked there before anything runs

        norm = client.call("numpy.linalg", "norm", [numpy.array([3.0, 4.0])])
        print("The norm:", norm, type(norm).__name__)

        found = client.call_function(principal_axes, points)
        print("The variances:", found["variances"].round(1))
        print("The axes are an array of", found["axes"].shape)


if __name__ == "__main__":
    main(*sys.argv[1:])
