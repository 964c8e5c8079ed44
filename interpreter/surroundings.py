"""A call's surroundings: environment variables, PATH, working directory, login environment."""

import os
import subprocess
import sys
from typing import Any, Dict, Mapping

from .errors import SremoteError

_MARKER = "sremote-login-environment"
_OURS = ("SREMOTE_PYTHON",)


def enter(surroundings: Mapping[str, Any]) -> None:
    """Give this process the surroundings that a request asks for.

    Keys, all optional: ``login_env`` (bool: start from the user's login
    environment), ``temporary`` (folder for temporary files), ``env`` (variables to
    set), ``env_default`` (to set where unset), ``path`` (folders to append to PATH),
    ``cwd`` (working directory, default home).  Folders may be relative to home.
    Raises SremoteError where the working directory is not there.
    """
    if surroundings.get("login_env"):
        os.environ.update(_login_environment())
    for name in _OURS:
        os.environ.pop(name, None)
    if surroundings.get("temporary"):
        os.environ["TMPDIR"] = _from_home(surroundings["temporary"])
    os.environ.update(surroundings.get("env") or {})
    for name, value in (surroundings.get("env_default") or {}).items():
        os.environ.setdefault(name, value)
    folders = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    os.environ["PATH"] = os.pathsep.join(folders + list(surroundings.get("path") or []))
    directory = _from_home(surroundings.get("cwd") or "~")
    try:
        os.chdir(directory)
    except OSError as error:
        raise SremoteError("the working directory {}: {}".format(directory, error.strerror)) from None
    sys.path.append(os.getcwd())


def _from_home(path: str) -> str:
    return os.path.join(os.path.expanduser("~"), os.path.expanduser(path))


def _login_environment() -> Dict[str, str]:
    shell = os.environ.get("SHELL") or "/bin/sh"
    if os.path.basename(shell) not in ("sh", "bash", "dash", "ksh", "mksh", "zsh"):
        shell = "/bin/sh"  # csh and fish have their own words for what follows
    script = "printf '%s\\0' {}; exec env -0".format(_MARKER)
    done = subprocess.run([shell, "-l", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    entries = os.fsdecode(done.stdout.partition(_MARKER.encode() + b"\0")[2]).split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
