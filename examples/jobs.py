"""Submit a job, leave, and collect its result with a client of its own.

python examples/jobs.py [HOST]
"""

import sys

import sremote


def simulate(steps: int) -> float:
    """Walk at random, and say how far that has got."""
    import random

    place = 0.0
    for step in range(steps):
        place += random.gauss(0, 1)
        sremote.progress(step + 1, steps, f"at {place:+.0f}")
    print(f"{steps} steps")
    return place


def main(host: str = "local:") -> None:
    with sremote.connect(host) as client:
        job = client.submit_function(simulate, 10_000)
        print("submitted", job.id)

    # From here on nothing of this program is needed; the rest could run tomorrow, elsewhere in a shell:
    #   sremote logs -f ID; sremote result ID
    job = sremote.job(job.id)
    print("it is", job.wait())
    print("printed:", *job.logs())
    print("ended at", job.result())


if __name__ == "__main__":
    main(*sys.argv[1:])
