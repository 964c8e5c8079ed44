"""Programs that carry commands, well or badly."""

import logging
import os
from pathlib import Path

import pytest

from sremote.connectors.address import parse_address
from sremote.connectors.command import CommandConnector
from sremote.connectors.errors import (
    ConnectionLost,
    HostError,
    HostFull,
    HostUnreachable,
    PermissionRefused,
    UsageError,
)
from sremote.connectors.registry import make_connector
from tests.kit.requirements import need_program


def command(text: str, **options: object) -> CommandConnector:
    connector = make_connector(parse_address(f"command:{text}"), **options)
    assert isinstance(connector, CommandConnector)
    return connector


def test_the_address_holds_the_program_and_its_arguments() -> None:
    with command("env GREETING='hello there'") as connector:
        assert connector.execute(["printenv", "GREETING"]).stdout == b"hello there\n"


def test_the_program_may_be_a_list() -> None:
    with command("", prefix=["env", "GREETING=hello there"]) as connector:
        assert connector.execute(["printenv", "GREETING"]).stdout == b"hello there\n"


def test_commands_start_in_the_home_directory(tmp_path: Path) -> None:
    with command("", prefix=["env", f"HOME={tmp_path}"]) as connector:
        assert connector.execute(["pwd"]).stdout == f"{tmp_path}\n".encode()


@pytest.mark.parametrize("shell", ["sh", "bash", "csh", "fish"])
def test_a_program_may_want_one_line_for_a_shell(shell: str) -> None:
    with command("", prefix=[need_program(shell, shell), "-c"], shell=True) as connector:
        assert connector.execute(["printf", "%s", "it's\n$HOME"]).stdout == b"it's\n$HOME"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "names no program"),
        ("", {"prefix": []}, "names no program"),
        ("", {"prefix": "env"}, "names no program"),
        ("echo 'hello", {}, "No closing quotation"),
        ("env", {"colour": "red"}, "colour"),
    ],
)
def test_an_address_that_cannot_be_is_refused(text: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        command(text, **options)


@pytest.mark.parametrize(
    ("text", "kind", "message", "remedy"),
    [
        ("no-such-program -x", UsageError, "no program 'no-such-program' on this machine", "Install it"),
        ("/etc/passwd", UsageError, "cannot start '/etc/passwd': Permission denied", None),
        (
            "sh -c 'echo No such container: box >&2; exit 1'",
            HostUnreachable,
            "No such container: box",
            "by hand: sh -c",
        ),
        ("false", HostUnreachable, "was not started.*status 1", "by hand: false true"),
        ("sh -c 'exec sh -c \"$*\"' sh", HostUnreachable, "not started", "needs shell=True"),
        ("sh -c 'exec \"$@\" </dev/null' sh", UsageError, "standard input of commands does not arrive", "-i"),
        ("sh -c 'exec \"$@\" | tr a-z A-Z' sh", HostUnreachable, "not started", None),
    ],
)
def test_a_program_that_cannot_carry_commands_is_said(
    text: str, kind: type[Exception], message: str, remedy: str | None
) -> None:
    with pytest.raises(kind, match=message) as caught:
        command(text).connect()
    assert remedy is None or remedy in str(caught.value)


def test_a_terminal_in_between_is_said() -> None:
    script = need_program("script", "bsdutils")
    with pytest.raises(UsageError, match="changed on the way") as caught:
        command("", prefix=[script, "-qe", "/dev/null", "-c"], shell=True).connect()
    assert "Leave out an option such as -t" in str(caught.value)


def test_a_program_that_never_answers_is_given_up() -> None:
    with pytest.raises(HostUnreachable, match=r"no answer within 0\.5 seconds"):
        command("sh -c 'sleep 20'", connect_timeout=0.5).connect()


def test_what_is_printed_before_the_command_is_dropped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sremote")
    with command("sh -c 'echo Welcome; echo Beware >&2; exec \"$@\"' sh") as connector:
        done = connector.execute(["sh", "-c", "echo out; echo err >&2"])
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
    assert "Welcome" in caplog.text
    assert "Beware" in caplog.text


def test_a_shell_that_shows_its_commands_does_not_confuse() -> None:
    with command("", prefix=["bash", "-vxc"], shell=True) as connector:
        done = connector.execute(["sh", "-c", "echo out; echo err >&2"])
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_startup_files_of_the_login_shell_may_print(client_home: Path) -> None:
    (client_home / ".config/fish").mkdir(parents=True)
    (client_home / ".config/fish/config.fish").write_text("echo Welcome\nprintf 'no line end'\n")
    with command("", prefix=[need_program("fish", "fish"), "-c"], shell=True) as connector:
        assert connector.execute(["echo", "hello"]).stdout == b"hello\n"
        connector.put(b"content", "file")
        assert connector.read("file") == b"content"


def test_a_host_that_stops_carrying_commands_is_said_at_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "up").touch()
    carrier = f'test -e {tmp_path}/up || {{ echo "box is not running" >&2; exit 1; }}; exec "$@"'
    with command("", prefix=["sh", "-c", carrier, "sh"]) as connector:
        (tmp_path / "up").unlink()
        with pytest.raises(HostError, match="the command was not started: box is not running"):
            connector.execute(["true"])
        with pytest.raises(HostError, match="box is not running"):
            connector.put(b"", f"{tmp_path}/file")


def test_a_carrier_that_loses_the_end_of_a_file_is_found_out(tmp_path: Path) -> None:
    """As kubectl exec has done: the output is cut, and the status is 0."""
    (tmp_path / "file").write_bytes(bytes(100_000))
    with command("env") as connector:
        connector.prefix = ["sh", "-c", '"$@" | head -c 50000', "sh"]
        with pytest.raises(ConnectionLost, match=r"file was cut on its way here"):
            connector.read(f"{tmp_path}/file")


@pytest.mark.parametrize(
    ("mount", "kind", "message"),
    [
        ("size=256k", HostFull, "No space left on device"),
        ("ro", PermissionRefused, "Read-only file system"),
        ("nr_inodes=1", HostFull, "No space left on device"),
    ],
)
def test_a_host_that_cannot_take_a_file_says_why(
    tmp_path: Path, mount: str, kind: type[Exception], message: str
) -> None:
    """Each command sees a small file system of its own."""
    need_program("unshare", "util-linux")
    script = f'mount -t tmpfs -o {mount} tmpfs {tmp_path} && exec "$@"'
    connector = command("", prefix=["unshare", "-rm", "sh", "-c", script, "sh"])
    try:
        connector.connect()
    except HostUnreachable as error:
        if os.geteuid() == 0 and os.environ.get("CI") == "true":
            raise
        pytest.skip(f"needs the right to mount a file system: {error.message}")
    with pytest.raises(kind, match=f"cannot write {tmp_path}/file: {message}"):
        connector.put(bytes(1 << 20), f"{tmp_path}/file")


def test_a_relative_path_needs_a_home() -> None:
    with command("env -u HOME") as connector, pytest.raises(HostError, match="HOME is not set"):
        connector.put(b"", "file")
