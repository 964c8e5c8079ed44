"""Where to connect to, as programs for EasyCluster say it: ``[user@]host[:port][:opt=val]…``, and keys."""

from __future__ import annotations

import argparse
import optparse
import os
import re
import shlex
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from sremote.errors import UsageError
from sremote.interpreter.socket_key import Key, KeyFileError, parse_key, read_key
from sremote.socket_keys import new_key_file, write_private

_SPEC = re.compile(
    r"(?:(?P<user>[^@:\[\]]+)@)?(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^@:\[\]]+)(?::(?P<port>\d+))?(?P<rest>(?::.*)?)$"
)
_YES, _NO = ("1", "yes", "true", "on"), ("0", "no", "false", "off", "")
_OPTIONS = ("kf", "keyfile", "key", "compress", "ssh", "user", "extra", "rpython", "fingerprint", "tls")
_SSH_LETTERS = {"-i": "IdentityFile", "-p": "Port", "-l": "User", "-J": "ProxyJump", "-c": "Ciphers"}
_SSH_FLAGS = {
    "-C": "Compression=yes",
    "-4": "AddressFamily=inet",
    "-6": "AddressFamily=inet6",
    "-A": "ForwardAgent=yes",
}


def parse_connection_spec(
    spec: str, default_key: Key | str | bytes | None = None, custom_options: Container[str] = ()
) -> dict[str, Any]:
    """Return the arguments of Client that a spec stands for, and those options of it that are ``custom_options``.

    Raises UsageError where it cannot be read.
    """
    match = _SPEC.match(spec)
    if match is None:
        raise UsageError(f"{spec!r} is no host", "Write [user@]host[:port][:opt=val]…, an IPv6 address in brackets.")
    found: dict[str, Any] = {"host": match["host"].strip("[]"), "key": default_key}
    if match["port"]:
        found["port"] = int(match["port"])
    if match["user"]:
        found.update(user=match["user"], ssh="ssh")
    for option in filter(None, match["rest"].split(":")):
        name, equals, value = option.partition("=")
        if name in custom_options:
            found[name] = value
        elif equals and name in _OPTIONS:
            _set_option(found, name, value)
        else:
            raise UsageError(f"{spec!r}: there is no option {name!r}", f"There are: {', '.join(_OPTIONS)}.")
    return found


def _set_option(found: dict[str, Any], name: str, value: str) -> None:
    if name in ("kf", "keyfile"):
        found["key"] = read_key_file(value)
    elif name == "key":
        found["key"] = decode_key(value)
    elif name == "compress":
        found["enable_compression"] = _yes(name, value)
    elif name == "tls":
        found["tls"] = _yes(name, value)
    elif name == "ssh":
        found["ssh"] = "ssh" if value.lower() in _YES else None if value.lower() in _NO else value
    elif name == "extra":
        found["extra_args"] = shlex.split(value)
    else:
        found[name] = value


def _yes(name: str, value: str) -> bool:
    if value.lower() in _YES or value.lower() in _NO:
        return value.lower() in _YES
    raise UsageError(f"the option {name} is 1 or 0, not {value!r}")


def ssh_settings(extra_args: Sequence[str]) -> list[str]:
    """Return arguments of the ssh program as settings of its configuration.  Raises UsageError for unknown ones."""
    settings = []
    words = iter(extra_args)
    for word in words:
        if word in _SSH_FLAGS:
            settings.append(_SSH_FLAGS[word])
        elif word[:2] == "-o":
            settings.append(word[2:] or next(words, ""))
        elif word[:2] in _SSH_LETTERS:
            settings.append(f"{_SSH_LETTERS[word[:2]]}={word[2:] or next(words, '')}")
        else:
            raise UsageError(f"{word!r} is no argument of ssh that is known here", "Give settings: -o Keyword=value.")
    return settings


def add_key_options(parser: optparse.OptionParser | argparse.ArgumentParser) -> None:
    """Give a parser of the command line the options -k FILE and -K KEY."""
    for names, meta, text in (
        (("-k", "--key-file"), "FILE", "the file with the key of servers"),
        (("-K", "--key"), "KEY", "the key itself; others on this machine may see it"),
    ):
        add = parser.add_argument if isinstance(parser, argparse.ArgumentParser) else parser.add_option
        add(*names, metavar=meta, help=text)


def key_from_options(options: Any) -> Key | None:
    """Return the key that the options of ``add_key_options`` name; None where there is none.  Raises UsageError."""
    if options.key_file:
        return read_key_file(options.key_file)
    return decode_key(options.key) if options.key else None


def generate_key() -> Key:
    """Return a new key, with a certificate for the server."""
    return parse_key(new_key_file())


def write_key_file(path: str | os.PathLike[str], key: Key) -> None:
    """Write a key to a file that only its owner may read.  Raises UsageError where there is one already."""
    write_private(Path(path), key.text)


def read_key_file(path: str | os.PathLike[str]) -> Key:
    """Read a key file.  Raises UsageError where it is none, or others may read it."""
    try:
        return read_key(str(Path(path).expanduser()))
    except KeyFileError as error:
        raise UsageError(error.message, error.remedy) from error


def decode_key(text: str | bytes | Key) -> Key:
    """Return a key that is given as text."""
    if isinstance(text, Key):
        return text
    return Key(text if isinstance(text, bytes) else text.encode())
