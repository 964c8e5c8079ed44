"""Looks at what an installation left on this machine."""

import subprocess
from pathlib import Path

from sremote.host import Host
from sremote.installer import InstallReport


def steps(report: InstallReport) -> dict[str, bool]:
    """Return for each step whether it changed anything."""
    return {step.name: step.changed for step in report.steps}


def environment(host: Host, name: str = "default") -> Path:
    return Path(host.probe().root, "env", name)


def run_in(place: Path, source: str) -> str:
    """Run Python source in an environment of this machine, and return what it prints."""
    done = subprocess.run([place / "bin" / "python", "-c", source], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def tree(folder: Path) -> list[str]:
    """List what is in a folder, hidden files included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
