"""Windows of screen and tmux: seen and typed to by a person, through a real terminal."""

import os
import re
import subprocess
from pathlib import Path

import pexpect
import pytest

from tests.kit.program import PROGRAM
from tests.kit.sshd import SshServer
from tests.sremote.launcher.conftest import Write, plan_of, run, sremote, sremote_json, wait_until

GO = """\
until [ -e go ]; do sleep 0.02; done
seq 300000
echo through > through
"""
TALKER = """\
#!/bin/sh
stty -echo
echo "who is there?"
read name
echo "hello $name"
stty size
read again
exit 3
"""


@pytest.fixture
def talker(known_hosts: list[SshServer], write: Write) -> Path:
    """A configuration of a component that asks who is there."""
    write("talker.sh", TALKER)
    return write(
        "config.py",
        """\
        c = Component(name='other', host='host0', executable='/bin/sleep', args=['54321.13'], base_dir='/tmp')
        config.add_component(c)
        c = Component(name='talker', host='host0', executable='talker.sh', files={'talker.sh': 'talker.sh'})
        config.add_component(c)
        """,
    )


def terminal(command: list[str], **environment: str) -> pexpect.spawn:
    """Start a command on a terminal of 30 lines and 100 columns."""
    variables = {**os.environ, "TERM": "xterm", **environment}
    return pexpect.spawn(command[0], command[1:], env=variables, encoding="utf-8", timeout=60, dimensions=(30, 100))


@pytest.mark.parametrize("multiplexer", ["screen", "tmux"])
def test_a_person_sees_a_component_types_to_it_and_leaves(talker: Path, multiplexer: str) -> None:
    run(talker, multiplexer=multiplexer)
    shown = terminal([str(PROGRAM), "launch", "--attach", "talker"])
    shown.expect("who is there")
    shown.sendline("ünä")
    shown.expect("hello ünä")
    shown.expect("30 100" if multiplexer == "screen" else "29 100")  # tmux keeps a line for itself
    shown.send("\x01d" if multiplexer == "screen" else "\x02d")
    shown.expect(pexpect.EOF)
    shown.close()
    assert shown.exitstatus == 0

    (found,) = [each for each in sremote_json("launch", "--status")["components"] if each["name"] == "talker"]
    assert found["state"] == "running", "it runs on when its window is left"
    assert sremote("launch", "--logs", "talker").stdout.splitlines()[:2] == ["who is there?", "hello ünä"]
    sremote("launch", "--stop")


@pytest.mark.parametrize("multiplexer", ["screen", "tmux"])
def test_one_can_attach_by_hand_and_see_how_a_component_has_ended(talker: Path, write: Write, multiplexer: str) -> None:
    write("ends.sh", "#!/bin/sh\necho last words\nexit 3\n")
    config = write(
        "config.py", "config.add_component(Component(name='ends', host='localhost', executable='ends.sh', wait=True))"
    )
    run(config, multiplexer=multiplexer)
    command = ["screen", "-x", "runner"] if multiplexer == "screen" else ["tmux", "attach", "-t", "runner"]
    shown = terminal(command)
    shown.expect("last words")
    shown.expect(re.escape("[ends: exit status 3]"))
    shown.close(force=True)


@pytest.mark.parametrize("multiplexer", ["screen", "tmux"])
def test_without_zombies_a_session_ends_with_its_components(write: Write, multiplexer: str) -> None:
    config = write(
        "config.py",
        "config.add_component(Component(name='x', host='localhost', executable='/bin/true', wait=True))",
    )
    listing = ["screen", "-ls"] if multiplexer == "screen" else ["tmux", "list-sessions"]

    def listed() -> str:
        return subprocess.run(listing, capture_output=True, text=True, check=False).stdout

    run(config, multiplexer=multiplexer)
    assert "runner" in listed()
    run(config, multiplexer=multiplexer, zombie=False)
    wait_until(lambda: "runner" not in listed(), "the session's end")


def test_a_component_sees_a_window_that_changes_its_size(talker: Path, write: Write) -> None:
    write("size.sh", "#!/bin/sh\ntrap 'stty size' WINCH\necho begun\nwhile :; do sleep 0.05; done\n")
    config = write("config.py", "config.add_component(Component(name='x', host='localhost', executable='size.sh'))")
    run(config)
    shown = terminal([str(PROGRAM), "launch", "--attach", "x"])
    shown.expect("30 100")
    shown.setwinsize(20, 70)
    shown.expect("20 70")
    shown.close(force=True)
    sremote("launch", "--stop")


def test_a_window_that_is_held_up_holds_up_no_component_and_no_input_is_lost(write: Write, tmp_path: Path) -> None:
    """Somebody scrolls back in screen, which then takes nothing from the window; and pastes more than a line holds."""
    write("much.sh", "#!/bin/sh\nstty raw -echo\nhead -c 50000 | wc -c > got\n" + GO)
    config = write(
        "config.py",
        f"""\
        c = Component(name='much', host='localhost', executable='much.sh', base_dir={str(tmp_path)!r})
        config.add_component(c)
        """,
    )
    window = run(config).components[0].window
    assert window is not None
    session, _, number = window.partition(":")
    (tmp_path / "pasted").write_text("x" * 50000)
    for command in (["readbuf", tmp_path / "pasted"], ["paste", "."]):
        subprocess.run(["screen", "-S", session, "-p", number, "-X", *command], check=True)
    wait_until((tmp_path / "got").exists, "all that was pasted")
    shown = terminal(["screen", "-x", session, "-p", number])
    shown.send("\x01[")
    shown.expect("Copy mode")
    (tmp_path / "go").touch()
    wait_until((tmp_path / "through").exists, "the end of the output")
    assert (tmp_path / "got").read_text().strip() == "50000"
    shown.close(force=True)
    sremote("launch", "--stop")
    assert sremote("launch", "--logs", "much").stdout.splitlines()[-1] == "300000"


def test_attaching_needs_a_window_and_a_terminal(write: Write) -> None:
    config = write(
        "config.py",
        "config.add_component(Component(name='x', host='localhost', executable='/bin/sleep', args=['54321.14']))",
    )
    run(config, multiplexer="none")
    assert "x has no window on localhost" in sremote("launch", "--attach", "x", status=2).stderr
    run(config)
    told = sremote("launch", "--attach", "x", status=2).stderr
    assert "there is no terminal here to attach" in told
    command = sremote_json("launch", "--attach", "x")["command"]
    assert command[:2] == ["screen", "-x"]
    assert " ".join(command) in told
    assert "there is no component 'y'" in sremote("launch", "--attach", "y", status=2).stderr
    assert sremote_json("launch", "--stop") == {"stopped": ["x"], "errors": {}}


def test_the_environment_and_the_done_file_are_as_asked_for(write: Write, tmp_path: Path) -> None:
    write("show.sh", '#!/bin/sh\necho "$GREETING"\nexit 4\n')
    config = write(
        "config.py",
        """\
        c = Component(name='x', host='localhost', executable='show.sh', env={'GREETING': 'a=b  c'}, wait=True)
        config.add_component(c)
        """,
    )
    plan_of(config, remote_done_dir=str(tmp_path)).run()
    assert sremote_json("launch", "--logs") == {"logs": {"x": ["a=b  c"]}}
    assert (tmp_path / "x.done").read_text() == "4\n"
