"""What a user asks to have installed: requirement lines, requirement files, git repositories, local projects."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from sremote.errors import UsageError

_OPTIONS = {"-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--pre", "--trusted-host"}
_OPTIONS |= {"--no-binary", "--only-binary", "--prefer-binary", "--require-hashes"}
"""The options of a requirements file that are handed to pip."""
_SCP_LIKE = re.compile(r"(?![a-z+]+://)([\w.-]+@)?([\w.-]+):(?!/)(\S+)")
"""``git@host:path``, git's short form of ``ssh://git@host/path``."""


@dataclass(frozen=True)
class Line:
    """One requirement, as its author wrote it and as it is understood."""

    text: str
    """With pip's per-requirement options, such as ``--hash``."""
    requirement: Requirement

    @property
    def name(self) -> str:
        """The distribution's normalised name."""
        return canonicalize_name(self.requirement.name)

    @property
    def shown(self) -> str:
        """The text without a password that may stand in a URL."""
        return re.sub(r"://[^/@\s]*@", "://", self.text)

    def is_met(self, installed: Mapping[str, str], requested: Iterable[str]) -> bool:
        """Say whether ``installed`` (names to versions) meets it.

        An extra, a URL or an option cannot be read off a version, so that such a
        line must be one of those ``requested`` before.
        """
        if self.name not in installed:
            return False
        plain = str(self.requirement) == self.requirement.name + str(self.requirement.specifier)
        if not plain and self.shown not in requested:
            return False
        return self.requirement.specifier.contains(installed[self.name], prereleases=True)


@dataclass(frozen=True)
class Source:
    """Something to build a wheel from: a git repository at a ref, or a path on this machine."""

    text: str
    """As the user wrote it, without a password."""
    url: str = ""
    """The repository, in a form that both git and pip take; empty for a path."""
    ref: str = ""
    """Branch, tag or commit; empty for the repository's default branch."""
    subdirectory: str = ""
    path: Path | None = None


@dataclass
class Wanted:
    """Everything that was asked for."""

    lines: list[Line] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    """pip's options, one string for each line of a requirements file."""


def read_wanted(
    packages: Sequence[str] = (), requirements: Sequence[str | Path] = (), git: Sequence[str] = ()
) -> Wanted:
    """Read what a user asked for.

    ``packages`` are requirements (PEP 508), or paths of projects, sdists or wheels
    on this machine; ``requirements`` are files in pip's format; ``git`` are
    ``URL[@REF][#subdirectory=DIR]``.  Raises UsageError with the file and line.
    """
    wanted = Wanted()
    for package in packages:
        _add(wanted, package.strip(), Path.cwd(), "--package")
    for file in requirements:
        _read_file(wanted, Path(file), set())
    wanted.sources += [git_source(url) for url in git]
    return wanted


def git_source(text: str) -> Source:
    """Read ``URL[@REF][#subdirectory=DIR]``; a URL may be ``git@host:path`` or a folder of this machine."""
    address, _, fragment = text.strip().removeprefix("git+").partition("#")
    folder, _, ref = address.partition("@")
    if folder and Path(folder).expanduser().is_dir():
        address = Path(folder).expanduser().resolve().as_uri() + (f"@{ref}" if ref else "")
    elif match := _SCP_LIKE.fullmatch(address):
        address = f"ssh://{match[1] or ''}{match[2]}/{match[3]}"
    parts = urlsplit(address)
    path, _, ref = parts.path.partition("@")
    if not parts.scheme or not path.strip("/"):
        raise UsageError(f"{text!r} is not a git repository", "Write URL[@REF], such as https://example.org/it.git@v1.")
    subdirectory = fragment.removeprefix("subdirectory=")
    if fragment and subdirectory == fragment:
        raise UsageError(f"{text!r}: {fragment!r} is not understood", "Write #subdirectory=DIR.")
    shown = urlunsplit(parts._replace(netloc=_without_password(parts.netloc)))
    url = urlunsplit(parts._replace(path=path))
    return Source(shown + (f"#{fragment}" if fragment else ""), url, ref, subdirectory)


def _without_password(netloc: str) -> str:
    user, at, host = netloc.rpartition("@")
    return user.partition(":")[0] + at + host


def _read_file(wanted: Wanted, path: Path, seen: set[Path], *, constraint: bool = False) -> None:
    if path.resolve() in seen:
        return
    seen.add(path.resolve())
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"the requirements file {path} cannot be read: {reason}") from None
    pending = ""
    for number, raw in enumerate(text.splitlines(), 1):
        pending += raw.removesuffix("\\")
        if raw.endswith("\\"):
            continue
        line = os.path.expandvars(re.sub(r"(^|\s)#.*", "", pending).strip())
        pending = ""
        where = f"{path}:{number}"
        word, value = _option(line, where)
        if word in ("-r", "--requirement"):
            _read_file(wanted, path.parent / value, seen, constraint=constraint)
        elif word in ("-c", "--constraint"):
            _read_file(wanted, path.parent / value, seen, constraint=True)
        elif word in ("-e", "--editable"):
            _add(wanted, value, path.parent, where)
        elif word:
            if word not in _OPTIONS:
                raise UsageError(f"{where}: the option {word} cannot be used here")
            wanted.options.append(line)
        elif line and constraint:
            wanted.constraints.append(line)
        elif line:
            _add(wanted, line, path.parent, where)


def _option(line: str, where: str) -> tuple[str, str]:
    """Return an option line's option and value; empty ones for any other line."""
    if not line.startswith("-"):
        return "", ""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None
    word, equals, value = words[0].partition("=")
    if not word.startswith("--") and len(word) > 2:
        return word[:2], word[2:]
    return word, value if equals else " ".join(words[1:])


def _add(wanted: Wanted, text: str, folder: Path, where: str) -> None:
    """Add one requirement; paths are taken from ``folder``."""
    place = text.removeprefix("file://") if text.startswith("file:///") else text
    path = (folder / Path(place).expanduser()).resolve()
    if re.match(r"[./~]", place) or (place.endswith((".whl", ".tar.gz", ".zip")) and "://" not in place):
        if not path.exists():
            raise UsageError(f"{where}: there is no {text} on this machine")
        wanted.sources.append(Source(str(path), path=path))
        return
    if text.startswith("git+"):
        wanted.sources.append(git_source(text))
        return
    written = re.split(r"\s--", text)[0].strip()
    try:
        requirement = Requirement(written)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        remedy = (
            f"For the folder of that name write ./{text}." if path.is_dir() else "Write it as NAME or NAME>=VERSION."
        )
        raise UsageError(f"{where}: {text!r} is not a requirement: {reason}", remedy) from None
    if (requirement.url or "").startswith("git+"):
        wanted.sources.append(git_source(str(requirement.url)))
        return
    wanted.lines.append(Line(text, requirement))
