"""Programs that a test needs and a machine may lack."""

import os
import shutil

import pytest


def need_program(name: str, package: str) -> str:
    """Return the path of a program; skip the test naming the Debian ``package`` that has it.

    Where ``CI=true`` a missing program is a failure, so that nothing is skipped unseen.
    """
    path = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        message = f"needs the program {name}: apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path
