"""Looks at a launch from outside: how its components are, what they have printed, and their end."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sremote.errors import SremoteError, UsageError
from sremote.launcher.host_link import HostLink
from sremote.launcher.lines import Lines
from sremote.launcher.options import LaunchOptions
from sremote.launcher.record import read_record
from sremote.launcher.reporter import Reporter
from sremote.launcher.result import ComponentResult
from sremote.launcher.watcher import News, Watcher
from sremote.launcher.workers import Workers

T = TypeVar("T")


@dataclass(frozen=True)
class Seen:
    """A component as its host knows it."""

    result: ComponentResult
    link: HostLink
    attach: Sequence[str]
    """The command that shows its window there; empty where it has none."""


class Inspection:
    """A launch that was begun earlier, perhaps by another process.  Made by ``inspect``."""

    def __init__(self, hosts: Sequence[str], options: LaunchOptions) -> None:
        self._workers = Workers(options.max_hosts_at_once)
        self.links = {host: HostLink(host, options) for host in hosts}
        self.errors: dict[str, SremoteError] = {}
        """The hosts that gave no answer, and why."""

    def components(self) -> list[Seen]:
        """Return the latest components of that name, in the order in which they were started."""
        latest: dict[str, tuple[float, Seen]] = {}
        for host, found in self._on_all(lambda link: link.status()).items():
            for each in found:
                began = each["started"] or (each["ended"] or {}).get("time", 0.0)
                if began >= latest.get(each["name"], (0.0,))[0]:
                    latest[each["name"]] = (began, Seen(_result(host, each), self.links[host], each["attach"]))
        return [seen for _, seen in sorted(latest.values(), key=lambda pair: pair[0])]

    def component(self, name: str) -> Seen:
        """Return one component.  Raises UsageError where there is none of that name."""
        found = self.components()
        for each in found:
            if each.result.name == name:
                return each
        self.raise_errors()
        names = ", ".join(each.result.name for each in found) or "none"
        raise UsageError(f"there is no component {name!r}", f"Those there are: {names}.")

    def stop(self) -> list[str]:
        """Stop everything of that name, with its sessions; return the names of what was running."""
        stopped = self._on_all(lambda link: link.stop(close=True))
        left = {host: [pid for each in found for pid in each["left"]] for host, found in stopped.items() if found}
        for host, processes in left.items():
            if processes:
                self.errors[host] = SremoteError(f"{host}: these processes cannot be ended: {processes}")
        return [each["name"] for found in stopped.values() for each in found]

    def print_logs(self, components: Sequence[Seen], reporter: Reporter, *, follow: bool) -> None:
        """Give what components have printed to ``reporter``; with ``follow`` until they have ended."""
        states = {str(each.result.job_id): (each, Lines()) for each in components}
        for job_id, news in self._followed(components) if follow else self._printed(components):
            seen, lines = states[job_id]
            for line in lines.feed(news.get("output", b"")):
                reporter.output(seen.result, line)
        for seen, lines in states.values():
            for line in lines.finish():
                reporter.output(seen.result, line)

    def _printed(self, components: Sequence[Seen]) -> Iterator[tuple[str, News]]:
        """Yield what components have printed by now, one component after the other."""
        for each in components:
            job_id, offset = str(each.result.job_id), 0
            while output := each.link.watch({job_id: offset}, {}, 0.0).get(job_id, {}).get("output", b""):
                offset += len(output)
                yield job_id, {"output": output}

    def _followed(self, components: Sequence[Seen]) -> Iterator[tuple[str, News]]:
        """Yield what components print, as it comes, until they have ended."""
        events: queue.Queue[tuple[str | None, News | SremoteError]] = queue.Queue()
        watchers = {id(each.link): Watcher(each.link, lambda *event: events.put(event)) for each in components}
        running = {str(each.result.job_id) for each in components}
        for each in components:
            watchers[id(each.link)].add(str(each.result.job_id), None)
        try:
            while running:
                job_id, news = events.get()
                if isinstance(news, SremoteError):
                    raise news
                assert job_id is not None
                yield job_id, news
                if "ended" in news:
                    running.discard(job_id)
        finally:
            for watcher in watchers.values():
                watcher.close()

    def raise_errors(self) -> None:
        """Raise the first error of a host that gave no answer."""
        for error in self.errors.values():
            raise error

    def close(self) -> None:
        """Hang up."""
        wait([self._workers.submit(link.close) for link in self.links.values()], 10.0)

    def _on_all(self, step: Callable[[HostLink], T]) -> Mapping[str, T]:
        def reach(link: HostLink) -> T:
            link.connect()
            return step(link)

        futures = {host: self._workers.submit(lambda link=link: reach(link)) for host, link in self.links.items()}  # type: ignore[misc]
        found = {}
        for host, future in futures.items():
            try:
                found[host] = future.result()
            except SremoteError as error:
                self.errors[host] = error
        return found


@contextmanager
def inspect(options: LaunchOptions, hosts: Sequence[str] | None = None) -> Iterator[Inspection]:
    """Give the launch called ``options.screen``, on ``hosts`` (default: those of the last one begun here).

    Raises UsageError where none is known.
    """
    if hosts is None:
        record = read_record(options.screen)
        hosts = [each["host"] for each in record["hosts"]]
        if options.user is None and record.get("user"):
            options = replace(options, user=record["user"])
    inspection = Inspection(hosts, options)
    try:
        yield inspection
    finally:
        inspection.close()


def _result(host: str, found: Mapping[str, Any]) -> ComponentResult:
    result = ComponentResult(found["name"], host, state=found["state"], job_id=found["id"], window=found["window"])
    result.started = found["started"]
    ended = found["ended"]
    if ended is None:
        result.state = {"running": "running", "lost": "failed"}.get(found["state"], "unknown")
        result.reason = "its process is gone" if found["state"] == "lost" else None
        return result
    result.ended = ended["time"]
    result.status, result.signal, result.reason = ended.get("status"), ended.get("signal"), ended.get("text")
    result.state = "succeeded" if result.status == 0 else "stopped" if result.signal == 15 else "failed"
    return result
