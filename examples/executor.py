"""Use a host where Python's own executors are used: futures, asyncio and joblib.

python examples/executor.py [HOST]
"""

import asyncio
import concurrent.futures
import math
import sys

import joblib

import sremote
from sremote.joblib_backend import JoblibBackend


def count_primes(start: int, end: int) -> int:
    """Count the primes from ``start`` up to ``end``."""
    return sum(
        number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))
        for number in range(start, end)
    )


RANGES = [(start, start + 1000) for start in range(0, 4000, 1000)]


async def with_asyncio(executor: sremote.Executor) -> list[int]:
    loop = asyncio.get_running_loop()
    return await asyncio.gather(*(loop.run_in_executor(executor, count_primes, *each) for each in RANGES))


def main(host: str = "local:") -> None:
    with sremote.connect(host) as client, client.executor(workers=2) as executor:
        futures = [executor.submit(count_primes, *each) for each in RANGES]
        print("futures:", sum(future.result() for future in concurrent.futures.as_completed(futures)))
        print("asyncio:", sum(asyncio.run(with_asyncio(executor))))
        with joblib.parallel_config(backend=JoblibBackend(executor), n_jobs=2):
            print("joblib: ", sum(joblib.Parallel()(joblib.delayed(count_primes)(*each) for each in RANGES)))


if __name__ == "__main__":
    main(*sys.argv[1:])
