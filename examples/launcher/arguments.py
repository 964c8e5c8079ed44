"""Reads what stands behind --extra-args; the configuration gets it as ``extra_options``."""

import argparse
import shlex


def parse_args(extra_args, ssh_user):  # noqa: ARG001  # the user given with -u
    parser = argparse.ArgumentParser("--extra-args")
    parser.add_argument("--hosts", type=lambda text: text.split(","), default=["local:"], help="with commas between")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--times", type=int, default=3, help="how often each client fetches")
    return parser.parse_args(shlex.split(extra_args))
