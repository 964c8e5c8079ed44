"""Commands: argv reaches them as it is, and how they end is told."""

import signal
from pathlib import Path

import pytest

from sremote.errors import UsageError, WalltimeExceeded
from tests.interpreter.far_side import FarSide


def test_a_commands_output_and_exit_status_are_told(far_side: FarSide) -> None:
    job = far_side.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (job.exit_status(), job.stdout, job.stderr) == (3, "out\n", "err\n")
    assert far_side.run("true").exit_status() == 0


def test_arguments_arrive_exactly_as_they_are(far_side: FarSide) -> None:
    words = ["", " ", "a b", "'", '"', "$HOME", "`id`", "\\", "*", "new\nline", "\N{SNOWMAN}", "\udcff", "--", "-n"]
    job = far_side.run("printf", "%s\\0", *words)
    assert job.output("stdout") == b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words)


def test_what_is_given_as_standard_input_is_read(far_side: FarSide) -> None:
    content = bytes(range(256)) * 4096
    assert far_side.run("cat", stdin=content).output("stdout") == content


def test_standard_input_is_empty_unless_given(far_side: FarSide) -> None:
    assert far_side.run("wc", "-c").stdout.strip() == "0"


def test_the_signal_that_ended_a_command_is_told(far_side: FarSide) -> None:
    assert far_side.run("sh", "-c", "kill -TERM $$").exit_status() == -signal.SIGTERM


def test_a_broken_pipe_ends_a_commands_parts_as_in_a_shell(far_side: FarSide) -> None:
    job = far_side.run("sh", "-c", "yes | head -n 1")
    assert (job.exit_status(), job.stdout, job.stderr) == (0, "y\n", "")


def test_a_missing_command_is_told(far_side: FarSide) -> None:
    with pytest.raises(UsageError, match="no-such-command: No such file or directory"):
        far_side.run("no-such-command", "-x").exit_status()


def test_a_command_that_cannot_be_executed_is_told(far_side: FarSide, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(UsageError, match="file: Permission denied"):
        far_side.run(str(tmp_path / "file")).exit_status()


def test_a_command_is_found_in_the_path_that_the_request_gives(far_side: FarSide, tmp_path: Path) -> None:
    (tmp_path / "my-command").write_text("#!/bin/sh\necho found\n")
    (tmp_path / "my-command").chmod(0o755)
    assert far_side.run("my-command", surroundings={"path": [str(tmp_path)]}).stdout == "found\n"


def test_a_command_is_stopped_at_its_time_limit(far_side: FarSide) -> None:
    job = far_side.run("sh", "-c", "echo started; sleep 100", walltime=0.5)
    with pytest.raises(WalltimeExceeded) as caught:
        job.exit_status()
    assert caught.value.remote.stdout == "started\n"


def test_an_argument_that_no_command_can_take_is_an_exception(far_side: FarSide) -> None:
    with pytest.raises(ValueError, match="null byte"):
        far_side.run("echo", "a\0b").exit_status()
