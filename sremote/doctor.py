"""The doctor: every step on the way to a call, tried, with what mends it.

The connector tries the way to the host (``Connector.diagnose``); one look with
the host's own Python (``interpreter/examine.py``) finds the rest.  Nothing is
installed or changed there; what a trial writes, it removes.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from sremote.bundle import interpreter_digest, interpreter_files
from sremote.connectors.address import parse_address
from sremote.connectors.base import Connector
from sremote.connectors.check import Check, State
from sremote.connectors.quiet import NOISE_LIMIT
from sremote.connectors.registry import make_connector
from sremote.connectors.stream import StreamConnector
from sremote.doctor_findings import checks_of, skipped
from sremote.errors import HostError, SremoteError
from sremote.exchanges import with_execute
from sremote.host import DEFAULT_ENVIRONMENT, DEFAULT_ROOT, Host, Probe
from sremote.hosts import HostSettings, read_hosts

TIMEOUT = 120.0
"""Seconds that a look at the host may take."""
SHELL_TIMEOUT = 30.0
"""Seconds that login scripts may take."""
_PRINT_FACTS = "\nimport json\nprint()\nprint(json.dumps(facts(sys.argv[1])))"
STEPS_ON_HOST = (
    "shell is quiet",
    "Python found",
    "root writable",
    "exclusive create works",
    "rename works",
    "space",
    "file system",
    "clock",
    "interpreter",
    "environment",
    "background processes",
    "scheduler",
)


def examine(settings: HostSettings) -> Iterator[Check]:
    """Try every step of the way to a call, and yield each as it is known.

    A step that cannot be tried, for another failed before it, is yielded as skipped.
    """
    name = settings.name or settings.address
    try:
        connector = make_connector(parse_address(settings.address), **settings.connector)
    except SremoteError as error:
        yield Check.of_error("address", error)
        return
    tried: set[str] = set()
    blocked = ""
    try:
        for check in _steps(connector, settings, name):
            tried.add(check.name)
            if check.state is State.FAILED:
                blocked = check.name
            yield check
        for step in STEPS_ON_HOST:
            if step not in tried:
                yield skipped(step, blocked)
    finally:
        connector.close()


def _steps(connector: Connector, settings: HostSettings, name: str) -> Iterator[Check]:
    for check in connector.diagnose():
        yield _with_nearest_name(check, settings)
        if check.state is State.FAILED:
            return
    connector = with_execute(connector, settings.root or DEFAULT_ROOT)
    host = Host(
        connector, name=name, root=settings.root, python=settings.python, environment="", preamble=settings.preamble
    )
    try:
        shell = _check_shell(connector)
        yield shell
        if shell.state is State.FAILED:
            return
        probe = host.probe()
        found = _look(host, probe, settings.environment or DEFAULT_ENVIRONMENT)
    except SremoteError as error:
        yield Check.of_error("Python found", error)
        return
    yield from checks_of(found, probe, settings, name)


def _check_shell(connector: Connector) -> Check:
    """Tell what login scripts print before a command; sremote skips it, other programs may not."""
    if not isinstance(connector, StreamConnector) or not connector.noisy:
        return Check("shell is quiet", State.OK, "no login scripts run before commands")
    process = connector.open(["/bin/sh", "-c", ":"])
    late = threading.Event()

    def give_up() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(SHELL_TIMEOUT, give_up)
    timer.start()
    said = b""
    try:
        process.close_stdin()
        while len(said) <= NOISE_LIMIT and (data := process.read()):
            said += data
    except SremoteError:
        if not late.is_set():
            raise
    finally:
        timer.cancel()
        process.kill()
    if late.is_set():
        detail = f"login scripts had not ended after {SHELL_TIMEOUT:g} s"
        return Check("shell is quiet", State.FAILED, detail, "Look for what waits in ~/.bashrc and its like.", 1)
    if not said:
        return Check("shell is quiet", State.OK, "login scripts print nothing")
    first = said.decode("utf-8", "replace").strip().split("\n")[0]
    mend = "In ~/.bashrc and its like, print only where there is a terminal: [ -t 1 ] && echo ..."
    state = State.FAILED if len(said) > NOISE_LIMIT else State.WARNING
    return Check("shell is quiet", state, f"login scripts print {len(said)} bytes to stdout: {first[:60]!r}", mend, 1)


def _look(host: Host, probe: Probe, environment: str) -> dict[str, Any]:
    """Return what the host's own look found; ``clock_offset`` and its ``clock_error`` are in seconds."""
    sent = time.time()
    found = _answer(host, _source("examine"), probe.root, interpreter_digest(), environment)
    received = time.time()
    came, left = found["clock"]
    # As NTP has it: the offset is between the middles of the two intervals (RFC 5905, section 8).
    found["clock_offset"] = ((came - sent) + (left - received)) / 2
    found["clock_error"] = ((received - sent) - (left - came)) / 2
    found["facts"] = _answer(host, _source("facts") + _PRINT_FACTS, found["root"]["folder"])
    return found


def _answer(host: Host, source: str, *arguments: str) -> dict[str, Any]:
    """Run Python source on the host; return the JSON object in the last line that it prints."""
    done = host.run_python(source, *arguments, timeout=TIMEOUT)
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {done.status}"]
        python = host.probe().python
        raise HostError(f"{host.where}: {python} does not work: {said[-1]}", "Name another with --python.") from None
    return answer


def _source(name: str) -> str:
    return interpreter_files()[f"{name}.py"].decode("utf-8")


def _with_nearest_name(check: Check, settings: HostSettings) -> Check:
    """Add the name of the hosts file that was perhaps meant, where a host's name does not resolve."""
    if check.state is not State.FAILED or check.name != "name resolves" or settings.name != settings.address:
        return check
    close = difflib.get_close_matches(settings.name, read_hosts(), 1)
    return dataclasses.replace(check, mend=f"Did you mean {close[0]!r}? {check.mend}") if close else check
