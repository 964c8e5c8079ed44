"""Makes or changes an environment of a host; sent there as source, ``python -c``.

    installation.py ROOT ENVIRONMENT

reads a zip from standard input:

    plan.json         ``python`` (null, or the Python to make a new environment with), ``active`` (the
                      generation that the plan was made for, null for none), ``pip`` (lists of
                      arguments, one for each run), ``index`` (whether pip may ask one),
                      ``record`` (what to note in the environment)
    virtualenv.zip    virtualenv, where an environment is made
    pip.zip           pip, where packages are installed
    anything else     files that pip's arguments name, relative to the zip's root

ROOT/env/ENVIRONMENT is a link to a generation, a folder beside it.  A change is
made in a new generation, which begins as hard links to the files of the active
one, and the link is renamed into place at the end: an environment is always
whole, and a job that runs in the old generation keeps it until the next change.

Lines ``progress: TEXT`` go to standard output, and one JSON object as the last
line: ``{"error": null}`` or ``{"error": KIND, "message": ..., "output": ...}`` with
KIND one of ``full``, ``permission``, ``changed``, ``pip``, ``virtualenv`` and ``other``.
"""

import errno
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from typing import Any, Dict, List, Optional

RECORD = "sremote.json"
OUTPUT_LIMIT = 16000
"""Characters of a failed program's output that are sent back, its last ones."""
STALE = 24 * 3600
"""Seconds after which a generation that was never finished is taken for abandoned."""
NO_CONFIGURATION = {"PIP_CONFIG_FILE": os.devnull}
PLAIN_PIP = {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
_MISPLACING = re.compile("PYTHON|VIRTUALENV_|PIP_(TARGET|PREFIX|ROOT|SRC|USER|DRY_RUN|REPORT)$")
"""Variables that would send what is installed elsewhere."""


class Refusal(Exception):
    """Why nothing was changed: the kind and the message of the answer, and a program's output."""

    def __init__(self, kind: str, message: str, output: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.output = output[-OUTPUT_LIMIT:]


def main(arguments: List[str]) -> int:
    """Do what the plan says and print the answer; return the exit status."""
    # A dropped line ends this by SIGHUP: as an exception, so that everything is cleaned up.
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        install(arguments[0], arguments[1])
        answer = {"error": None}  # type: Dict[str, Any]
    except Refusal as refusal:
        answer = {"error": refusal.kind, "message": str(refusal), "output": refusal.output}
    except OSError as error:
        answer = {"error": _kind(error.errno), "message": str(error), "output": ""}
    print("\n" + json.dumps(answer), flush=True)
    return 0


def install(root: str, name: str) -> None:
    """Carry out the plan on standard input."""
    folder = os.path.join(root, "env")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    work = tempfile.mkdtemp(prefix=".work-", dir=folder)
    generation = None
    try:
        plan = _unpack(work)
        place = os.path.join(folder, name)
        if active_generation(place) != plan["active"]:
            raise Refusal("changed", "somebody else changed the environment just now")
        generation = tempfile.mkdtemp(prefix=".{}-".format(name), dir=folder)
        if plan["python"]:
            say("making the environment")
            make(plan["python"], generation, work)
        else:
            clone(os.path.join(folder, plan["active"]), generation)
        for arguments in plan["pip"]:
            run_pip(generation, work, arguments, plan["index"])
        point_scripts(generation, place)
        write_record(generation, plan["record"])
        if active_generation(place) != plan["active"]:
            raise Refusal("changed", "somebody else changed the environment at the same time")
        activate(generation, place, work)
        generation = None
        remove_old(place, keep=plan["active"])
    finally:
        if generation is not None:
            shutil.rmtree(generation, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)


def _unpack(work: str) -> Dict[str, Any]:
    bundle = os.path.join(work, "bundle.zip")
    with open(bundle, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(work)
    os.unlink(bundle)
    with open(os.path.join(work, "plan.json"), encoding="utf-8") as text:
        plan = json.load(text)
    assert isinstance(plan, dict)
    return plan


def active_generation(place: str) -> Optional[str]:
    """Return the name of the generation that an environment's link points to; None where there is none."""
    try:
        return os.path.basename(os.readlink(place))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise Refusal("other", "{} is in the way: it is not an environment that sremote made".format(place))


def make(python: str, generation: str, work: str) -> None:
    """Make a virtual environment without seed packages: a dozen files."""
    run_zip = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('virtualenv', {}, '__main__')"
    command = [python, "-I", "-c", run_zip, os.path.join(work, "virtualenv.zip"), "--no-seed", "--no-download"]
    command += ["--no-periodic-update", "--no-vcs-ignore", "--activators", "bash", "--clear", "--python", python]
    command += ["--app-data", os.path.join(work, "app-data"), generation]
    _run(command, work, {}, "virtualenv")


def clone(active: str, generation: str) -> None:
    """Fill ``generation`` with hard links to the files of ``active``; with copies where links cannot be."""
    for folder, folders, files in os.walk(active):
        beside = os.path.join(generation, os.path.relpath(folder, active))
        for name in list(folders):
            if os.path.islink(os.path.join(folder, name)):
                os.symlink(os.readlink(os.path.join(folder, name)), os.path.join(beside, name))
            else:
                os.mkdir(os.path.join(beside, name))
                shutil.copymode(os.path.join(folder, name), os.path.join(beside, name))
        for name in files:
            source, target = os.path.join(folder, name), os.path.join(beside, name)
            if os.path.islink(source):
                os.symlink(os.readlink(source), target)
                continue
            try:
                os.link(source, target)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                shutil.copy2(source, target)


def run_pip(generation: str, work: str, arguments: List[str], index: bool) -> None:
    """Run the borrowed pip for the environment in ``generation``."""
    command = [os.path.join(generation, "bin", "python"), "-I", os.path.join(work, "pip.zip", "pip"), "install"]
    command += ["--no-cache-dir", "--no-warn-script-location", "--progress-bar", "off"]
    settings = dict(PLAIN_PIP) if index else dict(PLAIN_PIP, **NO_CONFIGURATION)
    _run(command + arguments, work, settings, "pip")


def _run(command: List[str], work: str, settings: Dict[str, str], kind: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not _MISPLACING.match(key)}
    if "PIP_CONFIG_FILE" in settings:
        environment = {key: value for key, value in environment.items() if not key.startswith("PIP_")}
    environment.update(settings, TMPDIR=work, NO_COLOR="1")
    said = ""
    process = subprocess.Popen(
        command,
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        errors="replace",
    )
    try:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                said = (said + line)[-OUTPUT_LIMIT:]
                if line.startswith(("Collecting ", "Processing ", "Building ", "Installing collected")):
                    say(line.strip())
        status = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if status != 0:
        full = "No space left on device" in said or "quota exceeded" in said
        last = (said.strip().splitlines() or ["exit status {}".format(status)])[-1]
        raise Refusal("full" if full else kind, "{} failed: {}".format(kind, last), said)


def point_scripts(generation: str, place: str) -> None:
    """Let the scripts of ``bin`` name the environment's lasting place instead of this generation."""
    for path in glob.glob(os.path.join(glob.escape(os.path.join(generation, "bin")), "*")):
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            content = file.read()
        changed = content.replace(generation.encode(), place.encode())
        # Binaries that happen to hold the path would break when its length changes.
        if changed != content and b"\0" not in content:
            with open(path + ".new", "wb") as file:
                file.write(changed)
            shutil.copymode(path, path + ".new")
            os.replace(path + ".new", path)


def write_record(generation: str, record: Dict[str, Any]) -> None:
    """Write the environment's record; a new file, since the old one may be a hard link."""
    path = os.path.join(generation, RECORD)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def activate(generation: str, place: str, work: str) -> None:
    """Let the environment's link point to ``generation``, in one rename."""
    link = os.path.join(work, "link")
    os.symlink(os.path.basename(generation), link)
    os.replace(link, place)


def remove_old(place: str, keep: Optional[str]) -> None:
    """Remove the generations that are neither active nor ``keep``, and what was abandoned long ago."""
    folder, name = os.path.split(place)
    now = os.stat(place).st_mtime
    for path in glob.glob(os.path.join(glob.escape(folder), ".*")):
        title = os.path.basename(path)
        if title in (keep, os.readlink(place)) or not re.match(r"\.({}|work)-\w+$".format(re.escape(name)), title):
            continue
        finished = os.path.exists(os.path.join(path, RECORD))
        if finished or now - os.stat(path).st_mtime > STALE:
            shutil.rmtree(path, ignore_errors=True)


def say(text: str) -> None:
    """Tell the client what is going on."""
    print("progress: " + text, flush=True)


def _kind(number: Optional[int]) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "full"
    return "permission" if number in (errno.EACCES, errno.EPERM, errno.EROFS) else "other"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
