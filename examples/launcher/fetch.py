#!/usr/bin/env python3
"""Fetches a page some times: fetch.py URL TIMES."""

import sys
import urllib.request

for _ in range(int(sys.argv[2])):
    with urllib.request.urlopen(sys.argv[1], timeout=10) as page:  # noqa: S310  # it is ours
        print(page.read().decode().strip(), flush=True)
