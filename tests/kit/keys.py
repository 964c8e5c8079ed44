"""SSH keys and certificates, made by the real ssh-keygen."""

import subprocess
from pathlib import Path

from tests.kit.requirements import need_program


def make_key(path: Path, *, kind: str = "ed25519", passphrase: str = "", new_format: bool = True) -> Path:
    """Make a key pair at ``path`` and ``path``.pub; ``new_format=False`` writes the private one as PEM."""
    form = [] if new_format else ["-m", "PEM"]
    bits = ["-b", "2048"] if kind == "rsa" else []
    _keygen("-t", kind, *bits, *form, "-N", passphrase, "-C", path.name, "-f", path)
    return path


def public_key(path: Path) -> str:
    """Return the public key of ``path`` as the line that authorized_keys holds."""
    return Path(f"{path}.pub").read_text().strip()


def sign_key(authority: Path, key: Path, *, principals: str, valid: str = "-1d:+1d", host: bool = False) -> Path:
    """Certify ``key`` and return the certificate; ``valid`` is ssh-keygen's ``-V`` interval."""
    kind = ["-h"] if host else []
    _keygen("-s", authority, "-I", key.name, *kind, "-n", principals, "-V", valid, f"{key}.pub")
    return Path(f"{key}-cert.pub")


def fingerprint(path: Path) -> str:
    """Return the SHA256 fingerprint of a public key file."""
    return _keygen("-l", "-f", path).split()[1]


def hash_known_hosts(path: Path) -> None:
    """Replace the names in a known_hosts file by their hashes."""
    _keygen("-H", "-f", path)
    Path(f"{path}.old").unlink()


def _keygen(*arguments: object) -> str:
    program = need_program("ssh-keygen", "openssh-client")
    # -q would silence what -l prints, so the output is captured instead.
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stdout
