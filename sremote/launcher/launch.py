"""One launch, from its plan to its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from sremote.errors import LineError, SremoteError, UsageError
from sremote.launcher.host_link import HostLink
from sremote.launcher.plan import Plan, where
from sremote.launcher.record import save_record
from sremote.launcher.reporter import Reporter, counted
from sremote.launcher.result import ComponentResult, HostResult, LaunchResult
from sremote.launcher.supervision import Stopped, Supervision
from sremote.launcher.workers import Workers
from sremote.tree_progress import Progress

T = TypeVar("T")

LAST_STEP = 15.0
"""Seconds that a step under way on a host may take, when the launch is interrupted, before it is left alone."""


class LaunchFailed(SremoteError):
    """Hosts could not be made ready; no component has been started."""

    def __init__(self, errors: Mapping[str, SremoteError]) -> None:
        messages = [error.message for error in errors.values()]
        remedies = dict.fromkeys(error.remedy for error in errors.values() if error.remedy)
        super().__init__("\n".join(messages), "\n  ".join(remedies) or None)
        self.errors = dict(errors)
        first = next(iter(errors.values()))
        line = next((error for error in errors.values() if isinstance(error, LineError)), first)
        self.exit_status = line.exit_status


class Launch:
    """Carries out a plan.  ``result`` is how it fares, also while it goes on and after an error."""

    def __init__(self, plan: Plan, reporter: Reporter | None = None, *, follow: bool = False) -> None:
        self.plan = plan
        self.result = LaunchResult(
            plan.options.screen,
            [ComponentResult(each.name, each.host) for each in plan.components],
            [HostResult(host) for host in plan.hosts],
        )
        self._reporter = reporter or Reporter()
        self._follow = follow
        self._workers = Workers(plan.options.max_hosts_at_once)
        self._links = {host: HostLink(host, plan.options) for host in plan.hosts}
        self._supervision = Supervision(plan, self._links, self.result, self._reporter, self._workers)
        self._under_way: list[Future[Any]] = []
        self._interrupted = False

    def run(self) -> LaunchResult:
        """Carry it out; see ``Plan.run``.  After an interrupt nothing of it runs any more."""
        self._note("begun")
        try:
            self._prepare()
            save_record(self.plan, self.result)  # so that what this process starts can be found, whatever becomes of it
            self._start_and_follow()
        except (SremoteError, KeyboardInterrupt) as error:
            self._interrupted = True
            self.result.outcome = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self.result.error = error.message if isinstance(error, SremoteError) else None
            self._abandon()
            raise
        finally:
            self._note("ended")
            save_record(self.plan, self.result)
            self._close()
        return self.result

    def _start_and_follow(self) -> None:
        try:
            self._supervision.start_all()
            self._note("started")
            save_record(self.plan, self.result)
            self._supervision.follow(all_of_them=self._follow)
        except Stopped:
            self._reporter.stage("Stopping the other components.")
            self._supervision.stop()
        self.result.outcome = "finished" if self.result.exit_status == 0 else "failed"

    # Before anything runs

    def _prepare(self) -> None:
        self._reporter.stage(f"Connecting to {counted(len(self.plan.hosts), 'host')}.")
        self._on_all(lambda link: link.connect())
        self._note("connected")
        self._check()
        self._note("checked")
        if self.plan.options.kill_first:
            self._stop_earlier()
        self._on_all(lambda link: link.make_folders(self.plan.on(link.name)))
        self._copy()
        self._note("copied")

    def _check(self) -> None:
        looks = self._on_all(lambda link: link.look(self.plan.on(link.name)))
        problems = [
            f"{name} on {where(host)}: {problem}" for host, look in looks.items() for name, problem in look["problems"]
        ]
        if problems:
            raise UsageError("\n".join(problems))
        for each in self.result.hosts:
            each.multiplexer = looks[each.host]["multiplexer"]
        if self.plan.options.multiplexer in ("screen", "tmux"):
            lacking = [each.host for each in self.result.hosts if not each.multiplexer]
            if lacking:
                raise UsageError(
                    f"there is no {self.plan.options.multiplexer} on {', '.join(lacking)}",
                    "Install it there, or give --multiplexer auto.",
                )

    def _stop_earlier(self) -> None:
        stopped = self._on_all(lambda link: link.stop(close=True, drop=True))
        for host, components in stopped.items():
            if components:
                names = ", ".join(each["name"] for each in components)
                self._reporter.stage(f"{where(host)}: stopped an earlier launch: {names}.")
            if left := [pid for each in components for pid in each["left"]]:
                self._reporter.warn(f"{where(host)}: these processes of an earlier launch cannot be ended: {left}")

    def _copy(self) -> None:
        if not any(each.files for each in self.plan.components):
            return
        self._reporter.stage("Copying files.")

        def copy(link: HostLink) -> tuple[int, int, float]:
            def tell(progress: Progress) -> None:
                if self._interrupted:
                    raise UsageError(f"{link.name}: the copy was interrupted")
                self._reporter.copying(link.name, progress)

            began = time.monotonic()
            copied = link.copy(self.plan.on(link.name), tell)
            return copied.files, copied.unchanged, time.monotonic() - began

        copies = self._on_all(copy)
        for each in self.result.hosts:
            each.files_sent, each.files_unchanged, each.copy_seconds = copies[each.host]
            if each.files_sent or each.files_unchanged:
                self._reporter.copied(each.host, each.files_sent, each.files_unchanged)

    def _on_all(self, step: Callable[[HostLink], T]) -> dict[str, T]:
        """Do a step on all hosts at once, and return what came of it.  Raises LaunchFailed with every host's error."""
        futures = {host: self._workers.submit(lambda link=link: step(link)) for host, link in self._links.items()}  # type: ignore[misc]
        self._under_way = list(futures.values())
        wait(futures.values())
        failed = {host: future.exception() for host, future in futures.items() if future.exception() is not None}
        errors = {host: error for host, error in failed.items() if isinstance(error, SremoteError)}
        for host, error in failed.items():
            if host not in errors:
                assert error is not None
                raise error
        if len(errors) == 1:
            raise next(iter(errors.values()))
        if errors:
            raise LaunchFailed(errors)
        return {host: future.result() for host, future in futures.items()}

    # The end

    def _abandon(self) -> None:
        """Stop what has been started, and remove what was made for what has not."""
        for future in self._under_way:
            future.cancel()
        if "checked" in self.result.times:  # what was under way before that has changed nothing
            wait([future for future in self._under_way if not future.done()], LAST_STEP)
        if self.result.outcome == "interrupted" and self._supervision.began:
            self._reporter.stage("Interrupted: stopping all components.")
        with contextlib.suppress(SremoteError):
            if self._supervision.began:
                self._supervision.stop(close=True)
            else:
                for link in self._links.values():
                    with contextlib.suppress(SremoteError):
                        link.remove_folders()

    def _close(self) -> None:
        self._supervision.close()
        futures = [self._workers.submit(link.close) for link in self._links.values()]
        wait(futures, LAST_STEP)

    def _note(self, stage: str) -> None:
        self.result.times[stage] = time.time()
