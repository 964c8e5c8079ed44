"""The plan: what is checked before anything is touched, here and on the hosts."""

import sys
from pathlib import Path

import pytest

from sremote.errors import UsageError
from sremote.launcher import Component, Config, make_plan
from tests.sremote.launcher.conftest import Write, run


def planned(**attributes: object) -> None:
    config = Config()
    config.add_component(Component(**{"name": "c", "host": "far", "executable": "/bin/x", **attributes}))
    make_plan(config)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"name": ""}, "name is ''"),
        ({"name": "a\nb"}, "not a line of text"),
        ({"host": 3}, "host is 3"),
        ({"args": "-x"}, "args is '-x'; it must be a list"),
        ({"args": ["a\0b"]}, "zero byte"),
        ({"base_dir": 7}, "base_dir is 7"),
        ({"files": ["x"]}, "files must be a dict"),
        ({"files": {"/no/such/file": "x"}}, "its file /no/such/file: No such file"),
        ({"files": {"/dev/null": "x"}}, "/dev/null is neither a file nor a folder"),
        ({"host": "localhost", "files": {"/etc/passwd": "x"}}, "it can have no files"),
        ({"host": "localhost"}, "its executable /bin/x is not there"),
        ({"host": "localhost", "executable": "/etc/passwd"}, "no permission to be executed"),
        ({"executable": "run.sh"}, "not among its files, which go to a temporary folder"),
        ({"executable": "run.sh", "files": {"/etc/passwd": "run.sh"}}, "chmod \\+x /etc/passwd"),
        ({"start_index": "1"}, "start_index is '1'"),
        ({"env": []}, "env must be a dict"),
        ({"on_failure": "ignore"}, "it is one of continue, stop, restart"),
        ({"ready": "yes"}, "ready is 'yes'"),
        ({"ready": {"port": 0}}, "0 is not a port"),
        ({"ready": {"output": "("}}, "not a regular expression"),
        ({"ready": {"port": 1, "file": "x"}}, "a dict with 'port', 'output' or 'file'"),
        ({"ready": {"file": "x", "timeout": 0}}, "not a number of seconds"),
    ],
)
def test_what_is_wrong_with_a_component_is_told(attributes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        planned(**attributes)


def test_all_that_is_wrong_is_told_at_once() -> None:
    config = Config()
    config.add_component(Component(host="h", executable="/x"))
    config.add_component(Component(name="twice", host="h", executable="/x", files={"/etc/passwd": "/etc/a"}))
    config.add_component(Component(name="twice", host="h", executable="/x", files={"/etc/group": "/etc/a"}))
    config.add_component(Component(name="early", host="h", executable="/x", start_index=None))
    with pytest.raises(UsageError) as caught:
        make_plan(config)
    assert str(caught.value).splitlines() == [
        "a component without a name: name must be set",
        "early: start_index is None, which is not a number",
        "several components are called 'twice': give each its own name",
        "twice and twice: /etc/passwd and /etc/group both go to /etc/a on h",
    ]
    with pytest.raises(UsageError, match="has no components"):
        make_plan(Config())


def test_what_is_wrong_on_a_host_is_told_before_anything_is_touched(write: Write, tmp_path: Path) -> None:
    write("run.sh", "#!/bin/sh\n")
    write("there/folder/x", "")
    write("there/plain", "")
    config = write(
        "config.py",
        f"""\
        there = {str(tmp_path / "there")!r}
        def add(name, **attributes):
            config.add_component(Component(name=name, host='local:', **attributes))
        add('a', executable='/no/such', base_dir=there)
        add('b', executable=there + '/plain')
        add('c', executable='/bin/true', base_dir=there + '/none')
        add('d', executable='/bin/true', base_dir=there + '/plain')
        add('e', executable='/bin/true', files={{'run.sh': there + '/folder'}})
        add('f', executable='/bin/true', files={{'run.sh': there + '/plain/run.sh'}})
        add('g', executable=there, files={{'there': there + '/plain'}})
        add('fine', executable='run.sh', base_dir=there + '/new', files={{'run.sh': 'run.sh'}})
        """,
    )
    with pytest.raises(UsageError) as caught:
        run(config, remote_done_dir="/no/done")
    there = tmp_path / "there"
    assert set(str(caught.value).splitlines()) == {
        "a on local: its executable /no/such is not there, and not among its files",
        f"b on local: its executable {there}/plain has no permission to be executed: chmod +x",
        f"c on local: its base_dir {there}/none is not there, and no files go into it",
        f"d on local: its base_dir {there}/plain is not a folder",
        f"e on local: {there}/folder is a folder there",
        f"f on local: {there}/plain is not a folder there",
        f"g on local: its executable {there} is not a file",
        f"g on local: {there}/plain is not a folder there",
        "--remote-done-dir on local: /no/done is not there, or cannot be written to",
    }
    assert not (there / "new").exists()
    assert not list((tmp_path / "there").glob("*.part"))


def test_a_host_without_the_program_that_was_asked_for_is_told(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write("config.py", "config.add_component(Component(name='a', host='localhost', executable='/bin/true'))")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "env"):
        (folder / name).symlink_to(f"/bin/{name}")
    (folder / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(UsageError, match="there is no tmux on localhost"):
        run(config, multiplexer="tmux")
    assert run(config).hosts[0].multiplexer == ""
