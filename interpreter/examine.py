"""Looks at a host for ``sremote doctor``: ``python -c SOURCE ROOT DIGEST ENVIRONMENT``.

The last line of its output is one JSON object with what each look found; a look
that failed is ``{"error": text}``.  What it writes, it removes.
"""

import glob
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List

PROGRAM_TIMEOUT = 10
"""Seconds that another program may take to answer."""

Found = Dict[str, Any]


def look_at_root(root: str) -> Found:
    """Try in ``root``, or the nearest folder above it, what jobs will do there."""
    folder = nearest(root)
    found: Found = {"folder": folder}
    try:
        place = tempfile.mkdtemp(prefix=".doctor-", dir=folder)
    except OSError as error:
        return dict(found, write=str(error.strerror))
    try:
        found["write"] = attempt(write_a_file, place)
        found["exclusive"] = attempt(create_twice, place)
        found["rename"] = attempt(rename_onto_each_other, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return found


def nearest(path: str) -> str:
    """Return ``path``, or the nearest folder above it that is there."""
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def attempt(action: Callable[[str], str], place: str) -> str:
    """Return what ``action`` complains of; empty where all is well."""
    try:
        return action(place)
    except OSError as error:
        return str(error.strerror)


def write_a_file(place: str) -> str:
    with open(os.path.join(place, "file"), "wb") as file:
        file.write(b"\0" * 65536)
        file.flush()
        os.fsync(file.fileno())
    return ""


def create_twice(place: str) -> str:
    path = os.path.join(place, "claim")
    os.mkdir(path)
    try:
        os.mkdir(path)
        return "a folder can be made twice"
    except FileExistsError:
        pass
    path = os.path.join(place, "exclusive")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        return "a file can be created exclusively twice"
    except FileExistsError:
        return ""


def rename_onto_each_other(place: str) -> str:
    names = [os.path.join(place, name) for name in ("new", "old")]
    for number, name in enumerate(names):
        with open(name, "w") as file:
            file.write(str(number))
    os.replace(*names)
    with open(names[1]) as file:
        if file.read() != "0":
            return "a renamed file does not take the other's place"
    for name in names:
        os.mkdir(name + ".d")
    with open(os.path.join(names[1] + ".d", "file"), "w"):
        pass
    try:
        os.rename(names[0] + ".d", names[1] + ".d")
        return "a folder can be renamed onto another that is not empty"
    except OSError:
        return ""


def look_at_space(root: str) -> Found:
    """Bytes and inodes that are free to this user and there are in all; 0 inodes means that none are counted."""
    space = os.statvfs(nearest(root))
    return {
        "free": space.f_bavail * space.f_frsize,
        "size": space.f_blocks * space.f_frsize,
        "free_inodes": space.f_favail,
        "inodes": space.f_files,
    }


def look_at_quota() -> Found:
    """What ``quota`` says; over is whether it marks a limit as passed."""
    if not shutil.which("quota"):
        return {}
    answer = subprocess.run(
        ["quota", "-w"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=PROGRAM_TIMEOUT,
    )
    text = answer.stdout.decode("utf-8", "replace").strip()
    return {"text": text, "over": "*" in text}


def look_at_interpreter(root: str, digest: str) -> Found:
    """Whether the client's interpreter is there, and how many others are."""
    pushed = [os.path.basename(os.path.dirname(path)) for path in glob.glob(root + "/interpreter/*/interpreter.sh")]
    return {"current": digest in pushed, "others": len([name for name in pushed if name != digest])}


def look_at_environment(root: str, name: str) -> Found:
    """The environments there are, and the Python and packages of the one called ``name``."""
    found: Found = {"names": sorted(os.path.basename(path) for path in glob.glob(root + "/env/*"))}
    if name not in found["names"]:
        return found
    python = os.path.join(root, "env", name, "bin", "python")
    script = "import sys; print('%d.%d.%d' % sys.version_info[:3]); print('\\n'.join(sys.path))"
    answer = subprocess.run(
        [python, "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=PROGRAM_TIMEOUT,
    )
    if answer.returncode:
        said = answer.stderr.decode("utf-8", "replace").strip().splitlines()
        return dict(found, broken=said[-1] if said else "exit status {}".format(answer.returncode))
    version, *path = answer.stdout.decode("utf-8", "surrogateescape").splitlines()
    packages = {
        os.path.basename(entry).split("-")[0].lower()
        for folder in path
        if folder.startswith(root)
        for entry in glob.glob(folder + "/*.dist-info")
    }
    return dict(found, python=version, packages=sorted(packages))


def look_at_pythons() -> List[str]:
    """The versions of Python on PATH, by their names."""
    names = ["python3"] + ["python3.{}".format(minor) for minor in range(6, 30)]
    return [name for name in names if shutil.which(name)]


def look_at_limits() -> Found:
    """What may end a process that goes on after its user has hung up."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_CPU)
    user = pwd.getpwuid(os.getuid()).pw_name
    return {
        "cpu_seconds": None if soft == resource.RLIM_INFINITY else soft,
        "kills": kills_user_processes(),
        "lingers": os.path.exists("/var/lib/systemd/linger/" + user),
    }


def kills_user_processes() -> bool:
    """Whether systemd ends a user's processes at the end of the session: logind.conf(5), KillUserProcesses."""
    if not os.path.isdir("/run/systemd/system"):
        return False
    files = ["/usr/lib/systemd/logind.conf", "/etc/systemd/logind.conf"]
    for folder in ("/usr/lib", "/run", "/etc"):
        files += sorted(glob.glob(folder + "/systemd/logind.conf.d/*.conf"))
    kills = False
    for name in files:
        try:
            with open(name, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, value = line.partition("=")
            if key.strip() == "KillUserProcesses":
                kills = value.strip().lower() in ("yes", "true", "1", "on")
    return kills


def main(root: str, digest: str, environment: str) -> None:
    started = time.time()
    looks: Dict[str, Callable[[], Any]] = {
        "root": lambda: look_at_root(root),
        "space": lambda: look_at_space(root),
        "quota": look_at_quota,
        "interpreter": lambda: look_at_interpreter(root, digest),
        "environment": lambda: look_at_environment(root, environment),
        "pythons": look_at_pythons,
        "limits": look_at_limits,
    }
    found: Found = {}
    for name, look in looks.items():
        try:
            found[name] = look()
        except Exception as error:
            found[name] = {"error": "{}: {}".format(type(error).__name__, error)}
    found["clock"] = [started, time.time()]
    print()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
