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
from sremote.session import Session


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
    via: str | Client | Session | None = None,
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
    modules that the host imports once, so that calls find them imported.  ``via`` is a
    host on the way: a name or address, a client or a session of it.  All other
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
        via=via if isinstance(via, str) else via.host.name if via is not None else None,
        connector=connector_options,
    )
    return open_client(settings, None if isinstance(via, str) else via)


def open_client(settings: HostSettings, near: Client | Session | None = None) -> Client:
    """Connect to the host that ``settings`` describe, through ``near`` if that is given, and return a client for it."""
    return Client(open_host(settings, near), trust=settings.trust, login_env=settings.login_env, settings=settings)


def open_host(settings: HostSettings, near: Client | Session | None = None) -> Host:
    """Connect to the host that ``settings`` describe, through ``near`` if that is given."""
    address = parse_address(settings.address)
    if settings.via is None:
        connector = make_connector(address, **settings.connector)
    else:
        from sremote.via import Way, via_connector

        way = Way(near or open_client(find_host(settings.via)), owned=near is None)
        connector = via_connector(address, way, **settings.connector)
    try:
        connector.connect()
    except BaseException:
        connector.close()
        raise
    connector = with_execute(connector, settings.root or DEFAULT_ROOT)
    name = settings.name or settings.address if near is None else connector.name
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
