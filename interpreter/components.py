"""Starts, watches and stops the components of a launch on this host.

Each component is a job: its directory holds the file ``component`` besides what every
job has, and ``started`` once its command runs.  The functions here are called by the
client, one call for all components of a host.
"""

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import zlib
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple

from .component import START, Component
from .component_windows import Window, attach_command, close_session, open_windows
from .errors import SremoteError
from .family import families, kill_family
from .job import Job
from .responses import respond
from .summary import read_header
from .values import encode
from .wire import Message

START_TIMEOUT = 30.0
"""Seconds for a window to open and its command to start."""
LOST_AFTER = 2.0
"""Seconds for the response to come after a component's end, before it counts as lost."""
_PAUSE = 0.01
_WATCH_PAUSE = 0.04
OUTPUT_LIMIT = 1 << 18
"""Bytes of a component's output that one answer holds."""

Description = Dict[str, Any]


def make_folders(root: str, launch: str, count: int) -> List[str]:
    """Make that many temporary folders for components, and return their paths."""
    return [tempfile.mkdtemp(prefix=_prefix(root, launch)) for _ in range(count)]


def _prefix(root: str, launch: str) -> str:
    """Return how temporary folders of a launch begin; other roots have launches of that name, too."""
    return "sremote-{}-{:08x}-".format(launch, zlib.crc32(os.fsencode(root)))


def remove_folders(paths: Iterable[str]) -> None:
    """Remove folders that ``make_folders`` has made."""
    for path in paths:
        if re.match(r"sremote-.*-\w{8}$", os.path.basename(path)):
            shutil.rmtree(path, ignore_errors=True)


def start(root: str, launch: str, settings: Dict[str, Any], components: List[Description]) -> Dict[str, Description]:
    """Start components and wait until their commands run; return what came of each by its job's id.

    ``settings`` has ``multiplexer`` (screen, tmux or "") and ``zombie``.  A component
    has id, name, argv, folder, temporary and variables.  What comes back has ``time``
    and ``window``, or ``refused`` with the reason.
    """
    folder = os.path.join(root, "jobs")
    jobs = []
    for each in components:
        job = Job(os.path.join(folder, each["id"]))
        _accept(job, launch, each)
        jobs.append(job)
    here = os.path.dirname(os.path.abspath(__file__))
    command = [sys.executable, "-sSE", "-c", START, here]
    windows = [Window(each["name"], [*command, job.directory]) for each, job in zip(components, jobs)]
    commands = jobs[0].path("windows")
    try:
        open_windows(settings["multiplexer"], launch, windows, settings["zombie"], commands)
    except (SremoteError, OSError) as error:
        for job in jobs:
            job.drop()
        return {job.id: {"refused": str(error)} for job in jobs}
    return _await_starts(jobs)


def _accept(job: Job, launch: str, component: Description) -> None:
    entries = [("launch", launch), ("name", component["name"]), ("folder", component["folder"])]
    entries += [("done", component["done"])] if component.get("done") else []
    entries += [("temporary", "yes")] if component["temporary"] else []
    entries += [("variable", "{}={}".format(*each)) for each in component["variables"].items()]
    entries += [("argument", word) for word in component["argv"]]
    request = Message(
        {
            "format": 1,
            "kind": "request",
            "id": job.id,
            "client": "sremote launch",
            "target": {"kind": "command"},
            "surroundings": {"cwd": component["folder"], "env": component["variables"]},
        }
    )
    encode(request, "value", (list(component["argv"]), {}))
    os.makedirs(os.path.dirname(job.directory), mode=0o700, exist_ok=True)
    with job.receive() as file:
        for chunk in request.chunks():
            file.write(chunk)
    with open(os.path.join(job.incoming, "component"), "wb") as file:
        file.write(b"".join(os.fsencode("{}={}".format(*entry)) + b"\0" for entry in entries))
    job.accept()


def _await_starts(jobs: List[Job]) -> Dict[str, Description]:
    came: Dict[str, Description] = {}
    deadline = time.monotonic() + START_TIMEOUT
    while len(came) < len(jobs) and time.monotonic() < deadline:
        for job in jobs:
            if job.id in came:
                continue
            started = _started(job)
            ended = None if started else _ended(job)
            if started is not None:
                came[job.id] = started
            elif ended is not None:
                came[job.id] = {"refused": ended.get("text") or "it has not started"}
        time.sleep(_PAUSE)
    for job in jobs:
        if job.id not in came:
            came[job.id] = {"refused": "its window has not opened in {:.0f} s".format(START_TIMEOUT)}
    return came


# How they are


def watch(
    root: str, offsets: Dict[str, int], ready: Dict[str, Dict[str, Any]], patience: float
) -> Dict[str, Description]:
    """Return what has happened to components, as soon as something has, at the latest after ``patience`` seconds.

    ``offsets`` says for each job's id how much of its output is known, ``ready`` what a
    component is waited for: ``port`` or ``file``.  What comes back for an id may have
    ``output`` (bytes), ``ready`` (true), and once all its output is known ``ended``: a
    response's outcome with ``status`` or ``signal``, and ``time``.
    """
    deadline = time.monotonic() + patience
    first = True
    while True:
        news = {}
        for job_id, offset in offsets.items():
            found = _news(Job(os.path.join(root, "jobs", job_id)), offset, first)
            if job_id in ready and is_ready(ready[job_id]):
                found["ready"] = True
            if found:
                news[job_id] = found
        if news or time.monotonic() >= deadline:
            return news
        first = False
        time.sleep(_WATCH_PAUSE)


def _news(job: Job, offset: int, look_for_process: bool) -> Description:
    ended = _ended(job)
    found: Description = {}
    try:
        with open(job.path("stdout"), "rb") as file:
            file.seek(offset)
            data = file.read(OUTPUT_LIMIT)
            if data:
                found["output"] = data
            rest = os.fstat(file.fileno()).st_size - offset - len(data)
    except OSError:
        rest = 0
    if ended is None and look_for_process and job.runs() is not True:
        _await_responses([job])
        ended = _ended(job)
        if ended is None:
            if job.claimed():
                respond(job, {"id": job.id}, "lost", started=0.0)
            ended = {"outcome": "lost", "time": time.time()}
    if ended is not None and rest <= 0:
        found["ended"] = ended
    return found


def is_ready(what: Dict[str, Any]) -> bool:
    """Say whether a port of this host answers, or a file is there."""
    if "file" in what:
        return os.path.exists(what["file"])
    import socket

    for address in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((address, what["port"]), 1.0).close()
            return True
        except OSError:
            continue
    return False


def status(root: str, launch: str) -> List[Description]:
    """Return the components of a launch that this host knows: oldest first.

    Each has id, name, state (running, ended, lost, unknown), argv, folder, window, the
    command to ``attach`` to that, started, and ``ended`` as ``watch`` has it.
    """
    found = []
    for job, component in jobs_of(root, launch):
        started = _started(job) or {}
        ended = _ended(job)
        state = "ended" if ended else {True: "running", False: "lost", None: "unknown"}[job.runs()]
        entry: Description = {"id": job.id, "name": component.name, "state": state, "argv": component.argv}
        window = started.get("window")
        entry.update(started=started.get("time"), ended=ended, folder=component.folder, window=window)
        entry["attach"] = attach_command(window) if window else []
        found.append(entry)
    return found


# Their end


def stop(
    root: str, launch: str, ids: Optional[List[str]], grace: float, *, close: bool = False, drop: bool = False
) -> List[Description]:
    """Stop components with all their processes, and no others; return those that were running: id, name, ``left``.

    ``ids`` are those to stop; None for all of that launch.  They get SIGTERM, and
    SIGKILL after ``grace`` seconds.  ``left`` lists processes that even that has not
    ended.  With ``close`` their session goes as well, unless other components run in
    it; with ``drop`` their jobs do, and the folders made for them.
    """
    chosen = [each for each in jobs_of(root, launch) if ids is None or each[0].id in ids]
    left = _end([job for job, _ in chosen], grace)
    stopped = [
        {"id": job.id, "name": component.name, "left": left[job.id]} for job, component in chosen if job.id in left
    ]
    if close and (ids is None or not any(job.runs() for job, _ in jobs_of(root, launch))):
        close_session(launch)
    if drop:
        for job, component in chosen:
            job.drop()
            if component.temporary:
                remove_folders([component.folder])
        if ids is None:
            remove_folders(_stale_folders(root, launch))
    return stopped


def _end(jobs: List[Job], grace: float) -> Dict[str, List[int]]:
    """End components' processes; return for those that had any what is left of them."""
    leaders = {job.id: _leader(job) for job in jobs}
    ran = set(families(leaders).values())
    if not ran:
        return {}
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, LOST_AFTER)):
        deadline = time.monotonic() + patience
        processes = families(leaders)
        kill_family(processes, number)
        kill_family(processes, signal.SIGCONT)
        while processes and time.monotonic() < deadline:
            time.sleep(_PAUSE * 2)
            processes = families(leaders)
            if number == signal.SIGKILL:
                kill_family(processes, number)  # one may have started another meanwhile
    _await_responses([job for job in jobs if job.id in ran])
    rest = families(leaders)
    return {each: sorted(pid for pid, owner in rest.items() if owner == each) for each in ran}


def _leader(job: Job) -> Optional[int]:
    """Return the process of a component that runs; None where it has ended."""
    owner = job.owner()
    return int(owner["pid"]) if owner is not None and job.runs() else None


def _await_responses(jobs: List[Job]) -> None:
    deadline = time.monotonic() + LOST_AFTER
    while time.monotonic() < deadline and not all(job.finished() for job in jobs):
        time.sleep(_PAUSE)


def jobs_of(root: str, launch: str) -> Iterator[Tuple[Job, Component]]:
    """Yield the jobs of a launch's components, in the order in which they came."""
    folder = os.path.join(root, "jobs")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for name in names:
        try:
            component = Component(os.path.join(folder, name))
        except OSError:
            continue
        if component.launch == launch and "." not in name:
            yield Job(component.directory), component


def _stale_folders(root: str, launch: str) -> List[str]:
    """Return the temporary folders of a launch, whatever became of the components that they were for."""
    place = tempfile.gettempdir()
    pattern = re.compile(re.escape(_prefix(root, launch)) + r"\w{8}$")
    return [
        entry.path
        for entry in os.scandir(place)
        if pattern.match(entry.name) and entry.is_dir(follow_symlinks=False) and entry.stat().st_uid == os.getuid()
    ]


def _started(job: Job) -> Optional[Description]:
    try:
        with open(job.path("started")) as file:
            found: Description = json.load(file)
            return found
    except (OSError, ValueError):
        return None


def _ended(job: Job) -> Optional[Description]:
    """Return how a component ended, from its response; None where it has not."""
    try:
        header = read_header(job)
    except OSError:
        return None
    found: Description = {key: header[key] for key in ("outcome", "status", "signal", "text") if key in header}
    found["time"] = header["times"]["finished"]
    return found
