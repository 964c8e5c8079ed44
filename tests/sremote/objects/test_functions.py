"""Functions over there: by their names, with values that both sides know."""

import datetime
import math
import operator
from typing import Any

import pytest

import sremote
from sremote.errors import RemoteError, ValueRefused
from sremote.objects import ObjectClient, RemoteException, define_common
from sremote.objects import remote_code as code  # type: ignore[attr-defined]


def test_a_common_function_is_called_by_its_name(remote: ObjectClient) -> None:
    assert remote.add(3, 4) == 7
    assert remote.call("add", "a", b="b") == "ab"


def test_functions_of_modules_need_no_import(remote: ObjectClient) -> None:
    assert remote.os.path.join("a", "b") == "a/b"
    assert remote.subprocess.call(["true"]) == 0
    assert remote.xml.etree.ElementTree.fromstring.value is not None
    assert remote.max([1, 3, 2]) == 3


def test_a_common_function_runs_here_as_well() -> None:
    assert code.add(1, 2) == 3


@pytest.mark.parametrize(
    "value",
    [None, 1.5, "text", b"bytes", [1, (2, {3: {4}})], datetime.date(2020, 2, 2), 10**30, range(3)],
    ids=lambda value: type(value).__name__,
)
def test_data_comes_back_as_it_went(remote: ObjectClient, value: Any) -> None:
    assert remote.same(value) == value


def test_requests_and_answers_may_have_any_size(remote: ObjectClient) -> None:
    for size in (100_000, 200_000, 3_000_000):
        assert remote.same(b"x" * size) == b"x" * size


def test_arrays_travel(local_remote: ObjectClient) -> None:
    numpy = pytest.importorskip("numpy")
    assert local_remote.same([numpy.arange(5), 1])[0].tolist() == [0, 1, 2, 3, 4]


def test_instances_of_common_classes_travel(remote: ObjectClient) -> None:
    assert remote.mirrored(code.Point(1, 2)) == code.Point(2, 1)
    assert remote.kind_of(code.Point(1, 2)) == "Point"
    slotted = remote.same([code.Slotted(1, [code.Point(3, 4)])])[0]
    assert (slotted.one, slotted.other) == (1, [code.Point(3, 4)])
    names = remote.same(code.Names(["a", code.Size(5)]))
    assert (type(names), names, type(names[1])) == (code.Names, ["a", 5], code.Size)
    assert remote.same({code.Color.RED: code.Made(1, 2)})[code.Color.RED].pair == (1, 2)


def test_instances_that_hold_themselves_travel(remote: ObjectClient) -> None:
    node = remote.same([code.Node()])[0]
    assert node.next is node
    one, same = remote.same([node, node])
    assert one is same


def test_functions_and_classes_go_by_name(remote: ObjectClient) -> None:
    assert remote.map(code.add, [1, 2], [3, 4]).__next__() == 4
    assert remote.same(code.Point) is code.Point
    assert remote.same(int) is int
    assert remote.functools.reduce(operator.mul, [1, 2, 3, 4]) == 24
    assert remote.list(remote.map(math.sqrt, [4.0])) == [2.0]
    assert remote.same(code.add) is code.add


def test_what_has_no_name_over_there_is_refused_before_it_goes(remote: ObjectClient) -> None:
    with pytest.raises(ValueRefused, match=r"Define it in common: define_common\(source\)"):
        remote.map(lambda value: value, [1])
    with pytest.raises(ValueRefused):
        remote.same(object())


def test_what_is_not_common_does_not_come_back(remote: ObjectClient) -> None:
    remote.execblock("class Hidden: pass")
    with pytest.raises(ValueRefused, match="Hidden, which is not defined in common"):
        remote.eval("Hidden()")
    with pytest.raises(ValueRefused, match=r"_thread\.lock: not plain data") as caught:
        remote.locked(origexc="quiet")
    assert "make_server_class" in str(caught.value)


def test_a_name_that_leads_nowhere_is_an_attribute_error(remote: ObjectClient) -> None:
    with pytest.raises(AttributeError, match="there is no 'nothing' here"):
        remote.nothing(origexc="quiet")
    with pytest.raises(AttributeError, match="has no 'nothing'"):
        remote.os.nothing(1, origexc="quiet")
    with pytest.raises(AttributeError, match="is private"):
        remote.os._exit(1)


def test_values_of_names_are_read_and_set(remote: ObjectClient) -> None:
    assert remote.math.pi.value == math.pi
    remote.a_name.value = [1]
    assert remote.a_name.value == [1]
    remote.sys.an_attribute.value = 5
    assert remote.eval("__import__('sys').an_attribute") == 5
    with pytest.raises(AttributeError, match="is set with"):
        remote.sys.an_attribute = 6


def test_expressions_and_blocks_run_among_the_common_code(remote: ObjectClient) -> None:
    assert remote.eval("add(1, 2)") == 3
    assert remote.execblock("total = add(3, 4)\nexec_return(total)\ntotal = 0") == 7
    assert remote.eval("total") == 7
    assert remote.execblock("pass") is None


def test_modules_are_names(remote: ObjectClient) -> None:
    assert remote.import_module("os.path").join("a", "b") == "a/b"
    assert [name.value is not None for name in remote.import_modules("json", "math")] == [True, True]
    assert remote.same(math).sqrt(9.0) == 3.0


# --- definitions -----------------------------------------------------------------------------


def test_what_is_defined_later_is_there_after_an_update(local_remote: ObjectClient) -> None:
    define_common("def defined_later():\n    return Point(1, 2)")
    local_remote.update_definitions()
    local_remote.update_definitions()
    assert local_remote.defined_later() == code.Point(1, 2)


def test_another_module_of_common_code(local_connection: sremote.Client) -> None:
    define_common("def who():\n    return __name__", name="another.place")
    with local_connection.objects(definitions="another.place") as remote:
        assert remote.who() == "another.place"
        assert remote.eval("__import__('another.place', fromlist=['who']).who()") == "another.place"


def test_what_is_defined_only_there_stays_there(local_connection: sremote.Client) -> None:
    define_common("class Far:\n    pass\ndef number():\n    return 5", name="only.there", local=False)
    with local_connection.objects(definitions="only.there") as remote:
        assert remote.number() == 5
        with pytest.raises(ValueRefused, match=r"only\.there\.Far"):
            remote.Far()


def test_an_error_in_common_code_shows_its_line(local_connection: sremote.Client) -> None:
    define_common("def well():\n    pass\nraise KeyError('there')", name="broken.there", local=False)
    with pytest.raises(KeyError) as caught:
        local_connection.objects(definitions="broken.there")
    assert "raise KeyError('there')" in caught.value.remote.traceback  # type: ignore[attr-defined]


# --- exceptions ------------------------------------------------------------------------------


def test_an_exception_is_raised_here_and_its_traceback_printed(
    remote: ObjectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="wrong") as caught:
        remote.raise_error("wrong")
    printed = capsys.readouterr().err
    assert "in raise_error\n    raise ValueError(message)" in printed
    assert printed.endswith("ValueError: wrong\n")
    assert caught.value.remote.host  # type: ignore[attr-defined]


def test_a_quiet_exception_prints_nothing(remote: ObjectClient, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="wrong"):
        remote.raise_error("wrong", origexc="quiet")
    assert capsys.readouterr().err == ""


def test_an_exception_may_be_had_as_remote_exception(remote: ObjectClient) -> None:
    with pytest.raises(RemoteException) as caught:
        remote.raise_error("wrong", origexc=False)
    assert isinstance(caught.value.orig, ValueError)
    assert "in raise_error" in caught.value.text


def test_a_common_exception_of_any_signature_comes_back(remote: ObjectClient) -> None:
    with pytest.raises(code.TwoArguments, match="1 and") as caught:
        remote.raise_two_arguments(origexc="quiet")
    assert (caught.value.first, caught.value.second) == (1, [2])
    error = remote.same([code.TwoArguments(1, 2)])[0]
    assert (type(error), error.args, error.second) == (code.TwoArguments, ("1 and 2",), 2)


def test_an_exception_that_is_unknown_here_is_a_remote_error(remote: ObjectClient) -> None:
    remote.execblock("class Odd(Exception): pass\ndef raise_odd(): raise Odd('it is')")
    with pytest.raises(RemoteError, match="Odd: it is"):
        remote.raise_odd(origexc="quiet")


def test_another_way_to_report_exceptions(local_connection: sremote.Client) -> None:
    reported = []

    class Reporting(ObjectClient):
        def report_exception(self, error: BaseException, text: str) -> None:
            reported.append((type(error), text.splitlines()[-1]))

    with Reporting(local_connection.session(echo=False)) as remote, pytest.raises(ValueError, match="wrong"):
        remote.raise_error("wrong")
    assert reported == [(ValueError, "ValueError: wrong")]


def test_sys_exit_over_there_ends_the_call_only(remote: ObjectClient) -> None:
    with pytest.raises(RemoteError, match="SystemExit"):
        remote.sys.exit(3, origexc="quiet")
    assert remote.add(1, 1) == 2
