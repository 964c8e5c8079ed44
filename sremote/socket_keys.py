"""Makes key files for ``sremote serve``."""

from __future__ import annotations

import datetime
import os
import secrets
from pathlib import Path

from sremote.errors import UsageError
from sremote.interpreter.socket_key import FIRST_LINE, Key, read_key

_NO_END = datetime.datetime(9999, 12, 31, 23, 59, 59)


def generate_key(path: Path) -> Key:
    """Write a new key file, with mode 0600, and return what it holds.

    Raises UsageError where there is a file already, or none can be written.
    """
    write_private(path, new_key_file())
    return read_key(str(path))


def new_key_file() -> str:
    """Return the content of a new key file."""
    return f"{FIRST_LINE}\nkey: {secrets.token_urlsafe(32)}\n" + _certificate()


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner may read.  Raises UsageError."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already", "Give another name, or remove it: its key is lost then.") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "Give a file in a folder that you may write in.") from error


def _certificate() -> str:
    """Return a new private key and the certificate that it has signed itself, in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sremote")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(_NO_END)
        .sign(private, hashes.SHA256())
    )
    content = certificate.public_bytes(serialization.Encoding.PEM) + private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return content.decode("ascii")
