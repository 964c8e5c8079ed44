"""Says what an installer must know of a host; sent there as source, ``python -c``, and changes nothing.

    inspection.py ROOT ENVIRONMENT INDEX

prints one JSON object as its last line:

    python       facts about the Python that runs this, see ``python_facts``
    environment  null, or what stands at ROOT/env/ENVIRONMENT, see ``environment_facts``
    index        null unless INDEX is ``yes``; else ``{"url": ..., "failure": null or why not reached}``
    closed       folders above ROOT and this Python that other users may not pass through
"""

import configparser
import glob
import json
import os
import platform
import re
import stat
import struct
import subprocess
import sys
import sysconfig
import threading
from typing import Any, Dict, List, Optional
from urllib.parse import urlsplit, urlunsplit

RECORD = "sremote.json"
"""The file of an environment that says what was asked for and what is in it."""
INDEX = "https://pypi.org/simple"
INDEX_TIMEOUT = 6.0
"""Seconds that the package index has to answer in."""


def main(arguments: List[str]) -> int:
    """Print what is asked for and return the exit status."""
    root, name, index = arguments
    found = {
        "python": python_facts(),
        "environment": environment_facts(root, name),
        "index": index_facts() if index == "yes" else None,
        "closed": sorted({*closed_folders(root), *closed_folders(os.path.realpath(sys.executable))}),
    }
    print("\n" + json.dumps(found))
    return 0


def python_facts() -> Dict[str, Any]:
    """Return what decides which wheels fit this Python."""
    return {
        "executable": sys.executable,
        "version": list(sys.version_info[:3]),
        "soabi": sysconfig.get_config_var("SOABI") or "",
        "platform": _platform(),
        "libc": _libc(),
        "markers": _markers(),
    }


def _markers() -> Dict[str, str]:
    """Return the environment of requirement markers, PEP 508."""
    info = sys.implementation.version
    version = "{0.major}.{0.minor}.{0.micro}".format(info)
    if info.releaselevel != "final":
        version += info.releaselevel[0] + str(info.serial)
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": version,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "platform_python_implementation": platform.python_implementation(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def _platform() -> str:
    name = sysconfig.get_platform()
    if struct.calcsize("P") == 4:
        # A 32-bit Python on a 64-bit kernel.
        name = {"linux-x86_64": "linux-i686", "linux-aarch64": "linux-armv7l"}.get(name, name)
    return name


def _libc() -> str:
    """Return the C library, such as ``glibc 2.36`` or ``musl 1.2``; empty where it is neither."""
    try:
        answer = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, OSError, ValueError):
        answer = None
    if answer:
        return answer
    for loader in glob.glob("/lib/ld-musl-*.so.1"):
        said = subprocess.run([loader], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        match = re.search(rb"Version (\d+\.\d+)", said.stdout)
        if match:
            return "musl " + match.group(1).decode()
    return ""


def environment_facts(root: str, name: str) -> Optional[Dict[str, Any]]:
    """Return what stands at the environment's place, None where nothing does.

    ``generation`` is the folder that it links to (null where sremote did not make
    it), ``works`` whether its Python starts and
    is of the recorded version, ``record`` is its record (null where there is none
    that can be read) and ``installed`` maps distributions to versions.
    """
    place = os.path.join(root, "env", name)
    if not os.path.lexists(place):
        return None
    try:
        with open(os.path.join(place, RECORD), encoding="utf-8") as file:
            record = json.load(file)
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or record.get("format") != 1:
        record = None
    return {
        "generation": os.path.basename(os.readlink(place)) if os.path.islink(place) else None,
        "works": record is not None and _version_of(place) == record["python"]["version"][:2],
        "record": record,
        "installed": distributions(place),
    }


def _version_of(place: str) -> Optional[List[int]]:
    script = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run(
            [os.path.join(place, "bin", "python"), "-I", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return [int(part) for part in done.stdout.split()] if done.returncode == 0 else None


def distributions(place: str) -> Dict[str, str]:
    """Return the version of every distribution in an environment, by normalised name."""
    folders = glob.glob(os.path.join(glob.escape(place), "lib*", "py*", "site-packages", "*.dist-info"))
    folders += glob.glob(os.path.join(glob.escape(place), "site-packages", "*.dist-info"))
    found = {}
    for folder in folders:
        name, _, version = os.path.basename(folder)[: -len(".dist-info")].partition("-")
        found[re.sub(r"[-_.]+", "-", name).lower()] = version
    return found


def index_facts() -> Dict[str, Optional[str]]:
    """Return the package index that pip would use here, and why it cannot be reached."""
    url = configured_index()
    if url is None:
        return {"url": None, "failure": "pip's configuration there says no-index"}
    failure = ["no answer within {:g} s".format(INDEX_TIMEOUT)]  # type: List[Optional[str]]

    def ask() -> None:
        try:
            failure[0] = _why_unreachable(url)
        except Exception as error:
            failure[0] = str(getattr(error, "reason", None) or error)

    # Resolving a name obeys no timeout, so the wait is for a thread that is left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(INDEX_TIMEOUT)
    return {"url": without_password(url), "failure": failure[0]}


def _why_unreachable(url: str) -> Optional[str]:
    # These are slow to import, and most looks do without.
    import ssl
    import urllib.error
    import urllib.request

    parts = urlsplit(url)
    if parts.scheme == "file":
        return None if os.path.isdir(parts.path) else "no such folder"
    if parts.scheme not in ("http", "https"):
        return "not an address of an index"
    # pip brings certificates of its own, which this Python may lack; nothing that comes from here is used.
    trusting = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    opener = urllib.request.build_opener(trusting)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    try:
        opener.open(bare.rstrip("/") + "/pip/", timeout=INDEX_TIMEOUT).close()
    except urllib.error.HTTPError as error:
        with error:
            # 401 wants a password, which pip has; 404 is an index without pip.
            return None if error.code in (401, 404) else "HTTP status {}".format(error.code)
    return None


def configured_index() -> Optional[str]:
    """Return the index URL of pip's variables and configuration files; None where it may use none."""
    settings = {"index-url": INDEX, "no-index": "false"}
    home = os.path.expanduser("~")
    settings_home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    files = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", os.path.join(home, ".pip", "pip.conf")]
    files += [os.path.join(settings_home, "pip", "pip.conf"), os.environ.get("PIP_CONFIG_FILE", "")]
    if os.environ.get("PIP_CONFIG_FILE") == os.devnull:
        files = []
    for path in files:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                settings.update((key, value) for key, value in parser.items(section) if key in settings)
    for key in settings:
        settings[key] = os.environ.get("PIP_" + key.upper().replace("-", "_")) or settings[key]
    if settings["no-index"].lower() in ("1", "true", "yes", "on"):
        return None
    return settings["index-url"]


def without_password(url: str) -> str:
    """Return a URL without the name and password that may stand in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def closed_folders(path: str) -> List[str]:
    """Name the folders above ``path`` that other users may not pass through."""
    closed = []
    folder = os.path.dirname(os.path.abspath(path))
    while True:
        if os.path.isdir(folder) and not os.stat(folder).st_mode & stat.S_IXOTH:
            closed.append(folder)
        if folder == os.path.dirname(folder):
            return closed
        folder = os.path.dirname(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
