"""How soon 100 components run on 20 hosts, and what a launch copies where nothing has changed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.place import Place
from benchmarks.results import OURS, Row, Verdict, at_most
from sremote.launcher import Component, Config, LaunchOptions, LaunchResult, make_plan
from sremote.launcher.inspection import inspect
from tests.kit.sessions import launch_host
from tests.kit.sshd import SshServer

HOSTS = 20
COMPONENTS = 100
FILES = 1000
START_GOAL = 3.0
"""Seconds from the end of the slowest host's copy to the start of the last component."""


def measure(place: Place) -> Iterator[Row]:
    """Yield the seconds of a start, and the files that an unchanged second launch sends."""
    with hosts(place.folder / "launches", HOSTS) as servers:
        names = [server.name for server in servers]
        options = LaunchOptions(screen="benchmark", grace=1.0)
        config = many_components(place.folder, names, COMPONENTS)
        seconds = []
        for _ in range(place.rounds(8)):
            result = make_plan(config, options).run()
            seconds.append(seconds_to_start(result))
        yield Row(
            f"{COMPONENTS} components on {HOSTS} hosts start after the slowest copy",
            "s",
            {OURS: seconds},
            f"at most {START_GOAL:g} s",
            at_most(sorted(seconds)[len(seconds) // 2], START_GOAL, "s"),
        )
        config = many_files(place.folder, names[:5], FILES)
        sent, took = [], []
        for _ in range(place.rounds(4)):
            result = make_plan(config, options).run()
            sent.append(float(sum(each.files_sent for each in result.hosts)))
            took.append(max(each.copy_seconds for each in result.hosts))
        yield Row(
            f"files that an unchanged launch of {FILES} files on 5 hosts sends",
            "files",
            {OURS: sent[1:]},
            "none",
            Verdict(not any(sent[1:]), f"{sum(sent[1:]):g} sent, in {took[-1]:.2f} s"),
        )
        with inspect(options, names) as launch:
            launch.stop()


@contextlib.contextmanager
def hosts(folder: Path, count: int) -> Iterator[list[SshServer]]:
    """Give running hosts that ~/.ssh/config knows by their names."""
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(launch_host(folder, f"node{number}", listen=f"127.0.1.{number + 1}"))
            for number in range(count)
        ]
        settings = Path(os.environ["HOME"], ".ssh", "config")
        settings.parent.mkdir(mode=0o700, exist_ok=True)
        settings.write_text("".join(server.config_file.read_text() for server in servers))
        yield servers


def many_components(folder: Path, names: list[str], count: int) -> Config:
    """Return a configuration of services, spread over the hosts."""
    script = folder / "service.sh"
    script.write_text("#!/bin/sh\necho ready\nexec sleep 1000\n")
    script.chmod(0o755)
    config = Config()
    for number in range(count):
        host = names[number % len(names)]
        service = Component(name=f"service{number}", host=host, executable="service.sh", base_dir="~/services")
        service.files = {str(script): "service.sh"}
        config.add_component(service)
    return config


def many_files(folder: Path, names: list[str], count: int) -> Config:
    """Return a configuration that copies many files to each of the hosts."""
    config = Config()
    source = folder / "many"
    source.mkdir()
    files = {}
    for number in range(count):
        path = source / str(number)
        path.write_text(str(number))
        files[str(path)] = f"data/{number % 10}/{number}"
    for name in names:
        config.add_component(
            Component(name=name, host=name, executable="/bin/true", base_dir="~/many", files=files, wait=True)
        )
    return config


def seconds_to_start(result: LaunchResult) -> float:
    """Return how long the components took to start, once all files were there."""
    if any(each.state != "running" for each in result.components):
        raise RuntimeError("not all components have been started")
    return result.times["started"] - result.times["copied"]
