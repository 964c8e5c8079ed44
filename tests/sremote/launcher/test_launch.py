"""Launches on real hosts: order, files, windows, output, ends."""

import os
import re
from pathlib import Path

import pytest

from sremote.launcher import load
from tests.kit.sshd import SshServer
from tests.sremote.launcher.conftest import Seen, Write, processes_with, run

SCRIPT = """\
#!/bin/sh
echo "$0" "$@"
pwd
tty >/dev/null && echo on a terminal
"""


def test_the_example_of_remote_runner_runs_unchanged(known_hosts: list[SshServer], write: Write, seen: Seen) -> None:
    """Two indices on each host, one local, extra arguments and a muddler, as in the original's own example."""
    write("script.sh", SCRIPT)
    write("dir1/sub1/file1", "1")
    write("dir1/sub2/file2", "2")
    config = write(
        "config.py",
        """\
        component = Component()
        component.executable = 'script.sh'
        component.base_dir = 'testing'
        component.files = util.recursive_files_dict('dir1', '.')
        component.files['script.sh'] = 'script.sh'
        for arg in range(1, 3):
            for h in ('host0', 'host1', 'host2'):
                component.start_index = arg
                component.host = h
                component.name = 'script-%s-%s' % (arg, h)
                component.args = [str(arg), 'hello']
                component.args.extend(['--apple', extra_options.apple])
                component.wait = True
                if arg == 2:
                    component.base_dir = None
                config.add_component(component)
        component.name = 'local-script'
        component.host = 'localhost'
        component.base_dir = '/tmp'
        component.args = ['run', 'locally']
        component.files = {}
        config.add_component(component)
        """,
    )
    parser = write(
        "parser.py",
        """\
        import argparse
        def parse_args(extra_args, ssh_user):
            parser = argparse.ArgumentParser('Example')
            parser.add_argument('--apple', dest='apple', default='Honeycrisp')
            parser.add_argument('--screen', dest='screen')
            found = parser.parse_args(extra_args.split())
            found.user = ssh_user or 'unspecified'
            return found
        """,
    )
    muddler = write(
        "muddler.py",
        """\
        def muddle(config):
            for c in config.all_components():
                c.args.append('muddled')
        """,
    )

    extra = "--apple Fuji --screen other"
    result = run(config, seen, muddler=muddler, arg_parser=parser, extra_args=extra)

    assert [each.state for each in result.components] == ["succeeded"] * 7
    assert result.exit_status == 0
    home = known_hosts[0].home
    assert seen.output_of("script-1-host0") == [
        f"{home}/testing/script.sh 1 hello --apple Fuji muddled",
        f"{home}/testing",
        "on a terminal",
    ]
    temporary = seen.output_of("script-2-host1")[1]
    assert re.fullmatch(f"{known_hosts[1].folder}/tmp/sremote-runner-\\w{{8}}-\\w{{8}}", temporary)
    assert sorted(os.listdir(temporary)) == ["script.sh", "sub1", "sub2"]
    assert seen.output_of("local-script")[:2] == [f"{config.parent}/script.sh run locally muddled", "/tmp"]
    firsts = [seen.started_names.index(f"script-1-host{number}") for number in range(3)]
    seconds = [seen.started_names.index(f"script-2-host{number}") for number in range(3)]
    assert max(firsts) < min(seconds)
    assert [(each.multiplexer, each.files_sent) for each in result.hosts] == [("screen", 6)] * 3 + [("screen", 0)]


def test_a_rerun_copies_only_what_has_changed(known_hosts: list[SshServer], write: Write, tmp_path: Path) -> None:
    write("data/script.sh", SCRIPT)
    for number in range(5):
        write(f"data/sub/file{number}", "content")
    config = write(
        "config.py",
        """\
        for host in ('host0', 'host1'):
            c = Component(name=host, host=host, executable='script.sh', base_dir='~/rerun', wait=True)
            c.files = util.recursive_files_dict('data', '.')
            config.add_component(c)
        """,
    )
    assert [each.files_sent for each in run(config).hosts] == [6, 6]
    assert [(each.files_sent, each.files_unchanged) for each in run(config).hosts] == [(0, 6), (0, 6)]

    (tmp_path / "data/sub/file1").chmod(0o640)
    (tmp_path / "data/sub/file2").write_text("CONTENT")
    assert [each.files_sent for each in run(config).hosts] == [1, 1]
    there = known_hosts[1].home / "rerun/sub"
    assert (there / "file1").stat().st_mode & 0o777 == 0o640
    assert (there / "file2").read_text() == "CONTENT"
    assert [each.files_sent for each in run(config, always_copy=True).hosts] == [6, 6]


@pytest.mark.parametrize("multiplexer", ["screen", "tmux", "none"])
def test_arguments_arrive_word_for_word(
    known_hosts: list[SshServer], write: Write, seen: Seen, multiplexer: str
) -> None:
    words = [
        "two words",
        "",
        "$HOME",
        "`id`",
        '"quoted"',
        "it's",
        "back\\slash",
        "a;b&c|d",
        "*",
        "new\nline",
        "ü^A%n#~",
    ]
    write("words.sh", "#!/bin/sh\nfor word; do printf '<%s>\\n' \"$word\"; done\n")
    config = write(
        "config.py",
        f"""\
        c = Component(name='it"s $x ü', host='host0', executable='words.sh', args={words!r}, wait=True)
        c.files = {{'words.sh': 'words.sh'}}
        config.add_component(c)
        """,
    )
    result = run(config, seen, multiplexer=multiplexer)
    assert result.exit_status == 0
    assert "\n".join(line for _, line in seen.lines) == "".join(f"<{word}>\n" for word in words)[:-1]
    assert result.hosts[0].multiplexer == multiplexer.replace("none", "")
    assert bool(result.components[0].window) == (multiplexer != "none")


def test_those_that_are_not_waited_for_are_stopped_at_the_end_with_all_their_processes(
    known_hosts: list[SshServer], write: Write
) -> None:
    write("server.sh", "#!/bin/sh\n(setsid sleep 54321.1 &)\nsleep 54321.1\n")
    config = write(
        "config.py",
        """\
        c = Component(name='server', host='host0', executable='server.sh', files={'server.sh': 'server.sh'})
        config.add_component(c)
        config.add_component(Component(name='client', host='host1', executable='/bin/true', start_index=1, wait=True))
        """,
    )
    result = run(config)
    assert [(each.name, each.state) for each in result.components] == [("server", "stopped"), ("client", "succeeded")]
    assert result.exit_status == 0
    assert processes_with("54321.1") == []


def test_without_termination_they_run_on_until_the_next_launch_of_that_name(
    known_hosts: list[SshServer], write: Write, seen: Seen
) -> None:
    config = write(
        "config.py",
        """\
        c = Component(name='server', host='host0', executable='/bin/sleep', args=['54321.2'], base_dir='/tmp')
        config.add_component(c)
        c = Component(name='client', host='host0', executable='/bin/true', base_dir='/tmp', wait=True)
        config.add_component(c)
        """,
    )
    assert run(config, terminate=False).component("server").state == "running"
    assert len(processes_with("sleep 54321.2")) == 1
    other = run(config, screen="other")
    assert other.component("server").state == "stopped"
    assert len(processes_with("sleep 54321.2")) == 1, "launches of another name leave it alone"
    run(config, seen)
    assert "host0: stopped an earlier launch: server." in seen.stages
    assert processes_with("sleep 54321.2") == []


def test_no_kill_leaves_an_earlier_launch_running(known_hosts: list[SshServer], write: Write) -> None:
    config = write(
        "config.py",
        """\
        c = Component(name='server', host='host0', executable='/bin/sleep', args=['54321.3'], base_dir='/tmp')
        config.add_component(c)
        """,
    )
    first = run(config)
    second = run(config, kill_first=False)
    assert len(processes_with("sleep 54321.3")) == 2
    sessions = {each.components[0].window.split(":")[0] for each in (first, second) if each.components[0].window}
    assert len(sessions) == 1, "both have a window of the same session"
    write("config.py", "config.add_component(Component(name='x', host='host0', executable='/bin/true', wait=True))")
    run(config)
    assert processes_with("sleep 54321.3") == []


def test_the_plan_can_be_looked_at_before_it_runs(write: Write) -> None:
    write("run.sh", "#!/bin/sh\n")
    config = write(
        "config.py",
        """\
        c = Component(name='b', host='far', executable='run.sh', base_dir='/srv/x', files={'run.sh': 'run.sh'})
        c.start_index = 2
        config.add_component(c)
        config.add_component(Component(name='a', host='localhost', executable='run.sh', args=[1], start_index=1))
        """,
    )
    plan = load(config)
    assert plan.hosts == ["far", "localhost"]
    assert [[each.name for each in stage] for stage in plan.stages()] == [["a"], ["b"]]
    assert plan.components[0].argv == [str(config.parent / "run.sh"), "1"]
    (file,) = plan.on("far")[0].files
    assert (file.source, file.destination, file.size, file.mode) == (
        config.parent / "run.sh",
        "/srv/x/run.sh",
        10,
        0o755,
    )
