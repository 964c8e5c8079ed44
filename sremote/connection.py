"""Opens a host: from its name to a client that is ready for calls."""

from __future__ import annotations

from collections.abc import Sequence

from sremote.client import Client
from sremote.connectors.address import parse_address
from sremote.connectors.registry import make_connector
from sremote.discovery import Location, find_location
from sremote.exchanges import with_execute
from sremote.host import DEFAULT_ROOT, Host
from sremote.hosts import HostSettings, find_host


def connect(
    host: str,
    *,
    python: str | None = None,
    root: str | None = None,
    environment: str | None = None,
    preamble: str | None = None,
    trust: bool | None = None,
    login_env: bool | None = None,
    application: str | None = None,
    preload: Sequence[str] | None = None,
    **connector_options: object,
) -> Client:
    """Connect to a host and return a client for it.

    ``host`` is a name in the hosts file or an address: ``user@host``, ``local:``,
    ``openssh://host``.  What is given here goes before what the hosts file says.
    ``python`` is a Python to use there instead of looking for one, ``root`` sremote's
    folder there (default ``~/.sremote``), ``environment`` an installed environment
    (default: ``default`` where there is one; "" for the host's own Python),
    ``preamble`` a shell line to run before everything, such as ``module load
    python``.  ``trust`` lets code come back from that host (default: data only).
    ``login_env`` gives calls the user's login environment.  ``application`` names a
    shared installation that the host's ``location.json`` knows.  ``preload`` names
    modules that the host imports once, so that calls find them imported.  All other
    keywords are the connector's own options.

    Raises LineError where the host cannot be reached or refuses the sign-in,
    UsageError where the host's name or an option is wrong.
    """
    settings = find_host(host).override(
        python=python,
        root=root,
        environment=environment,
        preamble=preamble,
        trust=trust,
        login_env=login_env,
        application=application,
        preload=None if preload is None else tuple(preload),
        connector=connector_options,
    )
    return open_client(settings)


def open_client(settings: HostSettings) -> Client:
    """Connect to the host that ``settings`` describe, and return a client for it."""
    return Client(open_host(settings), trust=settings.trust, login_env=settings.login_env, settings=settings)


def open_host(settings: HostSettings) -> Host:
    """Connect to the host that ``settings`` describe."""
    connector = make_connector(parse_address(settings.address), **settings.connector)
    connector.connect()
    connector = with_execute(connector, settings.root or DEFAULT_ROOT)
    name = settings.name or settings.address
    if settings.application is None:
        location = Location(root=settings.root or DEFAULT_ROOT)
        environment = settings.environment
    else:
        location = find_location(connector, settings.application, root=settings.root)
        environment = location.environment if settings.environment is None else settings.environment
    return Host(
        connector,
        name=name,
        root=location.root,
        python=settings.python,
        environment=environment,
        preamble=settings.preamble,
        shared=location.installation,
        temporary=location.temporary,
        working=location.working,
        preload=settings.preload,
    )
