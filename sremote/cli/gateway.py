"""``sremote gateway``: let programs and browsers reach this machine over HTTPS."""

from __future__ import annotations

import logging
import re
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sremote.cli.options import State, common_options
from sremote.cli.output import print_json
from sremote.errors import UsageError

if TYPE_CHECKING:
    from sremote.gateway.access import Key
    from sremote.gateway.serve import Certificate

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", metavar="PORT", type=int, default=8443, show_default=True, help="The port; 0 takes a free one.")
@click.option("--machine", metavar="NAME", help="What this machine is called in addresses; its host name by default.")
@click.option(
    "--allow",
    metavar="DIR",
    multiple=True,
    type=_PATH,
    help="A folder for files; repeatable. By default home and /tmp.",
)
@click.option("--no-commands", is_flag=True, help="Run no commands: then --allow is all that can be touched.")
@click.option("--certificate", metavar="FILE", type=_PATH, help="A certificate in PEM; one is made by default.")
@click.option("--key", metavar="FILE", type=_PATH, help="Its private key in PEM.")
@click.option("--no-tls", is_flag=True, help="Go without TLS, which is for this machine alone: behind a proxy.")
@click.option("--otp", is_flag=True, help="Ask for a one-time code (TOTP) behind the token.")
@click.option("--new-token", is_flag=True, help="Make a new token; the old one is good no more.")
@click.option("--reverse-proxy-prefix", metavar="/PATH", default="", help="What a reverse proxy puts before each path.")
@click.option(
    "--session-lifetime",
    metavar="SECONDS",
    type=float,
    default=43200,
    show_default=True,
    help="How long a sign-in lasts.",
)
@click.option(
    "--root", metavar="DIR", type=_PATH, default=Path(".sremote"), help="sremote's folder, whose jobs are shown."
)
@click.option("--folder", metavar="DIR", type=_PATH, help="Where token and certificate are kept.")
@common_options
@click.pass_obj
def gateway(
    state: State,
    host: str,
    port: int,
    machine: str | None,
    allow: tuple[Path, ...],
    no_commands: bool,
    certificate: Path | None,
    key: Path | None,
    no_tls: bool,
    otp: bool,
    new_token: bool,
    reverse_proxy_prefix: str,
    session_lifetime: float,
    root: Path,
    folder: Path | None,
) -> None:
    """Serve this machine over HTTPS, to yourself alone.

    For a machine that is reached by HTTPS only. Run it there as yourself; it needs no
    root. It makes a token, shows it once, and lets in whoever has it. A browser gets
    a page with hosts and jobs, and sremote elsewhere reaches the machine as
    newt+https://ADDRESS:PORT/NAME.

    \b
    sremote gateway --host 0.0.0.0
    sremote gateway --no-tls --reverse-proxy-prefix /lab7
    """
    try:
        from sremote.gateway.access import Access, read_key
        from sremote.gateway.serve import listen, make_application, make_server
        from sremote.gateway.settings import Settings
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the gateway needs {error.name}, which is not installed", "Type: pip install 'sremote[gateway]'"
        ) from None
    prefix = _checked_prefix(reverse_proxy_prefix)
    if session_lifetime <= 0:
        raise click.BadParameter("it is to be more than 0", param_hint="--session-lifetime")
    name = machine or socket.gethostname()
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise click.BadParameter(f"{name!r} is not a name", param_hint="--machine")
    place = folder or _default_folder()
    tls = _certificate(place, host, certificate, key, no_tls)
    settings = Settings(
        machine=name,
        home=Path.home(),
        allowed=tuple(path.expanduser().absolute() for path in allow) or (Path.home(), Path(tempfile.gettempdir())),
        commands=not no_commands,
        prefix=prefix,
        behind_proxy=bool(prefix),
        secure=tls is not None or bool(prefix),
        session_lifetime=session_lifetime,
        root=root,
    )
    listener = listen(host, port, encrypted=tls is not None)
    secret, token_is_new, codes_are_new = read_key(place, codes=otp, renew=new_token)
    application = make_application(settings, Access(secret, lifetime=session_lifetime))
    server = make_server(application, tls)
    port = listener.getsockname()[1]
    url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}{prefix}"
    _announce(state, url, name, place, tls, secret, token_is_new=token_is_new, codes_are_new=codes_are_new)
    _log_requests(state)
    server.run([listener])


def _checked_prefix(text: str) -> str:
    prefix = text.rstrip("/")
    if prefix and not re.fullmatch(r"(/[\w.~-]+)+", prefix, re.ASCII):
        raise click.BadParameter(f"{text!r} is not a path such as /lab7", param_hint="--reverse-proxy-prefix")
    return prefix


def _default_folder() -> Path:
    from platformdirs import user_config_path

    return user_config_path("sremote", appauthor=False) / "gateway"


def _certificate(
    folder: Path, host: str, certificate: Path | None, key: Path | None, no_tls: bool
) -> Certificate | None:
    from sremote.gateway.serve import Certificate, self_signed

    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key go together.")
    if no_tls:
        if certificate is not None:
            raise click.UsageError("--no-tls and --certificate exclude each other.")
        return None
    if certificate is None or key is None:
        names = [socket.gethostname(), "localhost", "127.0.0.1"]
        return self_signed(folder, list(dict.fromkeys([*names, *([] if host in ("0.0.0.0", "::") else [host])])))  # noqa: S104
    for path in (certificate, key):
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file")
    return Certificate(certificate, key)


def _announce(
    state: State,
    url: str,
    machine: str,
    folder: Path,
    tls: Certificate | None,
    key: Key,
    *,
    token_is_new: bool,
    codes_are_new: bool,
) -> None:
    """Say where the gateway is, and what is said only once: the token and the secret of codes."""
    fingerprint = tls.fingerprint if tls is not None else None
    address = f"newt+{url}/{machine}"
    codes = None
    if codes_are_new and key.code_secret is not None:
        import pyotp

        codes = pyotp.TOTP(key.code_secret).provisioning_uri(name=machine, issuer_name="sremote gateway")
    if state.json:
        shown = {"url": url, "address": address, "fingerprint": fingerprint, "token_file": str(folder / "token")}
        print_json({**shown, "token": key.token if token_is_new else None, "codes": codes})
        return
    click.echo(f"This machine is {url}/ and, for sremote elsewhere, {address}", err=True)
    if fingerprint is not None:
        click.echo(f"Its certificate's fingerprint: {fingerprint}", err=True)
    click.echo(f"The token is in {folder / 'token'}", err=True)
    if token_is_new and sys.stderr.isatty():
        click.echo(f"This once it is shown: {key.token}", err=True)
    if codes is not None:
        click.echo(f"For your authenticator, this once: {codes}", err=True)
    pin = f" --option fingerprint={fingerprint}" if fingerprint is not None else ""
    click.echo("From elsewhere, with the token in a file of mode 0600 there:", err=True)
    click.echo(f"  sremote hosts add {machine.split('.')[0]} {address}{pin} --option password_file=FILE", err=True)


def _log_requests(state: State) -> None:
    """Log every request on stderr; ``-v`` adds what sremote itself does."""
    logger = logging.getLogger("sremote.gateway")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if state.verbosity > 1 else logging.INFO)
    logger.propagate = False
