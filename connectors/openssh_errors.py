"""What the ssh program says when it fails, as errors.

Its exit status is 255 for every failure of its own, so its words decide.  They are
not translated, and stand in OpenSSH's ssh.c, sshconnect.c, sshconnect2.c, packet.c
and readconf.c.
"""

from __future__ import annotations

import re

from sremote.connectors.errors import (
    ConnectionLost,
    HostKeyError,
    HostUnreachable,
    LineError,
    SignInRefused,
    UsageError,
)

_CHATTER = re.compile(r"(?:debug\d: |Authenticated to |Transferred: |Bytes per second: |@@@|Warning: Permanently)")
_KEY_CHANGED = "REMOTE HOST IDENTIFICATION HAS CHANGED"
_KEY_UNKNOWN = re.compile(r"No (\S+) host key is known for (\S+)")
_KEY_REVOKED = re.compile(r"marked as revoked|REVOKED HOST KEY")
_FINGERPRINT = re.compile(r"\b((?:SHA256|MD5):\S+?)\.?$", re.MULTILINE)
_OFFENDING = re.compile(r"Offending (?:\S+ )?key in (.+):(\d+)")
_DENIED = re.compile(r"Permission denied \(([^)]*)\)|Too many authentication failures|No more authentication methods")
_CONFIGURATION = re.compile(
    r"terminating, \d+ bad configuration options|Bad owner or permissions on|Can't open user config file"
    r"|command-line: line \d+:|illegal option|Bad configuration option"
)
_UNREACHABLE = [
    (r"Could not resolve hostname", "Look at its spelling, and at HostName in ~/.ssh/config."),
    (r"Connection refused", "No ssh server listens there: look at the port, or ask whether the host is up."),
    (r"timed out|Timeout, server", "Look at the network, a VPN that should be on, or a firewall between."),
    (r"No route to host|Network is unreachable|Network is down", "Look at the network, or a VPN that should be on."),
    (r"Unable to negotiate", "Server and client share no method; 'man ssh_config' says how to allow an older one."),
    (r"stdio forwarding failed|open failed|UNKNOWN port", "Look at ProxyJump or ProxyCommand in ~/.ssh/config."),
    (r"closed by|reset by|identification: ", "The server hung up before the sign-in: try again later."),
]


def error_of(name: str, words: str, *, started: bool = False) -> LineError | UsageError:
    """Return the error that ``words``, the ssh program's own messages, tell of.

    ``name`` is how messages call the host; ``started`` says that a command may have
    been running, so that what does not tell otherwise is ConnectionLost.
    """
    lines = [line.strip() for line in words.splitlines() if line.strip() and not _CHATTER.match(line)]
    said = "\n".join(lines)
    reason = lines[-1].removeprefix("ssh: ") if lines else "the ssh program gave no reason"
    if _CONFIGURATION.search(said):
        return UsageError(
            f"{name}: ssh does not take its configuration: {lines[0]}", "Mend it, or the option that set it."
        )
    if error := _host_key_error(name, said):
        return error
    if denied := _DENIED.search(said):
        methods = f"; it takes: {denied[1].replace(',', ', ')}" if denied[1] else ""
        return SignInRefused(
            f"{name} does not let you in{methods}",
            f"Load your key with ssh-add, or sign in on the terminal: sremote login {name}",
        )
    for pattern, remedy in _UNREACHABLE:
        for line in lines:
            if re.search(pattern, line):
                kind = ConnectionLost if started and "connect to host" not in line else HostUnreachable
                return kind(f"{name}: {line.removeprefix('ssh: ')}", remedy)
    if started:
        return ConnectionLost(f"{name}: the line dropped: {reason}" if lines else f"{name}: the line dropped")
    return HostUnreachable(f"{name}: {reason}", "Try by hand, with the host's name: ssh -v HOST")


def _host_key_error(name: str, said: str) -> HostKeyError | None:
    if _KEY_CHANGED in said:
        fingerprint = _FINGERPRINT.search(said)
        place = _OFFENDING.search(said)
        now = f"; it is now {fingerprint[1]}" if fingerprint else ""
        where = f"{place[1]} line {place[2]}" if place else "known_hosts"
        return HostKeyError(
            f"{name}: the host's key is not the one seen before{now}",
            "Somebody may be in between.  Ask the host's people for the fingerprint; only if it is right, "
            f"remove the old key ({where}).",
        )
    if _KEY_REVOKED.search(said):
        return HostKeyError(f"{name}: the host's key is marked as revoked", "Do not sign in; tell the host's people.")
    if unknown := _KEY_UNKNOWN.search(said):
        return HostKeyError(
            f"{name}: the {unknown[1]} key of {unknown[2]} is not known here",
            f"See its fingerprint and accept it on the terminal: sremote login {name}",
        )
    if "Host key verification failed" in said:
        return HostKeyError(f"{name}: the host's key could not be checked", "See why with: ssh -v HOST")
    return None
