"""What a launch is told besides its configuration: the flags of ``sremote launch``."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field
from pathlib import Path

from sremote.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")


@dataclass(frozen=True)
class LaunchOptions:
    """The options of a launch."""

    user: str | None = None
    """The user on hosts whose name says none."""
    password: str | None = field(default=None, repr=False)
    """Answers what ssh hosts ask for: a password, or a key's passphrase."""
    screen: str = "runner"
    """The name of the launch, and of its screen or tmux session on each host."""
    kill_first: bool = True
    """Whether earlier launches of that name are stopped first."""
    terminate: bool = True
    """Whether the other components are stopped once those that are waited for have ended."""
    always_copy: bool = False
    """Send every file, whatever is there."""
    zombie: bool = True
    """Whether a window stays when its component has ended."""
    muddler: Path | None = None
    """A Python file with ``muddle(config)``."""
    extra_args: str | None = None
    """Arguments for ``arg_parser``."""
    arg_parser: Path | None = None
    """A Python file with ``parse_args(extra_args, ssh_user)``."""
    remote_done_dir: str | None = None
    """A folder on each host that gets a file NAME.done with the exit status of each component that has ended."""
    log_level: str = "INFO"
    max_hosts_at_once: int = 32
    """Hosts that are connected to, copied to and started on at the same time."""
    multiplexer: str = "auto"
    """Where components run: "screen", "tmux", "none", or "auto" for the first of these that is there."""
    grace: float = 5.0
    """Seconds between SIGTERM and SIGKILL when a component is stopped."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.screen):
            raise UsageError(
                f"{self.screen!r} cannot be the name of a session", "Use letters, digits, '.', '_', '+' and '-'."
            )
        if self.max_hosts_at_once < 1:
            raise UsageError(f"{self.max_hosts_at_once} hosts at once are too few", "Give at least 1.")
        if self.multiplexer not in ("auto", "screen", "tmux", "none"):
            raise UsageError(f"there is no multiplexer {self.multiplexer!r}", "Use auto, screen, tmux or none.")
        if self.extra_args is not None and self.arg_parser is None:
            raise UsageError("--extra-args need a file that reads them", "Give it with --arg-parser FILE.")

    def namespace(self, config_file: Path) -> argparse.Namespace:
        """Return the options under the names that remote_runner's configurations know."""
        return argparse.Namespace(
            config_file=str(config_file),
            ssh_user=self.user,
            ssh_pass=self.password,
            log_level=self.log_level,
            screen=self.screen,
            kill_first=self.kill_first,
            terminate=self.terminate,
            always_copy=self.always_copy,
            no_zombie=not self.zombie,
            muddler=str(self.muddler) if self.muddler else None,
            extra_args=self.extra_args,
            arg_parser=str(self.arg_parser) if self.arg_parser else None,
            remote_done_dir=self.remote_done_dir,
        )
