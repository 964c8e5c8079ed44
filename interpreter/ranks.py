"""Which of the processes that run a function side by side this is; for users ``sremote.rank`` and ``sremote.ranks``."""

import os

RANK = "SREMOTE_RANK"
RANKS = "SREMOTE_RANKS"
"""The environment variables that say so."""


def rank() -> int:
    """Return the number of this process among those that run a function side by side, from 0; 0 where it is alone."""
    return int(os.environ.get(RANK, "0"))


def ranks() -> int:
    """Return how many processes run this function side by side; 1 where it is alone."""
    return int(os.environ.get(RANKS, "1"))
