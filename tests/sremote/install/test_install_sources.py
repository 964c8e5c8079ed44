"""Installing from git repositories and from projects and wheels of this machine."""

import subprocess
from pathlib import Path

import pytest

from sremote.errors import HostUnreachable, NotInstalled, UsageError
from sremote.host import Host
from sremote.installer import install
from sremote.requirements import git_source
from tests.kit.packages import make_project, make_wheel
from tests.kit.requirements import need_program
from tests.sremote.install.looking import environment, run_in, tree

VALUE = "import chisel; print(chisel.VALUE)"


def git(folder: Path, *arguments: str) -> str:
    command = [need_program("git", "git"), "-C", folder, "-c", "user.name=A", "-c", "user.email=a@example.org"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def commit(folder: Path, value: int) -> str:
    """Commit a project whose module has that VALUE, always as version 1.0."""
    make_project(folder, "chisel", "1.0", text=f"VALUE = {value}\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", f"value {value}")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with tag v1 (VALUE 1) and branch next (VALUE 2); main is at v1."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--initial-branch=main")
    commit(folder, 1)
    git(folder, "tag", "-a", "-m", "one", "v1")
    git(folder, "checkout", "-b", "next")
    commit(folder, 2)
    git(folder, "checkout", "main")
    return folder


def test_a_repository_is_built_and_installed_once(installed_host: Host, repository: Path) -> None:
    report = install(installed_host, git=[f"{repository.as_uri()}@v1"])
    assert run_in(environment(installed_host), VALUE) == "1"
    assert report.commits == {"chisel": git(repository, "rev-parse", "main")}
    assert report.differences == {"chisel": (None, "1.0")}
    said: list[str] = []
    report = install(installed_host, git=[f"{repository.as_uri()}@v1"], progress=lambda _, text: said.append(text))
    assert not report.changed
    assert not any(text.startswith("building") for text in said)


@pytest.mark.long
def test_a_new_commit_is_installed_though_its_version_is_the_same(installed_host: Host, repository: Path) -> None:
    install(installed_host, git=[f"{repository.as_uri()}@main"])
    moved = commit(repository, 3)
    report = install(installed_host, git=[f"{repository.as_uri()}@main"])
    assert run_in(environment(installed_host), VALUE) == "3"
    assert report.commits == {"chisel": moved}


def test_a_ref_may_be_a_branch_a_tag_or_a_commit(repository: Path) -> None:
    from sremote.sources import commit_of

    first, second = git(repository, "rev-parse", "main"), git(repository, "rev-parse", "next")
    url = repository.as_uri()
    for ref, expected in (("", first), ("@v1", first), ("@next", second), (f"@{second}", second)):
        assert commit_of(git_source(url + ref)) == expected


def test_a_ref_that_is_not_there_is_named(host: Host, repository: Path) -> None:
    with pytest.raises(UsageError, match="no branch or tag 'v9'"):
        install(host, git=[f"{repository.as_uri()}@v9"])


def test_a_repository_that_is_not_there_is_named(host: Host, tmp_path: Path) -> None:
    with pytest.raises(HostUnreachable, match=r"git cannot read file:///.*nowhere"):
        install(host, git=[f"file://{tmp_path}/nowhere"])


@pytest.mark.long
def test_a_project_may_be_in_a_folder_of_its_repository(installed_host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    make_project(folder / "py", "chisel", "1.0", text="VALUE = 7\n")
    git(folder, "init", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "all")
    install(installed_host, git=[f"{folder.as_uri()}@main#subdirectory=py"])
    assert run_in(environment(installed_host), VALUE) == "7"


@pytest.mark.long
def test_a_project_of_this_machine_is_installed_again_only_when_it_changed(
    installed_host: Host, tmp_path: Path
) -> None:
    project = make_project(tmp_path / "chisel", "chisel", "1.0", text="VALUE = 1\n")
    install(installed_host, packages=[str(project)])
    assert run_in(environment(installed_host), VALUE) == "1"
    assert not install(installed_host, packages=[str(project)], dry_run=True).changed
    make_project(project, "chisel", "1.0", text="VALUE = 2\n")
    assert install(installed_host, packages=[str(project)], dry_run=True).changed


def test_a_wheel_for_another_machine_is_refused_before_anything_is_sent(host: Host, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "chisel", "1.0", tag="cp39-cp39-win_amd64")
    with pytest.raises(NotInstalled, match=r"win_amd64.whl here, which does not fit Python 3\."):
        install(host, packages=[str(wheel)])
    assert not Path(host.probe().root, "env").exists()


def test_a_build_that_fails_says_its_last_words(host: Host, tmp_path: Path) -> None:
    project = make_project(tmp_path / "chisel", "chisel", "1.0")
    (project / "backend.py").write_text("raise SystemExit('the forge is cold')")
    before = tree(tmp_path)
    with pytest.raises(NotInstalled, match="the forge is cold"):
        install(host, packages=[str(project)])
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("text", "url", "ref"),
    [
        ("https://example.org/it.git", "https://example.org/it.git", ""),
        ("https://example.org/it.git@v1", "https://example.org/it.git", "v1"),
        ("git+https://example.org/it@feature/x", "https://example.org/it", "feature/x"),
        ("ssh://git@example.org/it.git@main", "ssh://git@example.org/it.git", "main"),
        ("git@example.org:group/it.git@main", "ssh://git@example.org/group/it.git", "main"),
        ("file:///srv/it@v1", "file:///srv/it", "v1"),
    ],
)
def test_a_repository_is_written_as_git_writes_it(text: str, url: str, ref: str) -> None:
    source = git_source(text)
    assert (source.url, source.ref) == (url, ref)


def test_a_password_in_a_url_is_not_shown() -> None:
    assert git_source("https://me:secret@example.org/it@v1").text == "https://me@example.org/it@v1"


@pytest.mark.parametrize("text", ["", "it", "-x", "https://example.org"])
def test_what_is_no_repository_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a git repository"):
        git_source(text)
