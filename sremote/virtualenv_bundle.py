"""The installers that a host borrows: virtualenv and pip as one zip each, of a version that runs on its Python.

Both run from the zip as it is, so that nothing is unpacked there.  virtualenv is
the one installed here where it supports that Python; its embedded pip is taken
likewise.  What an older Python needs is downloaded once and kept in the user's
cache directory.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sremote.requirements import Line
from sremote.target import Target
from sremote.wheels import Say, download

_LEFT_OUT = (".whl", ".exe", ".pyc", "RECORD")
"""Seed wheels, Windows launchers and bytecode: 9 of virtualenv's 11 MB."""


def virtualenv_zip(target: Target, *, say: Say = lambda _: None) -> bytes:
    """Return a zip that ``python -m virtualenv`` runs from, with all that it depends on.

    Raises HostUnreachable where it must be downloaded and no index is reached.
    """
    needed = _installed("virtualenv", target)
    if needed is None:
        return _downloaded("virtualenv", target, say)
    return _zip(entry for found in needed for entry in _files(found))


def pip_zip(target: Target, *, say: Say = lambda _: None) -> bytes:
    """Return a zip that pip runs from; raises as ``virtualenv_zip``."""
    from virtualenv.seed.wheels.embed import BUNDLE_SUPPORT, get_embed_wheel

    embedded = get_embed_wheel("pip", target.minor) if target.minor in BUNDLE_SUPPORT else None
    if embedded is not None:
        return Path(embedded.path).read_bytes()
    return _downloaded("pip", target, say)


def _installed(name: str, target: Target) -> list[Distribution] | None:
    """Return what is installed here of ``name`` and its dependencies; None where ``target`` cannot run all of it."""
    needed: dict[str, Distribution] = {}
    pending = [Requirement(name)]
    while pending:
        requirement = pending.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": "", **target.markers}):
            continue
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:
            return None
        supported = SpecifierSet(found.metadata["Requires-Python"] or "")
        if not supported.contains(target.full_version) or not requirement.specifier.contains(found.version):
            return None
        if not found.files or any(str(file).endswith((".so", ".pyd")) for file in found.files):
            return None
        if requirement.name not in needed:
            needed[requirement.name] = found
            pending += [Requirement(text) for text in found.requires or []]
    return list(needed.values())


def _files(found: Distribution) -> Iterator[tuple[str, bytes]]:
    for file in found.files or []:
        if not str(file).startswith(".."):
            yield str(file), Path(str(found.locate_file(file))).read_bytes() if _is_wanted(str(file)) else b""


def _wheel_files(wheel: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)


def _is_wanted(name: str) -> bool:
    return not name.endswith(_LEFT_OUT)


def _downloaded(name: str, target: Target, say: Say) -> bytes:
    from platformdirs import user_cache_path

    kept = user_cache_path("sremote", appauthor=False) / "tools" / f"{name}-{target.implementation}{target.minor}.zip"
    if kept.is_file():
        return kept.read_bytes()
    say(f"downloading {name} for Python {target.minor}")
    with tempfile.TemporaryDirectory(prefix="sremote-") as folder:
        download([Line(name, Requirement(name))], target, Path(folder), say=say)
        content = _zip(entry for wheel in sorted(Path(folder).glob("*.whl")) for entry in _wheel_files(wheel))
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as partial:
        partial.write(content)
    Path(partial.name).replace(kept)
    return content


def _zip(files: Iterator[tuple[str, bytes]]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            if _is_wanted(name):
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return target.getvalue()
