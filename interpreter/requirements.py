"""Checks that the modules a call needs are here, in the versions it needs, before it runs.

Versions compare as PEP 440 has it for release numbers and pre-releases; local
parts (``+cu121``) are left out of the comparison.
"""

import importlib
import re
import sys
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

_VERSION = re.compile(r"v?(?:\d+!)?(\d+(?:\.\d+)*)[-_.]?(a|alpha|b|beta|c|rc|pre|preview|dev|post)?[-_.]?(\d*)", re.I)
_CLAUSE = re.compile(r"\s*(===|==|!=|~=|>=|<=|>|<)\s*(\S+)\s*$")
_STAGES = {"dev": -4, "a": -3, "alpha": -3, "b": -2, "beta": -2, "c": -1, "rc": -1, "pre": -1, "preview": -1, "post": 1}

Version = Tuple[Tuple[int, ...], int, int]


def unmet(required: Mapping[str, str]) -> List[str]:
    """Return a sentence for each requirement, module name to specifier, that is not met here."""
    sentences = []
    for name, specifier in required.items():
        found = installed_version(name)
        if found is None:
            sentences.append("{} is not installed".format(name))
        elif not _meets(found, specifier):
            sentences.append("{} is {}, not {}".format(name, found or "of unknown version", specifier))
    return sentences


def _meets(version: str, specifier: str) -> bool:
    try:
        return matches(version, specifier)
    except ValueError:  # a version that cannot be read meets nothing
        return False


def installed_version(name: str) -> Optional[str]:
    """Return the version of a distribution or module; "" where it has none, None where it is not here."""
    if name == "python":
        return ".".join(str(part) for part in sys.version_info[:3])
    try:
        from importlib import metadata
    except ImportError:  # Python 3.6 and 3.7
        pass
    else:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    return str(getattr(module, "__version__", ""))


def matches(version: str, specifier: str) -> bool:
    """Say whether ``version`` meets ``specifier``, such as ``>=1.26,<3``; "" is met by any."""
    return all(_holds(version, clause) for clause in specifier.split(",") if clause.strip())


def _holds(version: str, clause: str) -> bool:
    match = _CLAUSE.match(clause)
    if match is None:
        raise ValueError("{!r} is not a version specifier such as '>=1.26'".format(clause))
    operator, wanted = match.groups()
    if operator == "===":
        return version == wanted
    if wanted.endswith(".*"):
        prefix = _parse(wanted[:-2])[0]
        same = _padded(_parse(version)[0], len(prefix))[: len(prefix)] == prefix
        return same if operator == "==" else not same
    have, want = _aligned(_parse(version), _parse(wanted))
    if operator == "~=":
        prefix = _parse(wanted)[0][:-1]
        return have >= want and have[0][: len(prefix)] == prefix
    compare: Dict[str, Callable[[Any, Any], bool]] = {
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        ">=": lambda a, b: a >= b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        "<": lambda a, b: a < b,
    }
    return compare[operator](have, want)


def _parse(text: str) -> Version:
    match = _VERSION.match(text)
    if match is None:
        raise ValueError("{!r} is not a version".format(text))
    release = tuple(int(part) for part in match.group(1).split("."))
    stage = _STAGES.get((match.group(2) or "").lower(), 0)
    return release, stage, int(match.group(3) or 0)


def _padded(release: Tuple[int, ...], length: int) -> Tuple[int, ...]:
    return release + (0,) * (length - len(release))


def _aligned(first: Version, second: Version) -> Tuple[Version, Version]:
    length = max(len(first[0]), len(second[0]))
    return (_padded(first[0], length),) + first[1:], (_padded(second[0], length),) + second[1:]
