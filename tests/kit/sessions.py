"""Hosts with sessions of screen and tmux of their own, though they are all this machine."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.kit.requirements import need_program
from tests.kit.sshd import SshServer, ssh_server


@contextmanager
def session_folders() -> Iterator[dict[str, str]]:
    """Give the variables with which screen and tmux have sessions of their own; end those at the end.

    The folder's path is short, as sockets live there.
    """
    screen, tmux = need_program("screen", "screen"), need_program("tmux", "tmux")
    with tempfile.TemporaryDirectory(prefix="s-", dir="/tmp") as folder:
        os.chmod(folder, 0o700)
        variables = {"SCREENDIR": folder, "TMUX_TMPDIR": folder}
        try:
            yield variables
        finally:
            environment = {**os.environ, **variables}
            for name in os.listdir(folder):
                subprocess.run([screen, "-S", name, "-X", "quit"], env=environment, capture_output=True, check=False)
            subprocess.run([tmux, "kill-server"], env=environment, capture_output=True, check=False)


@contextmanager
def launch_host(folder: Path, name: str, **options: Any) -> Iterator[SshServer]:
    """A running ssh server with sessions of its own."""
    with session_folders() as variables, ssh_server(folder / name, name=name, environment=variables, **options) as host:
        yield host
