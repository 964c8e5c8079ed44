"""Wheels of what no index has: git repositories and projects of this machine, built here."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

from sremote.errors import HostUnreachable, UsageError
from sremote.requirements import Source
from sremote.wheels import Say, build_wheel


def build(source: Source, folder: Path, *, commit: str = "", say: Say = lambda _: None) -> Path:
    """Build a source's wheel into ``folder`` and return it; a source that is a wheel is copied there.

    Raises NotInstalled with the build's last words.
    """
    if source.path is not None and source.path.suffix == ".whl":
        return Path(shutil.copy(source.path, folder))
    what = str(source.path)
    if source.url:
        what = f"git+{source.url}@{commit or source.ref}".rstrip("@")
        what += f"#subdirectory={source.subdirectory}" if source.subdirectory else ""
    return build_wheel(what, folder, f"from {source.text}", say=say)


def commit_of(source: Source) -> str:
    """Return the commit that a repository's ref points at now; a commit stands for itself.

    Raises UsageError where there is no such ref, HostUnreachable where git gets no answer.
    """
    git = shutil.which("git")
    if git is None:
        raise UsageError("there is no git on this machine", "Install git, or name the package with --package.")
    if re.fullmatch(r"[0-9a-f]{40}", source.ref):
        return source.ref
    ref = source.ref or "HEAD"
    done = subprocess.run(
        [git, "ls-remote", "--", source.url, ref, f"{ref}^{{}}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
        check=False,
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith(("fatal:", "ERROR"))] or ["git gave up"]
        reason = said[0].removeprefix("fatal: ").replace(source.url, source.text)
        raise HostUnreachable(f"git cannot read {source.text}: {reason}", f"Try: git ls-remote {source.text}")
    found = {name: commit for commit, name in (line.split("\t") for line in done.stdout.splitlines())}
    for name in (f"refs/tags/{ref}^{{}}", f"refs/heads/{ref}", f"refs/tags/{ref}", ref):
        if name in found:
            return found[name]
    if re.fullmatch(r"[0-9a-f]{7,39}", ref):
        return ref
    raise UsageError(f"{source.text}: the repository has no branch or tag {ref!r}")


def content_digest(wheel: Path) -> str:
    """Return a digest of the files in a wheel, which their dates do not change."""
    with zipfile.ZipFile(wheel) as archive:
        entries = sorted((item.filename, item.CRC) for item in archive.infolist())
    kept = [entry for entry in entries if not entry[0].endswith(".dist-info/RECORD")]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:40]
