"""``sremote serve``: this machine as a host that others reach over a TCP port."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sremote.cli.options import State, common_options
from sremote.cli.output import print_json, print_table, to_json

if TYPE_CHECKING:
    from sremote.socket_service import Service

_ACTIONS = {
    "install": "Write the unit file of a systemd service with these options, and enable it.",
    "start": "Start the service.",
    "stop": "Stop the service.",
    "uninstall": "Stop the service and remove its unit file.",
    "status": "Show how the service fares.",
}


@dataclass(frozen=True)
class Options:
    """How to serve, as the command line has it."""

    key_file: Path | None
    listen: str
    no_tls: bool
    insecure: bool
    keepalive: float
    quiet: bool

    def needed_key_file(self) -> Path:
        """Return the key file.  Raises click.UsageError where none was given."""
        if self.key_file is None:
            raise click.UsageError("Give the key file with --key FILE; make one with --generate-key FILE.")
        return self.key_file


def _action_options(command: Any) -> Any:
    for action, text in reversed(_ACTIONS.items()):
        command = click.option(f"--{action}", "actions", flag_value=action, help=text)(command)
    return command


@click.command()
@click.option("--key", "key_file", metavar="FILE", type=click.Path(path_type=Path), help="The key file.")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="",
    help="Where to listen; all of this machine's addresses by default. Port 0 is a free one.",
)
@click.option(
    "--generate-key", metavar="FILE", type=click.Path(path_type=Path), help="Write a new key file and do nothing else."
)
@click.option("--no-tls", is_flag=True, help="Send everything in the clear; on loopback addresses only.")
@click.option("--insecure", is_flag=True, help="With --no-tls: on other addresses, too.")
@click.option(
    "--keepalive",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=15.0,
    help="Ask for a sign of life after so much silence; hang up after three times as much.",
    show_default=True,
)
@click.option("--quiet", is_flag=True, help="Do not log connections and commands.")
@_action_options
@click.option("--system", is_flag=True, help="The service is the machine's, not yours; needs root.")
@click.option("--user", metavar="NAME", help="With --system --install: whom the service runs as; root by default.")
@common_options
@click.pass_obj
def serve(
    state: State,
    key_file: Path | None,
    listen: str,
    generate_key: Path | None,
    no_tls: bool,
    insecure: bool,
    keepalive: float,
    quiet: bool,
    actions: str | None,
    system: bool,
    user: str | None,
) -> None:
    """Let others reach this machine as socket://HOST:PORT, with a key that both ends have.

    Whoever has the key can do here what you can. Make one with --generate-key,
    and copy it to the other machine by a way that nobody else can read.
    """
    if generate_key is not None:
        _generate(state, generate_key)
        return
    options = Options(key_file, listen, no_tls, insecure, keepalive, quiet)
    if actions is not None:
        from sremote.socket_service import Service

        arguments = _arguments(options) if actions == "install" else []
        _change_service(state, Service(system=system), actions, arguments, user)
        return
    _serve(state, options)


def _generate(state: State, path: Path) -> None:
    from sremote.interpreter.socket_key import show_fingerprint
    from sremote.socket_keys import generate_key

    fingerprint = show_fingerprint(generate_key(path).fingerprint or b"")
    if state.json:
        print_json({"file": str(path), "fingerprint": fingerprint})
    else:
        click.echo(f"{path} holds a new key. Its certificate is {fingerprint}.")


def _serve(state: State, options: Options) -> None:
    from sremote.interpreter.socket_address import DEFAULT_PORT, split_address
    from sremote.interpreter.socket_key import read_key, show_fingerprint
    from sremote.interpreter.socket_server import Server, Settings

    with _usage():
        key = read_key(str(options.needed_key_file()))
        host, port = split_address(options.listen or f":{DEFAULT_PORT}")
        settings = Settings(
            key,
            host,
            port,
            tls=not options.no_tls,
            insecure=options.insecure,
            keepalive=options.keepalive,
            say=_ignore if options.quiet else _say,
        )
    fingerprint = None if options.no_tls else show_fingerprint(key.fingerprint or b"")
    if state.json:
        print_json({"listening": settings.addresses, "fingerprint": fingerprint})
    elif not options.quiet:
        _say(f"listening on {', '.join(settings.addresses)}" + (f", {fingerprint}" if fingerprint else ", without TLS"))
    Server(settings).run()


def _arguments(options: Options) -> list[str]:
    """Return the options of the service's own ``sremote serve``, once they are known to be good."""
    from sremote.interpreter.socket_address import split_address
    from sremote.interpreter.socket_key import read_key

    path = options.needed_key_file().absolute()
    arguments = ["--key", str(path), "--keepalive", f"{options.keepalive:g}"]
    with _usage():
        read_key(str(path))
        if options.listen:
            split_address(options.listen)
            arguments += ["--listen", options.listen]
    flags = {"--no-tls": options.no_tls, "--insecure": options.insecure, "--quiet": options.quiet}
    return arguments + [flag for flag, wanted in flags.items() if wanted]


def _change_service(state: State, service: Service, action: str, arguments: list[str], user: str | None) -> None:
    match action:
        case "install":
            service.install(arguments, user=user)
        case "uninstall":
            service.uninstall()
        case "start":
            service.start()
        case "stop":
            service.stop()
    found = service.state()
    if state.json:
        print_json(to_json(found))
        return
    print_table([("file", found.file), ("active", found.active), ("enabled", found.enabled)])
    if action == "install":
        scope = " --system" if service.system else ""
        click.echo(f"Start it now: sremote serve{scope} --start", err=True)
        if not service.system:
            click.echo(
                "It starts when you sign in; to have it start with the machine: loginctl enable-linger", err=True
            )


@contextmanager
def _usage() -> Iterator[None]:
    """Let what the far side says of its options be what the command line says."""
    from sremote.errors import UsageError
    from sremote.interpreter.socket_address import ServerError
    from sremote.interpreter.socket_key import KeyFileError

    try:
        yield
    except (ServerError, KeyFileError) as error:
        raise UsageError(error.message, error.remedy) from error


def _say(line: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {line}", err=True)


def _ignore(_: str) -> None:
    pass
