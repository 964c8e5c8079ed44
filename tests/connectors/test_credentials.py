"""Secrets come from where the user says, and messages never show them."""

import sys
from pathlib import Path

import pytest

from sremote.connectors.credentials import find_secret, prompted_secret
from sremote.connectors.errors import SignInRefused, UsageError

SECRET = "s3cr3t-value"


def test_a_private_file_gives_its_line(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text(SECRET + "\n")

    secret = find_secret("password", file=file)

    assert secret is not None
    assert (secret.read(), secret.origin) == (SECRET, str(file))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_that_others_may_read_is_refused_with_what_mends_it(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "password"
    file.write_text(SECRET)
    file.chmod(mode)
    secret = find_secret("password", file=file)

    assert secret is not None
    with pytest.raises(SignInRefused, match="chmod 600") as refusal:
        secret.read()
    assert SECRET not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    secret = find_secret("token", file=tmp_path / "nowhere")

    assert secret is not None
    with pytest.raises(SignInRefused, match=r"the token cannot be read: .*nowhere: No such file"):
        secret.read()


def test_an_environment_variable_gives_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = find_secret("password", variable="GATEWAY_PASSWORD")
    assert secret is not None

    with pytest.raises(SignInRefused, match="GATEWAY_PASSWORD, which is to hold the password, is not set"):
        secret.read()
    monkeypatch.setenv("GATEWAY_PASSWORD", SECRET)
    assert secret.read() == SECRET


def test_a_program_prints_it_and_is_asked_each_time(tmp_path: Path) -> None:
    count = tmp_path / "count"
    program = f"import pathlib; p = pathlib.Path({str(count)!r}); p.open('a').write('x'); print(len(p.read_text()))"
    secret = find_secret("token", command=[sys.executable, "-c", program])

    assert secret is not None
    assert [secret.read(), secret.read()] == ["1", "2"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sh -c 'echo s3cr3t-value; exit 3'", "ended with status 3"),
        ("no-such-program", "cannot be run: No such file"),
        ("true", "is empty"),
        ("printf 's3cr3t-value\\nsecond'", "more than one line"),
    ],
)
def test_a_program_that_gives_none_says_why_and_not_what(command: str, message: str) -> None:
    secret = find_secret("token", command=command)

    assert secret is not None
    with pytest.raises(SignInRefused, match=message) as refusal:
        secret.read()
    assert SECRET not in str(refusal.value)


def test_two_origins_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="from 2 places"):
        find_secret("password", file="here", variable="THERE")


def test_no_origin_is_none() -> None:
    assert find_secret("password") is None


def test_a_user_who_does_not_answer_is_not_signed_in() -> None:
    def prompt(_text: str, _echo: bool) -> str:
        raise EOFError

    with pytest.raises(SignInRefused, match="not answered: Password"):
        prompted_secret(prompt, "Password: ").read()


def test_a_secret_does_not_show_when_printed() -> None:
    assert SECRET not in repr(find_secret("password", variable="NAME"))
