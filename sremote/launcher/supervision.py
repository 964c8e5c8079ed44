"""Starts the components of a plan in order, follows them, and stops them."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from sremote.client import new_job_id
from sremote.errors import SremoteError
from sremote.launcher.host_link import HostLink
from sremote.launcher.lines import Lines
from sremote.launcher.plan import Plan, PlannedComponent, where
from sremote.launcher.reporter import Reporter
from sremote.launcher.result import ComponentResult, LaunchResult
from sremote.launcher.watcher import News, Watcher
from sremote.launcher.workers import Workers

FIRST_PAUSE = 0.5
"""Seconds before a component is started again; twice as long after each failure."""
MOST_RESTARTS = 5
"""Restarts in a row; one that has run for a minute begins anew."""
LONG_RUN = 60.0
SETTLE = 0.5
"""Seconds for which a launch that waits for nothing looks on, so that what fails at once is reported."""
STOP_TIMEOUT = 30.0
"""Seconds for a host to stop its components, beyond the grace that they have."""
LAST_NEWS = 5.0
"""Seconds for the news of their ends to come, once components have been stopped."""
_TICK = 0.2


class Stopped(Exception):
    """A component has failed whose failure ends the run."""


@dataclass
class _Component:
    """A component while it runs."""

    plan: PlannedComponent
    result: ComponentResult
    lines: Lines
    ready_until: float = 0.0
    start_again_at: float | None = None
    restarts_in_a_row: int = 0
    stopping: bool = False
    gave_up: str | None = None
    """Why it is being stopped as one that has failed."""

    @property
    def over(self) -> bool:
        """Whether it has ended for good."""
        return self.start_again_at is None and self.result.state not in ("waiting", "running")


class Supervision:
    """Works in the thread that calls it; other threads put what happens into its queue."""

    def __init__(
        self,
        plan: Plan,
        links: Mapping[str, HostLink],
        result: LaunchResult,
        reporter: Reporter,
        workers: Workers,
    ) -> None:
        self._plan = plan
        self._links = links
        self._reporter = reporter
        self._workers = workers
        self._events: queue.Queue[Callable[[], None]] = queue.Queue()
        self._components = {
            planned.name: _Component(planned, found, Lines())
            for planned, found in zip(plan.components, result.components, strict=True)
        }
        self._jobs: dict[str, _Component] = {}
        self._watchers = {host: Watcher(link, self._hear(host)) for host, link in links.items()}
        self._starting = 0
        self._starts: list[Future[Any]] = []
        self.began = False
        """Whether anything has been started."""

    def start_all(self) -> None:
        """Start the components, those of an index when the last ones have started.  Raises Stopped."""
        for stage in self._plan.stages():
            names = ", ".join(each.name for each in stage)
            self._reporter.stage(f"Starting {names}." if len(stage) <= 4 else f"Starting {len(stage)} components.")
            components = [self._components[each.name] for each in stage]
            self._start(components)
            self._pump(lambda: not self._starting)
            self._pump(lambda components=components: all(map(self._settled, components)))  # type: ignore[misc]

    def follow(self, *, all_of_them: bool = False) -> None:
        """Follow until the components that are waited for have ended, then stop the others.  Raises Stopped."""
        waited = [each for each in self._components.values() if each.plan.wait or all_of_them]
        if not waited:
            settled = time.monotonic() + SETTLE
            self._pump(lambda: time.monotonic() > settled)
        self._pump(lambda: all(each.over for each in waited))
        if waited and self._plan.options.terminate:
            self.stop()
        self._drain()

    def stop(self, *, close: bool = False) -> None:
        """Stop all components of this launch, with all their processes; ``close`` their sessions as well."""
        for each in self._components.values():
            each.start_again_at = None
            each.stopping = True
        wait(self._starts, STOP_TIMEOUT)  # or they would start behind its back
        self._drain()
        running: dict[str, list[str]] = {host: [] for host in self._links}
        for job_id, each in self._jobs.items():
            running[each.plan.host].append(job_id)
        futures = {
            host: self._workers.submit(lambda host=host, ids=ids: self._links[host].stop(ids, close=close))  # type: ignore[misc]
            for host, ids in running.items()
            if ids
        }
        wait(futures.values(), STOP_TIMEOUT + self._plan.options.grace)
        for host, future in futures.items():
            error = future.exception() if future.done() else SremoteError(f"{where(host)}: no answer")
            if error is not None:
                self._reporter.warn(
                    f"components on {where(host)} may be running on: {getattr(error, 'message', error)}\n"
                    f"  To try again: sremote launch --stop --screen {self._plan.options.screen}"
                )
                continue
            for stopped in future.result():
                if stopped["left"]:
                    self._reporter.warn(
                        f"{where(host)}: {stopped['name']} cannot be ended: processes {stopped['left']}"
                    )
        reached = [each for each in self._jobs.values() if each.plan.host in futures and not _failed(futures, each)]
        deadline = time.monotonic() + LAST_NEWS
        while not all(each.over for each in reached) and time.monotonic() < deadline:
            self._take(_TICK)
        for each in reached:  # one whose news an interrupt has lost
            if not each.over:
                each.result.state = "stopped"

    def close(self) -> None:
        """End the watching."""
        for watcher in self._watchers.values():
            watcher.close()

    # Starting

    def _start(self, components: Iterable[_Component]) -> None:
        by_host: dict[str, dict[str, PlannedComponent]] = {}
        for each in components:
            job_id = new_job_id()
            each.start_again_at = None
            each.lines = Lines()
            each.result.job_id = job_id
            each.result.state, each.result.ready = "waiting", False
            self._jobs[job_id] = each
            by_host.setdefault(each.plan.host, {})[job_id] = each.plan
        self.began = True
        for host, jobs in by_host.items():
            self._starting += 1
            future = self._workers.submit(lambda host=host, jobs=jobs: self._links[host].start(jobs))  # type: ignore[misc]
            self._starts.append(future)
            future.add_done_callback(
                lambda done, host=host, jobs=jobs: self._events.put(  # type: ignore[misc]
                    lambda: self._have_started(host, jobs, done.exception() or done.result())
                )
            )

    def _have_started(self, host: str, jobs: Iterable[str], came: dict[str, Any] | BaseException) -> None:
        self._starting -= 1
        if isinstance(came, BaseException) and not isinstance(came, SremoteError):
            raise came
        for job_id in jobs:
            each = self._jobs[job_id]
            if isinstance(came, SremoteError):
                self._end(each, {"outcome": "refused", "text": came.message})
            elif "refused" in came[job_id]:
                self._end(each, {"outcome": "refused", "text": came[job_id]["refused"]})
            else:
                self._has_started(job_id, each, came[job_id])

    def _has_started(self, job_id: str, each: _Component, came: News) -> None:
        ready = each.plan.ready
        each.result.state, each.result.window, each.result.started = "running", came["window"], came["time"]
        each.result.ready = ready is None
        each.ready_until = time.monotonic() + (ready.timeout if ready else 0.0)
        each.lines = Lines(ready.output if ready else None)
        self._watchers[each.plan.host].add(job_id, self._links[each.plan.host].readiness(each.plan))
        self._reporter.started(each.result)

    def _settled(self, each: _Component) -> bool:
        """Whether the next index need not wait for a component any more."""
        late = each.result.state == "running" and not each.result.ready and time.monotonic() > each.ready_until
        if late and each.gave_up is None:
            ready = each.plan.ready
            assert ready is not None
            each.gave_up = f"not ready: no {ready} in {ready.timeout:g} s"
            link, job_id = self._links[each.plan.host], each.result.job_id
            self._workers.submit(lambda: link.stop([str(job_id)]))
        return each.over or (each.result.state == "running" and each.result.ready)

    # What happens

    def _hear(self, host: str) -> Callable[[str | None, News | SremoteError], None]:
        def tell(job_id: str | None, news: News | SremoteError) -> None:
            if isinstance(news, SremoteError):
                self._events.put(lambda: self._lose(host, news))
            elif job_id is not None:
                self._events.put(lambda: self._note(self._jobs[job_id], job_id, news))

        return tell

    def _pump(self, until: Callable[[], bool]) -> None:
        """Deal with what happens until something holds."""
        while not until():
            self._take(_TICK)
            now = time.monotonic()
            due = [
                each
                for each in self._components.values()
                if each.start_again_at is not None and now >= each.start_again_at
            ]
            if due:
                self._start(due)

    def _take(self, timeout: float) -> bool:
        """Deal with the next thing that happens within ``timeout`` seconds; say whether there was one."""
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return False
        event()
        return True

    def _drain(self) -> None:
        while self._take(0.01):
            pass

    def _note(self, each: _Component, job_id: str, news: News) -> None:
        if each.result.job_id != job_id:
            return  # it has been started again since
        for line in each.lines.feed(news.get("output", b"")):
            self._reporter.output(each.result, line)
        if news.get("ready") or each.lines.matched:
            each.result.ready = True
        if "ended" in news:
            for line in each.lines.finish():
                self._reporter.output(each.result, line)
            self._end(each, news["ended"])

    def _end(self, each: _Component, ended: Mapping[str, Any]) -> None:
        """Take note of a component's end, and do what its policy says."""
        result = each.result
        result.ended = ended.get("time")
        result.status, result.signal, result.reason = ended.get("status"), ended.get("signal"), ended.get("text")
        if ended["outcome"] == "lost":
            result.reason = "its job is gone: its window was killed, or another launch of this name has replaced it"
        gave_up, each.gave_up = each.gave_up, None
        if gave_up is not None:
            self._fail(each, gave_up)
        elif each.stopping:
            result.state = "succeeded" if result.status == 0 else "stopped"
            self._reporter.ended(result, ())
        elif result.status == 0:
            result.state = "succeeded"
            self._reporter.ended(result, ())
        else:
            self._fail(each, result.reason)

    def _fail(self, each: _Component, reason: str | None) -> None:
        result = each.result
        result.state, result.reason = "failed", reason
        self._reporter.ended(result, each.lines.last)
        if each.plan.on_failure == "stop" and not each.stopping:
            raise Stopped
        if each.plan.on_failure == "restart" and not each.stopping:
            self._plan_restart(each)

    def _plan_restart(self, each: _Component) -> None:
        result = each.result
        if result.started and result.ended and result.ended - result.started > LONG_RUN:
            each.restarts_in_a_row = 0
        if each.restarts_in_a_row == MOST_RESTARTS:
            self._reporter.warn(f"{result.name}: not started again, after {MOST_RESTARTS} times")
            return
        pause = FIRST_PAUSE * 2**each.restarts_in_a_row
        each.restarts_in_a_row += 1
        result.restarts += 1
        each.start_again_at = time.monotonic() + pause

    def _lose(self, host: str, error: SremoteError) -> None:
        """Take note that nothing is known any more of a host's components."""
        self._reporter.warn(f"{error.message}\n  Nothing is known of its components from now on.")
        for each in self._components.values():
            if each.plan.host == host and not each.over:
                each.start_again_at = None
                each.result.state, each.result.reason = "unknown", error.message


def _failed(futures: Mapping[str, Any], each: _Component) -> bool:
    future = futures[each.plan.host]
    return not future.done() or future.exception() is not None
