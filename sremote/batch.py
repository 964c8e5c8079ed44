"""A host's batch system as a place to submit to: ``client.batch("slurm", cores=4, walltime="1:00:00")``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sremote.schedulers.resources import read_resources
from sremote.submission import Wishes

if TYPE_CHECKING:
    from sremote.client import Client
    from sremote.job_handle import Job


class Batch:
    """A scheduler of a host, and what jobs there ask of it; made by ``Client.batch``."""

    def __init__(self, client: Client, scheduler: str, resources: Mapping[str, Any]) -> None:
        self._client = client
        self.scheduler = scheduler
        self.resources = read_resources(resources)

    def submit(
        self,
        module: str,
        function: str,
        args: Sequence[Any] | Mapping[str, Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **how: Any,
    ) -> Job:
        """Submit a call as ``Client.submit`` does, to this scheduler with these resources."""
        how |= {"scheduler": self.scheduler, "resources": self.resources}
        return self._client.submit(module, function, args, kwargs, **how)

    def submit_function(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job:
        """Submit a function of this program as ``Client.submit_function`` does."""
        wishes = Wishes(
            getattr(function, "__qualname__", repr(function)), scheduler=self.scheduler, resources=self.resources
        )
        return self._client._submit_function(wishes, function, args, kwargs)

    def submit_command(self, argv: Sequence[str], **how: Any) -> Job:
        """Submit a command as ``Client.submit_command`` does."""
        return self._client.submit_command(argv, scheduler=self.scheduler, resources=self.resources, **how)
