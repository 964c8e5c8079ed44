"""A host's Python as installers see it: which wheels fit it, and what markers mean there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packaging.tags import Tag, compatible_tags, cpython_tags, generic_tags, mac_platforms
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

_LEGACY_MANYLINUX = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
"""The older names of manylinux tags, PEP 600."""
_SHORT_NAMES = {"cpython": "cp", "pypy": "pp", "graalpy": "graalpy"}


@dataclass(frozen=True)
class Target:
    """A Python of a host, from the facts that ``interpreter/installation.py`` gathers there."""

    version: tuple[int, int]
    full_version: str
    """Such as ``3.12.1``."""
    implementation: str
    """The short name in tags: ``cp``, ``pp``."""
    abi: str
    """Such as ``cp312``, ``cp36m`` or ``pypy310_pp73``."""
    platforms: tuple[str, ...]
    """Platform tags, best first: ``manylinux_2_36_x86_64``, …, ``linux_x86_64``."""
    markers: Mapping[str, str]
    """The environment of requirement markers, PEP 508."""

    @property
    def minor(self) -> str:
        """The version as people write it: ``3.12``."""
        return f"{self.version[0]}.{self.version[1]}"

    def tags(self) -> frozenset[Tag]:
        """Return the tags of every wheel that this Python can install."""
        interpreter = f"{self.implementation}{self.version[0]}{self.version[1]}"
        own = (
            cpython_tags(self.version, [self.abi], self.platforms)
            if self.implementation == "cp"
            else generic_tags(interpreter, [self.abi], self.platforms)
        )
        return frozenset((*own, *compatible_tags(self.version, interpreter, self.platforms)))

    def fits(self, wheel: str) -> bool:
        """Say whether a wheel of this file name can be installed there."""
        try:
            *_, tags = parse_wheel_filename(wheel)
        except InvalidWheelFilename:
            return False
        return not tags.isdisjoint(self.tags())


def target_of(facts: Mapping[str, object]) -> Target:
    """Return the target that a host's ``python`` facts describe: shape as in ``installation.facts``."""
    version = facts["version"]
    markers = facts["markers"]
    assert isinstance(version, list)
    assert isinstance(markers, dict)
    name = str(markers["implementation_name"])
    implementation = _SHORT_NAMES.get(name, name)
    return Target(
        (version[0], version[1]),
        ".".join(map(str, version)),
        implementation,
        _abi(implementation, str(facts["soabi"]), version),
        tuple(_platforms(str(facts["platform"]), str(facts["libc"]))),
        markers,
    )


def _abi(implementation: str, soabi: str, version: list[int]) -> str:
    # SOABI is cpython-312-x86_64-linux-gnu, cpython-36m-x86_64-linux-gnu, pypy310-pp73-x86_64-linux-gnu.
    parts = soabi.split("-")
    if implementation == "cp":
        return f"cp{parts[1]}" if len(parts) > 1 else f"cp{version[0]}{version[1]}"
    return "_".join(parts[:2]) if len(parts) > 1 else "none"


def _platforms(platform: str, libc: str) -> Iterator[str]:
    """Give the platform tags of ``sysconfig.get_platform()`` and a C library such as ``glibc 2.36``."""
    name = platform.replace("-", "_").replace(".", "_")
    if platform.startswith("macosx-"):
        _, version, arch = platform.split("-", 2)
        major, minor = (*map(int, version.split(".")), 0)[:2]
        yield from mac_platforms((major, minor), arch)
        return
    kind, _, number = libc.partition(" ")
    if platform.startswith("linux-") and number.count(".") >= 1:
        arch = name.removeprefix("linux_")
        major, minor = map(int, number.split(".")[:2])
        # manylinux reaches back to glibc 2.5 on the x86 family and to 2.17 elsewhere, musllinux to 1.0.
        oldest = 0 if kind == "musl" else 5 if arch in ("x86_64", "i686") else 17
        for step in range(minor, oldest - 1, -1):
            yield f"{'musllinux' if kind == 'musl' else 'manylinux'}_{major}_{step}_{arch}"
            if kind == "glibc" and (major, step) in _LEGACY_MANYLINUX:
                yield f"{_LEGACY_MANYLINUX[major, step]}_{arch}"
    yield name
