"""Starts programs on many hosts, in order, with their files: ``load(path)`` gives a plan, ``plan.run()`` does it.

It reads the configurations of remote_runner.
"""

from __future__ import annotations

from sremote.launcher.configuration import LOCAL_HOST, Component, Config
from sremote.launcher.options import LaunchOptions
from sremote.launcher.plan import Plan, load, make_plan
from sremote.launcher.reporter import Reporter
from sremote.launcher.result import ComponentResult, HostResult, LaunchResult
from sremote.launcher.source_files import recursive_files_dict

__all__ = [
    "LOCAL_HOST",
    "Component",
    "ComponentResult",
    "Config",
    "HostResult",
    "LaunchOptions",
    "LaunchResult",
    "Plan",
    "Reporter",
    "load",
    "make_plan",
    "recursive_files_dict",
]
