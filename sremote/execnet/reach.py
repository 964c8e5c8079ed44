"""From a specification to a client of where it leads."""

from __future__ import annotations

import getopt
import shlex
import sys
from typing import Any

from sremote.client import Client
from sremote.connection import connect
from sremote.errors import HostUnreachable
from sremote.execnet.errors import HostNotFound
from sremote.execnet.spec import XSpec
from sremote.session import Session

_SSH_OPTIONS = "46AaCKkqTtvXxYyB:b:c:e:F:I:i:J:l:m:o:p:"
_KEYWORDS = {
    "-4": "AddressFamily=inet",
    "-6": "AddressFamily=inet6",
    "-A": "ForwardAgent=yes",
    "-a": "ForwardAgent=no",
    "-b": "BindAddress=",
    "-B": "BindInterface=",
    "-C": "Compression=yes",
    "-c": "Ciphers=",
    "-i": "IdentityFile=",
    "-J": "ProxyJump=",
    "-l": "User=",
    "-m": "MACs=",
    "-p": "Port=",
}


def reach(spec: XSpec, near: Session | None) -> Client:
    """Connect to where ``spec`` leads, through ``near`` where it says ``via``.

    Raises HostNotFound where the host cannot be reached, ValueError for a
    specification that leads nowhere, and sremote's errors for all else.
    """
    address, options = _way(spec, near)
    words = shlex.split(spec.python) if isinstance(spec.python, str) else []
    if len(words) > 1:
        if address != "local:":
            raise ValueError(f"python={spec.python} in {spec}: only popen takes a command in front of python")
        address = "command:" + shlex.join(words[:-1])
    python = words[-1] if words else sys.executable if address == "local:" and near is None else None
    try:
        return connect(address, python=python, via=near, **options)
    except HostUnreachable as error:
        raise HostNotFound(str(error)) from error


def _way(spec: XSpec, near: Session | None) -> tuple[str, dict[str, Any]]:
    if spec.popen:
        return "local:", {}
    if spec.ssh:
        return _ssh(spec.ssh, spec, near)
    if spec.vagrant_ssh:
        return f"command:vagrant ssh {shlex.quote(spec.vagrant_ssh)} --", {"shell": True}
    if spec.socket:
        if not (spec.key_file or spec.key):
            raise ValueError(
                f"{spec}: a socket server lets in only who has its key\n"
                "  Start it with: sremote serve --key FILE, and add //key_file=FILE here."
            )
        options = {"key_file": spec.key_file, "key": spec.key, "fingerprint": spec.fingerprint}
        return f"socket://{spec.socket}", {name: value for name, value in options.items() if value}
    if spec.host:
        return spec.host, {}
    raise ValueError(f"{spec} leads nowhere: it needs one of popen, ssh=, socket=, vagrant_ssh= or host=")


def _ssh(text: str, spec: XSpec, near: Session | None) -> tuple[str, dict[str, Any]]:
    """Return the address and options of a host that the ssh program is given ``text`` for."""
    words = shlex.split(text)
    try:
        given, rest = getopt.getopt(words, _SSH_OPTIONS)
    except getopt.GetoptError as error:
        raise ValueError(f"{spec}: ssh's {error}") from None
    if len(rest) != 1:
        raise ValueError(f"{spec}: {text!r} does not name one host for ssh")
    address = f"openssh://{rest[0]}"
    configuration = spec.ssh_config or dict(given).get("-F")
    if near is not None:
        return address, {"options": [*words[:-1], *(["-F", spec.ssh_config] if spec.ssh_config else [])]}
    options: dict[str, Any] = {"control_master": False, "ssh_options": []}
    if configuration:
        options["config_file"] = str(configuration)
    for letter, value in given:
        if letter == "-o":
            options["ssh_options"].append(value)
        elif letter in _KEYWORDS:
            options["ssh_options"].append(_KEYWORDS[letter] + value)
    return address, options
