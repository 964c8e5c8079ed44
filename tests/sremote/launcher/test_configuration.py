"""The configuration and the user's other files: what they find, and what is said of their mistakes."""

import pytest

from sremote.errors import UsageError
from sremote.launcher import Component, Config, LaunchOptions, load, recursive_files_dict
from sremote.launcher.user_files import load_configuration
from tests.sremote.launcher.conftest import Write


def test_a_misspelt_attribute_is_an_error_that_names_the_right_one() -> None:
    component = Component()
    with pytest.raises(AttributeError, match="no attribute 'exectuable': did you mean 'executable'"):
        component.exectuable = "x"
    with pytest.raises(AttributeError, match="there are args, base_dir"):
        component.zzz = 1
    with pytest.raises(AttributeError, match="name has not been set"):
        _ = component.name


def test_adding_copies_so_that_a_component_may_be_changed_and_added_again() -> None:
    config = Config()
    component = Component(name="a", host="h1", executable="/x", args=["1"])
    config.add_component(component)
    component.name, component.host = "b", "localhost"
    component.args.append("2")
    config.add_component(component)
    first, second = config.all_components()
    assert (first.name, first.args, second.name, second.args) == ("a", ["1"], "b", ["1", "2"])
    assert [each.name for each in config.all_remote_components()] == ["a"]
    assert [each.name for each in config.all_local_components()] == ["b"]
    assert config.all_hosts() == {"h1", Config.LOCAL_HOST}
    config.check_names_unique()
    config.add_component(component)
    with pytest.raises(UsageError, match="several components are called 'b'"):
        config.check_names_unique()
    config.clear_components()
    assert list(config.all_components()) == []


def test_a_component_tells_what_has_not_been_set() -> None:
    component = Component(name="x")
    assert component.get_missing_attributes() == ["executable", "host"]
    assert not component.all_set()
    with pytest.raises(UsageError, match="x: executable, host must be set"):
        component.check_all_set()


def test_recursive_files_dict_lists_all_files_below_a_folder(write: Write) -> None:
    folder = write("d/a", "").parent
    write("d/sub/c", "")
    assert recursive_files_dict(str(folder), "/x") == {f"{folder}/a": "/x/a", f"{folder}/sub/c": "/x/sub/c"}
    with pytest.raises(FileNotFoundError):
        recursive_files_dict("/no/such", ".")


def test_the_example_of_the_original_page_loads_as_it_stands(write: Write) -> None:
    """It uses a bare ``localhost``, aliases, and sets no ``wait``."""
    write("path/executable", "#!/bin/sh\n")
    write("executable", "#!/bin/sh\n")
    write("d/file", "")
    write("other/d/file", "")
    plan = load(
        write(
            "config.py",
            """\
            main = Component()
            main.name = 'My main'
            main.base_dir = '/home/me/subdir'
            main.executable = 'executable'
            main.args = ['-a', 'something', '-b', 'more']
            main.files = util.recursive_files_dict('d', '.')
            main.files.update(util.recursive_files_dict('other/d', '/abs/dest'))
            main.files['path/executable'] = 'executable'
            main.host = '192.168.2.20'
            main.start_index = 1
            config.add_component(main)
            other = main
            other.name = 'My other'
            other.host = '192.168.2.50'
            config.add_component(other)
            local = other
            local.host = localhost
            local.args = ['I run locally',]
            local.start_index = 5
            local.name = 'Local thing'
            local.files = {}
            config.add_component(local)
            """,
        )
    )
    assert [each.name for each in plan.components] == ["My main", "My other", "Local thing"]
    assert sorted(file.destination for file in plan.components[0].files) == [
        "/abs/dest/file",
        "/home/me/subdir/executable",
        "/home/me/subdir/file",
    ]


def test_the_users_files_see_each_other_and_the_options(write: Write) -> None:
    write("beside.py", "names = ['a', 'b']")
    parser = write(
        "parser.py",
        """\
        import optparse
        def parse_args(extra_args, ssh_user):
            parser = optparse.OptionParser()
            parser.add_option('-c', dest='color')
            parser.add_option('--user', dest='user')
            return parser.parse_args(extra_args.split())[0]
        """,
    )
    muddler = write(
        "muddler.py",
        """\
        def muddle(config):
            extra = Component()
            extra.name, extra.host, extra.executable = extra_options.color, 'localhost', '/bin/true'
            extra.args = [options.screen, options.ssh_user, str(options.no_zombie)]
            config.add_component(extra)
        """,
    )
    config = write(
        "config.py",
        """\
        import os
        from beside import names
        assert os.path.exists('beside.py')
        for name in names:
            config.add_component(Component(name=name, host='localhost', executable='/bin/true'))
        """,
    )
    options = LaunchOptions(
        user="me", muddler=muddler, arg_parser=parser, extra_args="-c red --user you", screen="s", zombie=False
    )
    components = list(load_configuration(config, options).all_components())
    assert [each.name for each in components] == ["a", "b", "red"]
    assert components[2].args == ["s", "me", "True"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x = 1\nc = Component()\nc.nmae = 'x'\n", 3, "AttributeError: a Component has no attribute 'nmae'"),
        ("x = (\n", 1, "was never closed"),
        ("print 'x'\n", 1, "Missing parentheses"),
        ("for i in xrange(3): pass\n", 1, "in Python 3 it is range"),
        ("{}.iteritems()\n", 1, "in Python 3 it is items"),
        ("def f():\n    1/0\nf()\n", 2, "ZeroDivisionError"),
        ("import sys\nsys.exit('give me a host')\n", 2, "give me a host"),
        ("config.add_component('x')\n", 1, "takes a Component"),
        ("config = 3\n", None, "'config' is not the one that was given"),
    ],
)
def test_a_mistake_in_the_configuration_is_told_with_its_file_and_line(
    write: Write, text: str, line: int | None, said: str
) -> None:
    path = write("config.py", text)
    with pytest.raises(UsageError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert said in str(caught.value)


def test_a_mistake_in_the_other_files_is_told_with_their_file_and_line(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write("config.py", "config.add_component(Component(name='a', host='localhost', executable='/bin/true'))")
    muddler = write("muddler.py", "def muddle(config):\n    config.nothing\n")
    with pytest.raises(UsageError, match=r"muddler\.py:2: AttributeError"):
        load(config, muddler=muddler)
    with pytest.raises(UsageError, match="defines no function parse_args"):
        load(config, arg_parser=muddler, extra_args="x")
    parser = write(
        "parser.py",
        """\
        import argparse
        def parse_args(extra_args, ssh_user):
            parser = argparse.ArgumentParser('theirs')
            parser.add_argument('--number', type=int)
            return parser.parse_args(extra_args.split())
        """,
    )
    with pytest.raises(UsageError, match=r"parser\.py:5: .*argument --number: invalid int value: 'x'"):
        load(config, arg_parser=parser, extra_args="--number x")
    with pytest.raises(SystemExit, match="0"):
        load(config, arg_parser=parser, extra_args="--help")
    assert "theirs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"extra_args": "-x"}, "--extra-args need a file"),
        ({"screen": "a b"}, "cannot be the name of a session"),
        ({"max_hosts_at_once": 0}, "too few"),
        ({"multiplexer": "byobu"}, "no multiplexer"),
        ({"muddler": "none.py"}, "there is no muddler file none.py"),
    ],
)
def test_options_that_cannot_be_are_refused(write: Write, options: dict[str, object], said: str) -> None:
    config = write("config.py", "config.add_component(Component(name='a', host='localhost', executable='/bin/true'))")
    with pytest.raises(UsageError, match=said):
        load(config, **options)


def test_a_configuration_that_is_not_there_is_told() -> None:
    with pytest.raises(UsageError, match=r"there is no configuration file /no/such\.py"):
        load("/no/such.py")
