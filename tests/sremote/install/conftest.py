"""What the tests of the installer share: hosts that are set up in folders of their own, and a package index."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sremote.connection import open_host
from sremote.host import Host
from sremote.hosts import HostSettings
from sremote.installer import install
from tests.kit.packages import make_sdist, make_wheel, package_index


@pytest.fixture(autouse=True)
def pip_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip takes twice its time where coverage looks on, and none of it is ours."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of an index: see below for what there is."""
    folder = tmp_path_factory.mktemp("index")
    make_wheel(folder, "hammer", "1.0", script=True)
    make_wheel(folder, "hammer", "2.0", script=True)
    make_wheel(folder, "nail", "1.0", requires=["hammer>=2"])
    make_wheel(folder, "saw", "1.0", requires=["oldblade; python_version<'3.9'", "newblade; python_version>='3.9'"])
    make_wheel(folder, "oldblade", "1.0")
    make_wheel(folder, "newblade", "1.0")
    make_wheel(folder, "anvil", "1.0", tag="cp39-cp39-win_amd64")
    make_sdist(folder, "sandpaper", "1.0")
    make_sdist(folder, "furnace", "1.0", tag="cp399-cp399-linux_x86_64")
    return folder


@pytest.fixture(scope="session")
def index(packages: Path) -> Iterator[str]:
    with package_index(packages) as url:
        yield url


@pytest.fixture
def only_our_index(index: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let pip know no other index than ours."""
    _use_index(monkeypatch, index)
    return index


def _use_index(patch: pytest.MonkeyPatch, url: str) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        patch.delenv(name)
    patch.setenv("PIP_CONFIG_FILE", os.devnull)
    patch.setenv("PIP_INDEX_URL", url)


@pytest.fixture(scope="session")
def kept_tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory that all workers of a test run share."""
    return tmp_path_factory.getbasetemp().parent / "cache"


@pytest.fixture
def cache(kept_tools: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept_tools))
    return kept_tools


@pytest.fixture
def host(client_home: Path, only_our_index: str) -> Host:
    """This machine, never used before."""
    return open_host(HostSettings("local:"))


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory, index: str) -> Path:
    """A home directory whose default environment has hammer 1.0 and oldblade."""
    home = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        _use_index(patch, index)
        install(open_host(HostSettings("local:")), packages=["hammer==1.0", "oldblade"])
    return home


@pytest.fixture
def installed_host(host: Host, client_home: Path, prepared_home: Path) -> Host:
    """This machine with hammer 1.0 and oldblade installed, which were asked for as hammer==1.0 and oldblade."""
    shutil.copytree(prepared_home / ".sremote", client_home / ".sremote", symlinks=True)
    return host
