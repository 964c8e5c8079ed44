"""What a job prints is kept, byte for byte, and never mixes with the protocol."""

import subprocess

import pytest

from tests.interpreter.far_side import FarSide, by_name, read_response

MEBIBYTE = 1 << 20


def test_both_streams_are_kept_apart_from_each_other_and_from_the_value(far_side: FarSide) -> None:
    job = far_side.do("print_both", "out \N{SNOWMAN}", "err \udc80")
    assert (job.result(), job.stdout, job.stderr) == (None, "out \N{SNOWMAN}\n", "err \\udc80\n")


def test_output_without_a_newline_at_its_end_is_kept(far_side: FarSide) -> None:
    job = far_side.do("print_unfinished")
    assert (job.stdout, job.stderr) == ("no newline", "here neither")


def test_bytes_that_are_written_to_the_descriptors_are_kept_as_they_are(far_side: FarSide) -> None:
    job = far_side.do("write_descriptors")
    assert (job.output("stdout"), job.output("stderr")) == (b"\x00\xff\xfe out\n", b"\x80 err\n")
    assert job.stderr == "\\x80 err\n"


def test_the_output_of_child_processes_is_kept(far_side: FarSide) -> None:
    job = far_side.do("run_child")
    assert (job.stdout, job.stderr) == ("child\n", "child-error\n")


def test_of_very_long_output_the_middle_is_left_out_and_counted(this_side: FarSide) -> None:
    job = this_side.do("print_much", 40 * MEBIBYTE)
    output = job.output("stdout")
    note = b"\n[sremote: 25165824 bytes left out here]\n"
    assert job.message.header["omitted"] == {"stdout": 24 * MEBIBYTE}
    assert output == b"0123456789abcde\n" * (MEBIBYTE // 2) + note + b"0123456789abcde\n" * (MEBIBYTE // 2)


def test_threads_and_exit_handlers_finish_and_what_they_print_is_kept(far_side: FarSide) -> None:
    job = far_side.do("print_by_thread_and_atexit")
    assert (job.result(), job.stdout) == ("returned", "thread\natexit")


@pytest.mark.parametrize(
    ("function", "result", "printed"),
    [
        ("close_output", "done", "before"),
        ("replace_output", None, "to the first"),
        ("forget_output", "done", ""),
        ("print_past_the_replacement", None, "past it"),
    ],
)
def test_a_function_may_do_what_it_likes_to_sys_stdout(
    far_side: FarSide, function: str, result: object, printed: str
) -> None:
    job = far_side.do(function)
    assert (job.result(), job.stdout) == (result, printed)


def test_there_is_nothing_to_read_from_standard_input(far_side: FarSide) -> None:
    assert far_side.do("read_input").result() == ""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_output_is_kept_where_the_interpreter_itself_was_started_without_streams(
    far_side: FarSide, closed: str
) -> None:
    source, response = far_side.folder / "request", far_side.folder / "response"
    source.write_bytes(far_side.request(by_name("deeds", "run_child")).to_bytes())
    command = f'exec sh "$0" "$@" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, far_side.script, source, response], env=far_side.environment, check=True
    )
    assert done.returncode == 0
    job = read_response(response)
    assert (job.result(), job.stdout, job.stderr) == (None, "child\n", "child-error\n")
