"""``client.call_function``: a function of the user's own file runs on a host that does not have that file."""

import asyncio
import datetime
import functools
import importlib
import operator
import os.path
import random
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path, PurePosixPath

import numpy
import pytest

import sremote
from sremote.errors import NotInstalled, RemoteError, UsageError, ValueRefused, VersionMismatch
from tests.kit.pythons import installed_pythons
from tests.sremote import user_functions, user_types
from tests.sremote.user_types import Colour, NotAllowed, Pair, Point

OTHER_MINOR = [python for python in installed_pythons() if python.minor != sys.version_info[1]]


@pytest.fixture(scope="module")
def other_client(local_client):
    """A client of a host whose Python is another one."""
    with sremote.connect("local:", root=local_client.host.root, python=str(OTHER_MINOR[-1].path)) as client:
        yield client


class TestOnEveryPython:
    """Source text goes to any Python, and means the same there."""

    @pytest.mark.parametrize(
        ("function", "arguments", "value"),
        [
            (user_functions.double, [4], 8),
            (user_functions.with_helper, [4], 9),
            (user_functions.with_constants, [2], (6, {"one": [1, 2.5]})),
            (user_functions.with_modules, [], ([1], 2, "b", 5.0, user_functions.Fraction(1, 2))),
            (user_functions.with_classes_of_packages, [], (Path("a/b"), PurePosixPath("a"), "JSONDecodeError")),
            (user_functions.with_submodule, [], 8),
            (user_functions.with_logger_and_pattern, [], ["a", "b"]),
            (user_functions.with_defaults, [1], (1, 3, {"one": [1, 2.5]})),
            (user_functions.with_annotations, [5], 5),
            (user_functions.is_even, [7], False),
            (user_functions.decorated, [4], 8),
            (user_functions.decorated_without_wraps, [3], 6000),
            (user_functions.fibonacci, [10], 55),
            (user_functions.with_cached, [10], 55),
            (user_functions.make_adder(5, [1]), [3], (8, 5, [1], "keeps\nits   shape")),
            (user_functions.make_recursive(), [3], 0),
            (user_functions.recursive_lambda, [4], 24),
            (user_functions.LAMBDAS[1], [3], 5),
            (user_functions.LAMBDAS[3], [3], 9),
            (user_functions.with_class, [2], 6),
            (user_functions.Counter.start, [], 0),
            (user_functions.Counter.scaled_by_class, [2], 6),
            (user_functions.change_global, [], 4),
        ],
        ids=lambda value: getattr(value, "__qualname__", ""),
    )
    def test_a_function_gives_its_value(self, far_client, function, arguments, value):
        assert far_client.call_function(function, *arguments) == value

    def test_keywords_are_passed_on(self, far_client):
        assert far_client.call_function(user_functions.with_defaults, 1, b=2, table={}) == (1, 2, {})

    @pytest.mark.matrix
    def test_its_traceback_shows_its_own_lines(self, far_client):
        with pytest.raises(TypeError) as caught:
            far_client.call_function(user_functions.double, None)
        assert "return 2 * x" in caught.value.remote.traceback

    def test_dataclasses_of_the_file_travel_both_ways(self, far_client):
        if far_client.host.probe().version < (3, 7):  # before dataclasses
            with pytest.raises(NotInstalled, match="needs dataclasses"):
                far_client.call_function(user_types.shift, Point(1), 2)
            return
        found = far_client.call_function(user_types.shift, Point(1, 2, ["a"]), 2)
        assert found == Point(3, 2, ["a", "shifted"])
        assert type(found) is Point

    @pytest.mark.matrix
    def test_enums_and_named_tuples_travel_both_ways(self, far_client):
        assert far_client.call_function(user_types.other, Colour.RED) is Colour.BLUE
        found = far_client.call_function(user_types.swap, Pair(1, 2))
        assert found == Pair(2, 1)
        assert type(found) is Pair


@pytest.mark.matrix
class TestLambdas:
    def test_one_in_the_middle_of_a_call_is_found(self, client):
        assert client.call_function(lambda x: x + 1, 3) == 4

    def test_one_on_a_line_of_its_own_is_found(self, client):
        found = client.call_function(
            lambda x: x * 2,
            3,
        )
        assert found == 6

    def test_of_several_on_a_line_the_right_one_is_sent(self, client):
        functions = [lambda x: x + 1, lambda x: x - 1, lambda x: -x, lambda: 1, lambda: 2, lambda x: [-y for y in x]]
        found = [client.call_function(function, 3) for function in functions[:3]]
        assert found == [4, 2, -3]
        assert [client.call_function(function) for function in functions[3:5]] == [1, 2]
        assert client.call_function(functions[5], (1, 2)) == [-1, -2]

    def test_one_that_goes_over_several_lines_is_found(self, client):
        function = lambda x: (  # noqa: E731
            "a"
            if x
            else
            "b"
        )  # fmt: skip
        assert client.call_function(function, False) == "b"

    def test_its_closure_comes_along(self, client):
        amount = 5
        assert client.call_function(lambda x: x + amount, 3) == 8

    def test_defaults_are_those_of_its_making(self, client):
        functions = [lambda x, k=k: (x, k) for k in range(3)]
        assert [client.call_function(function, 0) for function in functions] == [(0, 0), (0, 1), (0, 2)]

    def test_one_inside_another_comes_along(self, client):
        amount = 3
        assert client.call_function(lambda xs: sorted(xs, key=lambda x: -x * amount), [1, 3, 2]) == [3, 2, 1]


class TestInstalled:
    """What an installed package has goes by its name, whatever way leads to it."""

    @pytest.mark.parametrize(
        ("function", "arguments", "value"),
        [
            (len, [[1, 2]], 2),
            (os.path.join, ["a", "b"], "a/b"),
            (operator.add, [1, 2], 3),
            (str.upper, ["a"], "A"),
            (random.randint, [2, 2], 2),
            (datetime.date.fromordinal, [1], datetime.date(1, 1, 1)),
            (datetime.timedelta, [1], datetime.timedelta(1)),
            (datetime.date.isoformat, [datetime.date(1, 1, 1)], "0001-01-01"),
            (dict.fromkeys, ["ab"], {"a": None, "b": None}),
        ],
    )
    def test_it_is_called_by_name(self, client, function, arguments, value):
        assert client.call_function(function, *arguments) == value

    def test_numpy_functions_are_called_by_name(self, local_client):
        with sremote.connect("local:", root=local_client.host.root, python=sys.executable) as client:
            assert client.call_function(numpy.linalg.norm, [3, 4]) == 5
            assert client.call_function(numpy.hypot, 3, 4) == 5

    def test_a_copy_under_the_same_name_is_not_taken_for_it(self, client):
        @functools.wraps(os.path.join)
        def join(*parts):
            return "|".join(parts)

        assert client.call_function(join, "a", "b") == "a|b"


class TestRefusals:
    @pytest.mark.parametrize(
        ("make", "kind"),
        [
            (lambda: open(os.devnull), "TextIOWrapper"),  # noqa: SIM115
            (lambda: socket.socket(), "socket"),
            (lambda: threading.Lock(), "lock"),
            (lambda: (x for x in ()), "generator"),
        ],
        ids=["file", "socket", "lock", "generator"],
    )
    def test_a_closure_over_something_of_this_process_is_named(self, client, make, kind):
        held = make()

        def function():
            return held

        try:
            with pytest.raises(ValueRefused, match=f"'function' cannot be sent: it uses 'held', a {kind}") as caught:
                client.call_function(function)
            assert "inside the function" in caught.value.remedy
        finally:
            if hasattr(held, "close"):
                held.close()

    def test_also_where_a_helper_holds_it(self, client):
        def function():
            return user_functions_with_lock()

        user_functions_with_lock = user_functions.with_lock
        with pytest.raises(ValueRefused, match="uses 'LOCK', a lock of this process"):
            client.call_function(function)

    def test_a_module_of_the_user_as_a_whole_is_refused(self, client):
        with pytest.raises(ValueRefused, match=r"your module .*user_functions' as a whole") as caught:
            client.call_function(call_through_module)
        assert caught.value.remedy == "Import what it needs by name."

    def test_two_things_of_one_name_are_refused(self, client):
        def double(x):
            return x

        def function(x):
            return double(x) + user_with_helper(x)

        user_with_helper = user_functions.with_helper
        with pytest.raises(ValueRefused, match="two different things called 'double'"):
            client.call_function(function, 1)

    def test_a_bound_method_tells_the_other_way(self, client):
        with pytest.raises(ValueRefused, match="bound to a Point") as caught:
            client.call_function(Point(1).__eq__, None)
        assert "Send Point.__eq__, and the object as its argument" in caught.value.remedy

    def test_a_partial_tells_the_other_way(self, client):
        with pytest.raises(ValueRefused, match=r"functools\.partial"):
            client.call_function(functools.partial(user_functions.double, 1))

    @pytest.mark.parametrize("thing", [3, "os.getpid", None])
    def test_what_cannot_be_called_is_refused(self, client, thing):
        with pytest.raises(UsageError, match="is not a function"):
            client.call_function(thing)

    def test_a_generator_function_has_no_value(self, client):
        with pytest.raises(ValueRefused, match=r"returned value is a builtins\.generator"):
            client.call_function(user_functions.count, 3)

    def test_a_coroutine_function_has_no_value(self, client):
        async def function():
            await asyncio.sleep(0)

        with pytest.raises(ValueRefused, match=r"returned value is a builtins\.coroutine"):
            client.call_function(function)

    def test_a_type_that_is_not_allowed_is_named_with_the_remedy(self, client):
        with pytest.raises(ValueRefused, match=r"NotAllowed") as caught:
            client.call_function(user_types.length, NotAllowed(1))
        assert "sremote.allow" in caught.value.remedy
        with pytest.raises(ValueRefused, match=r"returned value is a .*NotAllowed"):
            client.call_function(user_types.make_not_allowed)

    def test_syntax_too_new_for_the_host_is_a_version_mismatch(self, tmp_path, local_client):
        function = defined_in(tmp_path, "def function(x):\n    match x:\n        case 1:\n            return 2\n")
        old = [python for python in installed_pythons() if python.minor < 10]
        if not old:
            pytest.skip("needs a Python older than 3.10")
        with (
            sremote.connect("local:", root=local_client.host.root, python=str(old[0].path)) as client,
            pytest.raises(VersionMismatch, match=rf"Python 3\.{old[0].minor} cannot read the function's source"),
        ):
            client.call_function(function, 1)

    def test_without_source_it_goes_to_the_same_python_only(self, local_client, other_client):
        space = {"__name__": "__main__"}
        exec("def function(x):\n    return x + step\nstep = 2\n", space)
        if local_client.host.same_python():
            assert local_client.call_function(space["function"], 1) == 3
        there = ".".join(map(str, other_client.host.probe().version[:2]))
        with pytest.raises(VersionMismatch, match=rf"no source text; .* has Python {there}") as caught:
            other_client.call_function(space["function"], 1)
        assert "in a file" in caught.value.remedy

    def test_an_error_of_its_own_class_comes_as_text(self, client):
        class Special(Exception):
            pass

        def function():
            raise Special("x")

        with pytest.raises(RemoteError, match="Special: x"):
            client.call_function(function)


class TestScripts:
    """Functions of a script, of a session at the prompt, of a file beside the script."""

    def run(self, folder: Path, *command: str, **options) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=60, **options
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @pytest.mark.matrix
    def test_a_function_of_a_script(self, tmp_path, far_python):
        (tmp_path / "helpers.py").write_text("FACTOR = 3\ndef scale(x):\n    return FACTOR * x\n")
        (tmp_path / "script.py").write_text(
            textwrap.dedent(
                f"""
                from dataclasses import dataclass
                import sremote
                from helpers import scale

                @sremote.allow
                @dataclass
                class Point:
                    x: int

                def shift(point, by):
                    return Point(scale(point.x) + by)

                if __name__ == "__main__":
                    with sremote.connect("local:", root={str(tmp_path / "root")!r}, python={far_python!r}) as client:
                        print(client.call_function(shift, Point(2), 1))
                """
            )
        )
        assert self.run(tmp_path, "script.py") == "Point(x=7)\n"

    @pytest.mark.matrix
    def test_a_function_typed_at_the_prompt(self, tmp_path):
        typed = textwrap.dedent(
            f"""
            import sremote
            client = sremote.connect("local:", root={str(tmp_path / "root")!r}, python={sys.executable!r})
            step = 2
            def add(x):
                return x + step

            print(client.call_function(add, 1))
            client.close()
            """
        )
        assert self.run(tmp_path, "-i", input=typed) == "3\n"


@pytest.fixture(params=["same", "other"])
def far_python(request) -> str:
    return sys.executable if request.param == "same" else str(OTHER_MINOR[-1].path)


def call_through_module(x):
    return user_functions.double(x)


def defined_in(folder: Path, text: str):
    """Return the ``function`` that a file with this text defines."""
    path = folder / "written.py"
    path.write_text(text)
    space = {"__name__": "written"}
    exec(compile(text, path, "exec"), space)
    return space["function"]


def test_a_class_of_the_functions_own_module_comes_back_though_another_has_its_name(
    local_client, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    text = "from dataclasses import dataclass\n@dataclass\nclass Twin:\n    x: int\ndef twin(x):\n    return Twin(x)\n"
    modules = []
    for name in ("one_of_two", "two_of_two"):
        (tmp_path / f"{name}.py").write_text(text)
        modules.append(importlib.import_module(name))
        sremote.allow(modules[-1].Twin)
    for module in modules:
        assert local_client.call_function(module.twin, 3) == module.Twin(3)
