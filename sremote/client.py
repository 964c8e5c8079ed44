"""The client: calls, commands and files on one host."""

from __future__ import annotations

import functools
import secrets
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from sremote import trees
from sremote.allowed import allowed_types
from sremote.answers import CommandResult, Facts, Leftover
from sremote.arguments import add_arguments, split_arguments
from sremote.bundle import interpreter_digest
from sremote.by_value import dill_dumps, dill_origin
from sremote.connectors.base import Connector, OutputSink
from sremote.connectors.batch import Resources
from sremote.echo import Echo
from sremote.errors import UsageError
from sremote.exchanges import exchange_for
from sremote.functions import add_function, target_by_name
from sremote.host import Host, Probe
from sremote.host_jobs import HostJobs
from sremote.hosts import HostSettings
from sremote.index import index
from sremote.interpreter.wire import Header, Message
from sremote.job_handle import Job
from sremote.response import Response
from sremote.session import Session
from sremote.spooled import with_streams
from sremote.submission import Wishes, command_request
from sremote.surroundings import Surroundings, surroundings_header
from sremote.version import __version__

if TYPE_CHECKING:
    from sremote.batch import Batch
    from sremote.executor import Executor
    from sremote.installer import InstallReport
    from sremote.mailbox import Mailbox, MailboxOptions
    from sremote.objects.client import ObjectClient
    from sremote.queue import Queue
    from sremote.tasks import QueueStatus

_FAR_SIDE = "sremote_interpreter"


class Client:
    """One host, ready for calls.  Made by ``sremote.connect``; safe to use from several threads.

    ``host`` is where and how, ``trust`` lets code come back from it, ``login_env``
    gives calls the user's login environment unless they say otherwise.  ``settings``
    are what a later process needs to reach it.
    """

    def __init__(
        self, host: Host, *, trust: bool = False, login_env: bool = False, settings: HostSettings | None = None
    ) -> None:
        self.host = host
        self.settings = settings or HostSettings(host.connector.name, root=host.root, trust=trust, name=host.name)
        """How a later process reaches the host, to ask about its jobs."""
        self.trust = trust
        self.login_env = login_env
        self._exchange = exchange_for(host)
        self._required: dict[str, str] = {}
        self._local = threading.local()

    @property
    def last_response(self) -> Response | None:
        """The job of this thread's latest call that has an answer: its output, outcome and what it took."""
        response: Response | None = getattr(self._local, "response", None)
        return response

    def call(
        self,
        module: str,
        function: str,
        args: Sequence[Any] | Mapping[str, Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        echo: bool = True,
        **surroundings: Unpack[Surroundings],
    ) -> Any:
        """Call ``module.function`` on the host and return its value.

        ``args`` is a list or tuple of positional arguments, or a mapping of keyword
        arguments.  ``function`` may be dotted (``Class.method``).  After ``timeout``
        seconds (default: no limit) it is stopped.  What it prints goes to this
        process's stdout and stderr (``echo``) and is kept in ``last_response``.

        Its surroundings: ``env`` sets environment variables, ``env_default`` those
        that are unset, ``path`` is appended to PATH, ``cwd`` is the working directory
        (default: home), ``login_env`` asks for the user's login environment.

        Raises what the function raised, and the errors of ``sremote.errors``.
        """
        positional, keywords = split_arguments(args, kwargs)
        return self._call(
            lambda _: target_by_name(module, function),
            positional,
            keywords,
            timeout=timeout,
            surroundings=self._surroundings(surroundings),
            echo=echo,
        )

    def call_function(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function of this program on the host, with ``args`` and ``kwargs``, and return its value.

        It goes by name where the host can import it from an installed package, else
        by value.  Raises ValueRefused or VersionMismatch where it cannot go there.
        """
        self._exchange.prepare()
        return self._call(
            lambda request: add_function(request, function, self.host, allowed_types, (args, kwargs)),
            list(args),
            kwargs,
        )

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float | None = None,
        echo: bool | OutputSink = False,
        **surroundings: Unpack[Surroundings],
    ) -> CommandResult:
        """Run a command on the host; ``argv`` reaches it exactly as it is, no shell comes between.

        Other arguments as ``call``; ``echo`` may be an ``OutputSink``, which then gets
        the output's bytes as they come.  Raises WalltimeExceeded at the time limit, and
        UsageError where the command or the working directory is not there.
        """
        request = command_request(argv, stdin)
        response = self._run(
            request,
            {"kind": "command"},
            [str(word) for word in argv],
            {},
            timeout,
            self._surroundings(surroundings),
            echo,
        )
        return CommandResult(response.exit_status(), response.output("stdout"), response.output("stderr"))

    def submit(
        self,
        module: str,
        function: str,
        args: Sequence[Any] | Mapping[str, Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        walltime: float | None = None,
        retries: int = 0,
        scheduler: str | None = None,
        resources: Resources | Mapping[str, Any] | None = None,
        **surroundings: Unpack[Surroundings],
    ) -> Job:
        """Have ``module.function`` called on the host as a job that needs nobody to wait for it.

        It goes on whatever becomes of the line and of this process; ``sremote.job(id)``
        finds it in any later one.  After ``walltime`` seconds it is stopped.  If it
        fails it is tried again up to ``retries`` times.  With a ``scheduler`` (slurm,
        pbs, lsf, sge, flux, auto) that runs it, with ``resources``.  The other
        arguments are as for ``call``.

        Raises OutcomeUnknown where the line fails before the host has said that it has it.
        """
        positional, keywords = split_arguments(args, kwargs)
        target = target_by_name(module, function)
        return self._submit(
            Message({}),
            target,
            positional,
            keywords,
            surroundings,
            Wishes(f"{module}.{function}", walltime, retries, scheduler, resources),
        )

    def submit_function(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job:
        """Submit a function of this program, as ``submit``; it goes there as with ``call_function``."""
        return self._submit_function(Wishes(getattr(function, "__qualname__", repr(function))), function, args, kwargs)

    def _submit_function(
        self, wishes: Wishes, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Job:
        """Submit a function of this program with the ``wishes`` that the job is to have."""
        self._exchange.prepare()
        request = Message({})
        target = add_function(request, function, self.host, allowed_types, (args, kwargs))
        return self._submit(request, target, list(args), kwargs, {}, wishes)

    def executor(
        self,
        workers: int | None = None,
        *,
        timeout: float | None = None,
        scheduler: str | None = None,
        resources: Resources | Mapping[str, Any] | None = None,
        **surroundings: Unpack[Surroundings],
    ) -> Executor:
        """Return a ``concurrent.futures.Executor`` whose calls run on the host, ``workers`` at once.

        By default as many as the host has cores.  Each call has a process of its own
        there and may take ``timeout`` seconds; with a ``scheduler`` it is a batch job
        with ``resources``.  Functions go there as with ``call_function``.
        """
        from sremote.executor import Executor

        wishes = Wishes("", timeout, scheduler=scheduler, resources=resources)
        return Executor(self, workers or self.facts().cores, wishes, surroundings)

    def map(
        self,
        module: str,
        function: str,
        items: Iterable[Any],
        *,
        workers: int | None = None,
        chunk: int | None = None,
        show: bool = True,
        timeout: float | None = None,
        scheduler: str | None = None,
        resources: Resources | Mapping[str, Any] | None = None,
        **surroundings: Unpack[Surroundings],
    ) -> Iterator[Any]:
        """Call ``module.function`` with each of ``items`` on the host, and yield the values in their order.

        Up to ``workers`` processes (default: as many as the host has cores) work at
        once, each on ``chunk`` items, by default such that all are busy to the end.
        ``timeout``, in seconds, is for each of these chunks.  On a terminal a bar shows how
        far it is, unless ``show`` is false.  With a ``scheduler`` it is one array of batch
        jobs, each with ``resources``.  The other arguments are as for ``executor``.

        Raises what the function raised, after the values of the items before.
        """
        rows = [(item,) for item in items]
        target = target_by_name(module, function)
        label = f"{module}.{function}"
        if scheduler is not None and self._host_jobs.batch(scheduler) is not None:
            from sremote.arrays import ArrayMap

            wishes = Wishes(label, timeout, scheduler=scheduler, resources=resources)
            array = ArrayMap(self, rows, wishes, workers, chunk)
            array.submit(lambda _: target, surroundings)
            return array.values(show)
        from sremote.executor import call_each

        executor = self.executor(workers, timeout=timeout, scheduler=scheduler, resources=resources, **surroundings)
        return call_each(executor, lambda _: target, rows, chunk, label, show)

    def batch(self, scheduler: str = "auto", **resources: Any) -> Batch:
        """Return the host's batch system as a place to submit to, with what its jobs ask for.

        ``scheduler`` is slurm, pbs, lsf, sge, flux, or auto for the one that is there;
        ``resources`` are nodes, tasks, cores, memory, gpus, walltime, queue, account,
        after, requeue, extra, preamble, launcher: see docs/schedulers.md.  Raises
        UsageError where one of them cannot be.
        """
        from sremote.batch import Batch

        return Batch(self, scheduler, resources)

    def submit_command(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        files: Sequence[str | Path] | Mapping[str, str | Path] = (),
        outputs: Sequence[str] = (),
        walltime: float | None = None,
        retries: int = 0,
        scheduler: str | None = None,
        resources: Resources | Mapping[str, Any] | None = None,
        **surroundings: Unpack[Surroundings],
    ) -> Job:
        """Have a command run on the host, as ``submit``; ``argv`` and ``stdin`` are as for ``run``.

        With ``files`` or ``outputs`` it runs in an empty folder of its own.  ``files``
        are copied there first: paths here, or a mapping from names there to paths here.
        ``outputs`` are the paths or patterns there that ``Job.pull`` fetches.
        """
        request = command_request(argv, stdin)
        wishes = Wishes(shlex.join(map(str, argv)), walltime, retries, scheduler, resources, files, outputs)
        return self._submit(request, {"kind": "command"}, [str(word) for word in argv], {}, surroundings, wishes)

    def job(self, job_id: str) -> Job:
        """Return the handle of a job on this host, whoever has submitted it."""
        return Job(self._host_jobs.adopt(job_id), self)

    def jobs(self) -> list[Job]:
        """Return the jobs that this user has submitted to this host, the oldest first."""
        return [Job(record, self) for record in index().jobs(self.host.name)]

    @functools.cached_property
    def _host_jobs(self) -> HostJobs:
        """What asks this host about its jobs; ``Job`` uses it."""
        return HostJobs(self.host, self.settings, self._exchange, self._ask)

    def session(
        self,
        *,
        preload: Sequence[str] = (),
        echo: bool = True,
        execmodel: str = "thread",
        **surroundings: Unpack[Surroundings],
    ) -> Session:
        """Start a living process on the host: its calls keep what they import and make, and are fast.

        ``preload`` names modules to import at once, ``execmodel`` where ``remote_exec``
        runs code (``session.EXECMODELS``); the other arguments are as for
        ``call``.  A dropped line ends it.  Where the connector has no streams it
        goes through files that are polled, which is slow.  Raises UsageError where the
        host runs batch jobs only.
        """
        header = self._surroundings(surroundings)
        host, output = with_streams(self.host), Echo() if echo else None
        return Session(host, header, preload=preload, output=output, execmodel=execmodel)

    def mailbox(self, *, walltime: float = 3600.0, **options: Unpack[MailboxOptions]) -> Mailbox:
        """Have one long job on the host carry out this client's calls, until it is closed or for ``walltime`` seconds.

        For hosts where calls would each wait in a queue, or that only take and give
        files.  Returns once the job runs; see ``sremote.mailbox.MailboxOptions``.
        """
        from sremote.mailbox import Mailbox

        return Mailbox(self.host, self._use, walltime, **options)

    def objects(self, *, threaded: bool = False, echo: bool = True, **options: Any) -> ObjectClient:
        """Start a living process whose functions and objects are used as if they were here.

        See ``sremote.objects``; ``options`` are those of ObjectClient, or with ``threaded`` of
        ThreadedObjectClient, which has a thread over there for each thread here.
        """
        from sremote.objects.client import ObjectClient
        from sremote.objects.threaded import ThreadedObjectClient

        return (ThreadedObjectClient if threaded else ObjectClient)(self.session(echo=echo), **options)

    def push(self, local: str | Path, remote: str, **how: Unpack[trees.CopyOptions]) -> trees.Copied:
        """Copy a file or folder to the host: ``local`` becomes ``remote`` (absolute, or relative to home).

        Only what differs is sent.  Permissions, times and symbolic links are kept, and
        what else is in a folder there stays, unless ``delete``.  After a drop of the
        line the copy goes on.  Raises UsageError before anything is sent where
        ``local`` is not there, and after all else was copied where some of it cannot
        be read; HostError where the host refuses something.
        """
        return trees.push(self.host, Path(local), remote, **how)

    def pull(self, remote: str, local: str | Path, **how: Unpack[trees.CopyOptions]) -> trees.Copied:
        """Copy a file or folder of the host to ``local``, as ``push`` does the other way.

        A file goes into a folder that is here.  Raises FileMissing where ``remote`` is not there.
        """
        return trees.pull(self.host, remote, Path(local), **how)

    def queue(self, name: str) -> Queue:
        """Return a queue of tasks on the host; it is made when something is added to it."""
        from sremote.queue import Queue

        return Queue(self, name)

    def queues(self) -> list[QueueStatus]:
        """Return the queues that are on the host, and how they are."""
        from sremote.queue import queue_status

        return [queue_status(one) for one in self._ask("queue_answers", "queues", self._probe().root)]

    def facts(self) -> Facts:
        """Return what the host is: Python, platform, home, scheduler, file system, free space."""
        probe = self._probe()
        found = self._ask("facts", "facts", probe.root)
        found["version"] = tuple(found["version"])
        return Facts(**found, environment=probe.environment)

    def require(self, name: str, specifier: str = "") -> None:
        """Have every later call check, before it runs, that ``name`` is there in that version.

        ``name`` is a distribution, a module, or ``python``; ``specifier`` is as in
        ``>=1.26,<3``.  A call where it does not hold raises VersionMismatch.
        """
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            self._required[name] = str(SpecifierSet(specifier))
        except InvalidSpecifier as error:
            raise UsageError(
                f"{specifier!r} is not a version specifier", "Write it as '>=1.26' or '>=1.26,<3'."
            ) from error

    def install(self, packages: Sequence[str] = (), **options: Any) -> InstallReport:
        """Make or update the host's environment; see ``sremote.installer.install`` for the options.

        The next call uses it as it is then.
        """
        from sremote.installer import install

        report = install(self.host, packages=packages, **options)
        if report.changed and not report.dry_run:
            self._exchange.close()
            self.host.forget()
        return report

    def leftovers(self) -> list[Leftover]:
        """Return what old calls and clients have left on the host."""
        probe = self._probe()
        self.close_finished()
        found = self._ask("leftovers", "leftovers", probe.root, interpreter_digest())
        return [self._host_jobs.unless_unfetched(Leftover(**entry)) for entry in found]

    def clean(self, leftovers: Sequence[Leftover] | None = None) -> list[str]:
        """Remove leftovers (default: all that nobody can want) and return the paths that are gone; no running job."""
        chosen = [each for each in self.leftovers() if not each.is_wanted] if leftovers is None else leftovers
        gone: list[str] = self._ask("leftovers", "remove", self._probe().root, [entry.path for entry in chosen])
        return gone

    def close_finished(self) -> None:
        """Remove the fetched jobs from the host now instead of with the next call."""
        self._exchange.close()

    def close(self) -> None:
        """Leave nothing behind on the host but the jobs that run, and hang up."""
        if "_host_jobs" in vars(self):
            self._host_jobs.flush()
        self._exchange.close()
        self.host.connector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _use(self, connector: Connector) -> None:
        """Carry what follows through another connector of the same host."""
        if "_host_jobs" in vars(self):
            self._host_jobs.flush()
            del self._host_jobs
        self._exchange.close()
        self.host.connector = connector
        self._exchange = exchange_for(self.host)

    def _ask(self, module: str, function: str, *args: Any) -> Any:
        """Call a function of the interpreter's own; ``last_response`` stays that of the user's latest call."""
        last = self.last_response
        try:
            return self.call(f"{_FAR_SIDE}.{module}", function, args, echo=False)
        finally:
            self._local.response = last

    def _probe(self) -> Probe:
        """Return what the host is, asked for in the way that costs least."""
        self._exchange.prepare()
        return self.host.probe()

    def _surroundings(self, given: Surroundings) -> Header:
        return surroundings_header(given, self.host, login_env=self.login_env)

    def _call(
        self,
        add_target: Callable[[Message], Header],
        args: list[Any],
        kwargs: Mapping[str, Any],
        *,
        timeout: float | None = None,
        surroundings: Header | None = None,
        echo: bool = True,
    ) -> Any:
        request = Message({})
        target = add_target(request)
        return self._run(request, target, args, kwargs, timeout, surroundings or self._surroundings({}), echo).result()

    def _run(
        self,
        request: Message,
        target: Header,
        args: list[Any],
        kwargs: Mapping[str, Any],
        timeout: float | None,
        surroundings: Header,
        echo: bool | OutputSink,
    ) -> Response:
        job_id = self._complete(request, target, args, kwargs, timeout, surroundings)
        output = echo if callable(echo) else Echo() if echo else None
        data = self._exchange.run(job_id, request, timeout, output)
        response = Response.read(self.host.name, job_id, data, allowed_types, trust=self.trust)
        self._local.response = response
        return response

    def _perform(
        self,
        request: Message,
        target: Header,
        args: list[Any],
        kwargs: Mapping[str, Any],
        surroundings: Surroundings,
        wishes: Wishes,
    ) -> Response:
        """Make a call, or have a batch system do that, and return its response; nothing is left of it."""
        if wishes.scheduler is None:
            header = self._surroundings(surroundings)
            return self._run(request, target, args, kwargs, wishes.walltime, header, echo=True)
        job = self._submit(request, target, args, kwargs, surroundings, wishes)
        response = job.response()
        job.remove()
        return response

    def _submit(
        self,
        request: Message,
        target: Header,
        args: list[Any],
        kwargs: Mapping[str, Any],
        surroundings: Surroundings,
        wishes: Wishes,
    ) -> Job:
        header = self._surroundings(surroundings)
        job_id = self._complete(request, target, args, kwargs, wishes.walltime, header)
        record = self._host_jobs.submit_one(job_id, request, wishes)
        return Job(record, self)

    def _complete(
        self,
        request: Message,
        target: Header,
        args: list[Any],
        kwargs: Mapping[str, Any],
        walltime: float | None,
        surroundings: Header,
    ) -> str:
        """Make a request whole, and return the id that it gets."""
        if walltime is not None and walltime <= 0:
            raise UsageError(f"a time limit of {walltime} s leaves no time to run")
        job_id = new_job_id()
        request.header.update(
            format=1,
            kind="request",
            id=job_id,
            client=f"sremote {__version__}",
            target=target,
            surroundings=surroundings,
            walltime=walltime,
            require=self._required,
            allow=sorted(allowed_types),
        )
        self._add_arguments(request, args, dict(kwargs))
        return job_id

    def _add_arguments(self, request: Message, args: list[Any], kwargs: dict[str, Any]) -> None:
        if self.trust:
            self._exchange.prepare()
        if self.trust and self.host.same_python():
            request.add("value", dill_dumps((args, kwargs)))
            request.header.update(encoding="dill", dill=dill_origin(self.host))
            return
        add_arguments(request, args, kwargs, allowed_types)


def new_job_id() -> str:
    """Return a new job id: the time in UTC, for people, and 64 random bits."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + secrets.token_hex(8)
