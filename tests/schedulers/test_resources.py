"""What a user may ask of a scheduler, and in which words."""

import pytest

from sremote.connectors.batch import Resources
from sremote.errors import UsageError
from sremote.schedulers.resources import read_resources


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1:30:00", 5400),
        ("1-12:00:00", 129600),
        ("90m", 5400),
        ("1d12h", 129600),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("90s", 90),
        ("3600", 3600),
        (60, 60),
        (0.5, 0.5),
    ],
)
def test_a_walltime_in_the_ways_that_people_write_it(text: object, seconds: float) -> None:
    assert read_resources({"walltime": text}).walltime == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 << 30), ("4GB", 4 << 30), ("4 GiB", 4 << 30), ("512m", 512 << 20), ("1.5k", 1536), (1024, 1024)],
)
def test_a_memory_in_the_ways_that_people_write_it(text: object, size: int) -> None:
    assert read_resources({"memory": text}).memory == size


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"walltime": "1:30"}, "'walltime' is '1:30', which is not a duration"),
        ({"walltime": "soon"}, "'walltime' is 'soon', which is not a duration"),
        ({"walltime": 0}, "'walltime' is 0, which leaves no time"),
        ({"memory": "lots"}, "'memory' is 'lots', which is not a size"),
        ({"memory": 0}, "'memory' is 0"),
        ({"nodes": 0}, "'nodes' is 0, which is not a whole number"),
        ({"nodes": "two"}, "'nodes' is 'two'"),
        ({"cores": True}, "'cores' is True"),
        ({"queue": "a b"}, "'queue' is 'a b', which is not one word"),
        ({"queue": "a\n#SBATCH --uid=0"}, "'queue' is "),
        ({"requeue": "perhaps"}, "'requeue' is 'perhaps'"),
        ({"extra": 3}, "'extra' is 3"),
        ({"preamble": 3}, "'preamble' is 3"),
        ({"launcher": "a\nb"}, "'launcher' is "),
        ({"at_once": 2}, "'at_once' limits an array"),
        ([("nodes", 2)], "is not resources"),
    ],
)
def test_a_value_that_cannot_be_names_its_key(given: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_resources(given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "meant"),
    [("node", "nodes"), ("partition", "queue"), ("time", "walltime"), ("mem", "memory"), ("ntasks", "tasks")],
)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(key: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"there is no resource '{key}'.*\n.*Did you mean '{meant}'"):
        read_resources({key: 1})


def test_a_key_like_no_other_is_sent_to_extra() -> None:
    with pytest.raises(UsageError, match="goes into 'extra'"):
        read_resources({"licenses": "matlab"})


def test_nothing_asked_is_nothing_told() -> None:
    assert read_resources(None) == read_resources({"nodes": None}) == Resources()
    assert read_resources(Resources(nodes=2)) == Resources(nodes=2)


def test_lists_may_be_given_as_one_text() -> None:
    found = read_resources({"extra": "#SBATCH -C gpu\n#SBATCH -q debug", "preamble": ["a", "b"], "requeue": "yes"})
    assert list(found.extra) == ["#SBATCH -C gpu", "#SBATCH -q debug"]
    assert (found.preamble, found.requeue) == ("a\nb", True)
