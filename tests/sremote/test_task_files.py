"""Tasks from a file: lines for sh, and JSON objects."""

import pytest

from sremote.errors import UsageError
from sremote.task_files import read_tasks


def test_a_line_is_for_sh_unless_it_is_a_json_object() -> None:
    tasks = read_tasks(["# what to do\n", "\n", "  make all  \n", '{"command": ["ls", "-l"]}\n'], "file")
    assert [(task.target["kind"], list(task.args)) for task in tasks] == [
        ("shell", ["make all"]),
        ("command", ["ls", "-l"]),
    ]


def test_an_object_says_all_that_a_task_may() -> None:
    call = '{"module": "m", "function": "f", "args": [1], "kwargs": {"k": 2}, "priority": 3, "timeout": 4, '
    (task,) = read_tasks([call + '"own_process": true, "after": [7]}'], "file")
    assert (task.target, task.args, task.kwargs) == ({"kind": "name", "module": "m", "function": "f"}, [1], {"k": 2})
    assert (task.priority, task.timeout, task.own_process, task.after) == (3, 4, True, [7])


def test_a_task_comes_after_others_by_the_names_that_they_have_in_the_file() -> None:
    first, second = read_tasks(['{"shell": "a", "name": "one"}', '{"shell": "b", "after": ["one"]}'], "file")
    assert second.after == [first]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "this is no JSON"),
        ('{"shell": "a", "colour": 1}', "a task has no 'colour'"),
        ("{}", "one of shell, command"),
        ('{"shell": "a", "command": ["b"]}', "one of shell, command"),
        ('{"module": "m"}', "needs a function"),
        ('{"command": "ls"}', "'ls' is not a list"),
        ('{"command": []}', r"\[\] is not a command"),
        ('{"shell": "a", "after": ["later"]}', "comes after 'later'"),
        ('{"shell": "a", "after": 1}', "1 is not a list"),
        ('{"shell": "a", "priority": true}', "priority is True, not a int"),
        ('{"module": "m", "function": "f", "args": 3}', "args is 3"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"tasks.txt, line 2: .*{message}"):
        read_tasks(["true", line], "tasks.txt")
