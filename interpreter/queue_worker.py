"""A worker: takes tasks from a queue, has them run, and hands back what it cannot do.

It takes as many at once as keep it busy for a while, and runs them in one process,
the executor.  When that dies, the task that it was at has failed, and a new one goes
on with the next.
"""

import os
import select
import signal
import time
from typing import Any, Dict, List, Optional

from .queue_crew import Crew
from .queue_executor import EXIT_JOURNAL, TOKEN
from .queue_journal import START, SUCCEEDED, Journal
from .queue_perform import how_it_ended
from .queue_ranges import pack_ranges, to_ranges
from .queue_state import HELD, READY, STARTED, WAITING, State, change, locate
from .queue_store import QueueMissing, Store
from .wire import Header, Message

MOST_AT_ONCE = 2048
"""Tasks that are claimed at once; as many tokens fit a pipe."""
BUSY = 2.0
"""Seconds of work to claim at once; more where there are many workers, so that the log has few entries a second."""
CLAIMS = 20
"""Claims a second of all workers together that are aimed at."""
PATIENCE = 4.0
"""Seconds after which tasks that were claimed and not begun are given back; more where more are claimed at once."""
LOOK = 2.0
"""Seconds between looks at the queue while tasks run."""
LONGEST_PAUSE = 2.0
"""Seconds between looks at a queue that has nothing to do."""
GRACE = 1.0
"""Seconds before the wall-time limit at which a task that still runs is stopped."""
HOPELESS = 3
"""Executors in a row that died before they began a task."""


class GivenUp(Exception):
    """This worker was taken for dead, or the queue is gone: nothing that it does counts any more."""


class Worker:
    """One worker.  ``about`` is what it tells of itself, ``deadline`` when it must have ended (monotonic)."""

    def __init__(self, store: Store, about: Header, *, wait: bool, deadline: Optional[float]) -> None:
        self._store = store
        self._about = about
        self._wait = wait
        self._deadline = deadline
        self._stopping = False
        self._number = 0
        self._at_once = 1
        self._longest = 0.0
        self._done: Dict[str, int] = {"succeeded": 0, "failed": 0}

    def run(self) -> Header:
        """Work until there is nothing to do, the time is over or SIGTERM comes; return what was done.

        Keys: ``worker`` (its number), ``succeeded``, ``failed``, ``ended`` (empty,
        walltime, stopped, given up).
        """
        self._wakeup, writable = os.pipe()
        for end in (self._wakeup, writable):
            os.set_blocking(end, False)
        previous = signal.set_wakeup_fd(writable)
        handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)  # it wakes this process up
        self._store.load()
        joined = self._store.propose(lambda _: change("join", about=self._about))
        assert joined is not None
        self._number = joined
        self._journal = Journal(self._store.folder, joined)
        os.environ["SREMOTE_QUEUE"] = self._store.name
        self._crew = Crew(self._store.folder, self._journal)
        ended = "given up"
        try:
            ended = self._work()
            self._crew.dismiss(idle=True)
            self._leave()
        except (GivenUp, QueueMissing):
            pass
        finally:
            self._crew.dismiss()
            self._crew.outputs.close()
            self._journal.close()
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous)
            os.close(writable)
            os.close(self._wakeup)
        return dict(self._done, worker=self._number, ended=ended)

    def _stop(self, *_: Any) -> None:
        self._stopping = True

    def _work(self) -> str:
        pause = 0.05
        while not self._stopping and not self._too_late():
            work = self._claim()
            if work is not None:
                pause = 0.05
                self._carry_out(work)
            elif not self._wait and not self._more_may_come():
                return "empty"
            else:
                self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        return "stopped" if self._stopping else "walltime"

    def _claim(self) -> "Optional[_Work]":
        """Become the one that holds some tasks; None where there are none to be had."""
        chosen: List[int] = []

        def decide(state: State) -> Optional[Message]:
            self._check(state)
            del chosen[:]
            if WAITING in state.states:
                self._store.fold()
                state = self._store.state
            if state.paused:
                return None
            share = state.states.count(READY) // (2 * len(state.live_workers()))
            chosen.extend(state.choose(max(1, min(self._at_once, share))))
            return change("claim", to_ranges(chosen), worker=self._number) if chosen else None

        claim = self._store.propose(decide)
        return None if claim is None else _Work(claim, chosen, self._journal.count())

    def _check(self, state: State) -> None:
        if state.workers[self._number].records is not None:
            raise GivenUp

    def _more_may_come(self) -> bool:
        """Say whether tasks wait for some that others have in hand."""
        state = self._store.state
        return not state.paused and WAITING in state.states and (HELD in state.states or STARTED in state.states)

    def _carry_out(self, work: "_Work") -> None:
        """See to it that tasks are run and recorded, or given back."""
        self._crew.hand_out(self._tokens(work))
        deaths = 0
        late = False
        look = time.monotonic() + LOOK
        while True:
            heard = self._crew.listen(self._wakeup, self._pause(look, late))
            if self._stopping or self._out_of_time(GRACE):
                self._interrupt(work)
                break
            if heard == "dead":
                deaths = 0 if self._bury(work) else deaths + 1
                if deaths == HOPELESS:
                    raise OSError("the process that is to run tasks does not start: {}".format(self._crew.last_words))
                self._crew.hand_out(self._tokens(work))
            elif heard == "idle":
                work.read(self._journal)
            if work.is_over():
                break
            if time.monotonic() >= look:
                look = time.monotonic() + LOOK
                self._store.refresh()
                self._check(self._store.state)
                if self._store.state.paused or time.monotonic() - work.began > PATIENCE * self._busy() / BUSY:
                    self._give_back(work)
            if not late and self._too_late():
                late = True
                self._give_back(work)
        self._learn(work)

    def _pause(self, look: float, late: bool) -> float:
        """Return how long nothing needs to be done unless something is heard."""
        until = look
        if self._deadline is not None:
            until = min(look, self._deadline - GRACE - (0.0 if late else self._longest))
        return max(0.0, until - time.monotonic())

    def _tokens(self, work: "_Work") -> List[bytes]:
        state = self._store.state
        tokens = []
        for task in work.left():
            segment = locate(state.segments, task)
            tokens.append(TOKEN.pack(work.claim, task, state.attempts[task] + 1, segment.entry, task - segment.first))
        return tokens

    def _bury(self, work: "_Work") -> bool:
        """Record how the task ended at which the executor died; say whether there was one."""
        status = self._crew.bury()
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == EXIT_JOURNAL:
            raise OSError(28, "nothing can be recorded: {}".format(self._crew.last_words), self._journal.path)
        self._journal.mend()
        work.read(self._journal)
        running = work.running()
        for task, began in running.items():
            result = Message(how_it_ended(status, limited=True))
            self._crew.outputs.take(result)
            self._journal.finish(work.claim, task, result, False, max(0.0, time.time() - began))
        work.read(self._journal)
        return bool(running)

    def _give_back(self, work: "_Work") -> None:
        """Give back what was not begun; the task that runs goes on."""
        unread = self._crew.take_back()
        if unread:
            work.forget(unread)
            self._release(unread, [])

    def _interrupt(self, work: "_Work") -> None:
        """Give back all, also the task that runs."""
        self._crew.dismiss()
        self._journal.mend()
        work.read(self._journal)
        running = list(work.running())
        left = work.left()
        work.forget(left + running)
        if left or running:
            self._release(left + running, running)

    def _release(self, tasks: List[int], started: List[int]) -> None:
        def decide(state: State) -> Message:
            self._check(state)
            entry = change("release", to_ranges(tasks), worker=self._number)
            entry.add("started", pack_ranges(to_ranges(started)))
            return entry

        self._store.propose(decide)

    def _learn(self, work: "_Work") -> None:
        """Put what was recorded to disk, and see how long tasks take."""
        self._journal.flush()
        work.read(self._journal)
        seconds = max(time.monotonic() - work.began, 1e-6)
        ended = len(work.ended)
        self._done["succeeded"] += work.succeeded
        self._done["failed"] += ended - work.succeeded
        self._longest = max(self._longest, work.longest)
        if ended:
            wanted = int(self._busy() * ended / seconds)
            self._at_once = max(1, min(wanted, 8 * self._at_once, MOST_AT_ONCE))

    def _busy(self) -> float:
        """Return the seconds of work to claim at once."""
        return max(BUSY, len(self._store.state.live_workers()) / CLAIMS)

    def _leave(self) -> None:
        records = self._journal.count()

        def decide(state: State) -> Message:
            self._check(state)
            return change("release", worker=self._number, records=records)

        self._store.propose(decide)
        if not self._store.state.live_workers():
            self._store.compact()

    def _out_of_time(self, margin: float = 0.0) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline - margin

    def _too_late(self) -> bool:
        """Say whether a task that is begun now may not come to its end."""
        return self._out_of_time(GRACE + self._longest)

    def _sleep(self, seconds: float) -> None:
        if self._deadline is not None:
            seconds = min(seconds, max(0.0, self._deadline - time.monotonic()))
        if select.select([self._wakeup], [], [], seconds)[0]:
            os.read(self._wakeup, 512)


class _Work:
    """What a worker has claimed, and what its journal says of it."""

    def __init__(self, claim: int, tasks: List[int], first_record: int) -> None:
        self.claim = claim
        self.began = time.monotonic()
        self._tasks = tasks
        self._next_record = first_record
        self._begun: Dict[int, float] = {}
        self.ended: Dict[int, float] = {}
        self.succeeded = 0
        self.longest = 0.0

    def read(self, journal: Journal) -> None:
        records = journal.records(self._next_record)
        self._next_record += len(records)
        for record in records:
            if record.kind == START:
                self._begun[record.task] = record.time
            else:
                self.ended[record.task] = record.seconds
                self.succeeded += record.kind == SUCCEEDED
                self.longest = max(self.longest, record.seconds)

    def running(self) -> Dict[int, float]:
        """Return the task that was begun and has not ended, if any, and when it was begun."""
        return {task: began for task, began in self._begun.items() if task not in self.ended}

    def left(self) -> List[int]:
        """Return the tasks that have not been begun."""
        return [task for task in self._tasks if task not in self._begun]

    def is_over(self) -> bool:
        return not self.left() and not self.running()

    def forget(self, tasks: List[int]) -> None:
        """Take out tasks that were given back."""
        gone = set(tasks)
        self._tasks = [task for task in self._tasks if task not in gone]
