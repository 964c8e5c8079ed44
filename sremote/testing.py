"""The tests that every connector passes.

A connector's own tests derive one class, and pytest collects what applies to it::

    class TestMyConnector(ConnectorConformance):
        connector_class = MyConnector

        @pytest.fixture
        def connector(self):
            with MyConnector(parse_address("mine://host")) as connector:
                yield connector

The host needs a POSIX shell and its common programs.  Everything happens in
``folder``, a new temporary folder there, and in the home directory, which must be
writable; both are as they were afterwards.  A connector without ``execute`` needs a
second one, ``host``, that looks at the same host.
"""

from __future__ import annotations

import io
import os
import secrets
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ClassVar, Literal

import pytest

from sremote.connectors.base import Capability, Connector, Process
from sremote.connectors.errors import (
    ConnectionLost,
    FileMissing,
    HostError,
    LineError,
    LineTimeout,
    PermissionRefused,
)
from sremote.connectors.quiet import NOISE_LIMIT
from sremote.connectors.stream import StreamConnector
from sremote.faulty import Fault, FaultyConnector
from sremote.interpreter.errors import SremoteError
from sremote.testing_batch import BatchConformance
from sremote.testing_needs import PATIENCE, eventually, has, needs

__all__ = ["ConnectorConformance", "Fault", "FaultyConnector"]

ALL_BYTES = bytes(range(256))
BIG = ALL_BYTES * (5 << 12)
"""5 MiB."""

AWKWARD = [
    "two  words",
    "'single' \"double\"",
    "line\nbreak",
    "trailing newline\n",
    "\n",
    "$HOME ${HOME} $(id) `id`",
    "back\\slash \\n \\\\",
    "bang! !! !x",
    "* ? [a-z] {a,b} ~ ^",
    "a;b & c | d > e < f #g",
    "%s %% %d",
    "=ls",
    "tab\tand\x7fcontrol\x01",
    "naïve Ω 漢字 🙂",
    os.fsdecode(b"\xff\xfe not UTF-8"),
    "-n",
]
"""Words that a shell, or several, would change, and that are file names too."""


class ConnectorConformance(BatchConformance):
    """What a user may rely on, whatever the connector.  Each test is a sentence of the contract."""

    connector_class: ClassVar[type[Connector]]
    """The class under test; its capabilities decide which tests are collected."""
    file_names: ClassVar[Sequence[str]] = AWKWARD
    """Names that files may have; a gateway may not let all of them through."""
    replaces_at_once: ClassVar[bool] = True
    """Whether a file that is replaced is the old one or the new one at any time; some gateways have no rename."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not hasattr(cls, "connector_class"):
            return
        for name in dir(cls):
            if not all(has(cls.connector_class, wanted) for wanted in getattr(getattr(cls, name), "needs", ())):
                setattr(cls, name, None)
        if not cls.replaces_at_once:
            cls.test_a_file_is_replaced_at_once = None  # type: ignore[assignment,method-assign]

    @pytest.fixture
    def connector(self) -> Iterator[Connector]:
        """A connected connector; every subclass gives its own."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture called connector")

    @pytest.fixture
    def host(self, connector: Connector) -> Connector:
        """A connector to the same host that can execute commands, to look at what came of things."""
        return connector

    @pytest.fixture
    def folder(self, host: Connector) -> Iterator[str]:
        """An empty folder on the host, as an absolute path."""
        path = host.execute(["mktemp", "-d"]).stdout.decode().strip()
        yield path
        host.execute(["rm", "-rf", path])

    # --- commands -------------------------------------------------------------------------

    @needs(Capability.EXECUTE)
    @pytest.mark.parametrize("word", [*AWKWARD, ""], ids=ascii)
    def test_an_argument_arrives_as_it_is(self, connector: Connector, word: str) -> None:
        assert _echo(connector, [word]) == [word]

    @needs(Capability.EXECUTE)
    def test_all_arguments_arrive_in_order(self, connector: Connector) -> None:
        assert _echo(connector, [*AWKWARD, "", "-", "--", ""]) == [*AWKWARD, "", "-", "--", ""]

    @needs(Capability.EXECUTE)
    def test_a_long_argument_arrives_whole(self, connector: Connector) -> None:
        word = "long 'word' " * 2000
        assert _echo(connector, [word]) == [word]

    @needs(Capability.EXECUTE)
    def test_a_command_starts_in_the_home_directory(self, connector: Connector) -> None:
        here, home = _sh(connector, 'pwd -P; cd "$HOME"; pwd -P').stdout.splitlines()
        assert here == home

    @needs(Capability.EXECUTE)
    @pytest.mark.parametrize("size", [1, 4096, 4097, len(BIG)])
    def test_standard_input_is_binary(self, connector: Connector, size: int) -> None:
        assert connector.execute(["cat"], stdin=BIG[:size]).stdout == BIG[:size]

    @needs(Capability.EXECUTE)
    def test_standard_input_may_be_a_file(self, connector: Connector) -> None:
        assert connector.execute(["cat"], stdin=io.BytesIO(BIG)).stdout == BIG

    @needs(Capability.EXECUTE)
    def test_standard_input_is_at_its_end_where_there_is_none(self, connector: Connector) -> None:
        assert connector.execute(["cat"], timeout=PATIENCE).stdout == b""

    @needs(Capability.EXECUTE)
    def test_a_command_need_not_read_its_input(self, connector: Connector) -> None:
        assert connector.execute(["true"], stdin=BIG, timeout=PATIENCE).status == 0

    @needs(Capability.EXECUTE)
    def test_output_and_errors_are_binary_and_apart(self, connector: Connector) -> None:
        done = _sh(connector, r"printf '\000\377\r\n'; printf '\376\000' >&2")
        assert (done.stdout, done.stderr) == (b"\0\xff\r\n", b"\xfe\0")

    @needs(Capability.EXECUTE)
    def test_nothing_is_added_to_the_output(self, connector: Connector) -> None:
        done = connector.execute(["true"])
        assert (done.stdout, done.stderr) == (b"", b"")

    @needs(Capability.EXECUTE)
    def test_much_output_and_many_errors_at_once(self, connector: Connector) -> None:
        script = "head -c 3000000 /dev/zero & head -c 3000000 /dev/zero >&2; wait"
        done = connector.execute(["sh", "-c", script], timeout=PATIENCE)
        assert (len(done.stdout), len(done.stderr)) == (3000000, 3000000)

    @needs(Capability.EXIT_STATUS)
    @pytest.mark.parametrize("status", [0, 1, 2, 126, 127, 255])
    def test_the_exit_status_is_the_commands_own(self, connector: Connector, status: int) -> None:
        assert _sh(connector, f"exit {status}").status == status

    @needs(Capability.EXIT_STATUS)
    def test_a_signal_shows_in_the_exit_status(self, connector: Connector) -> None:
        assert _sh(connector, "kill -TERM $$").status in (-15, 128 + 15)

    @needs(Capability.EXIT_STATUS)
    def test_a_missing_program_is_status_127_and_named(self, connector: Connector) -> None:
        done = connector.execute(["no-such-program"])
        assert done.status == 127
        assert b"no-such-program" in done.stderr

    @needs(Capability.STREAM)
    def test_output_arrives_while_the_command_runs(self, connector: Connector) -> None:
        """The command's input comes only after its first output was seen."""
        reading, writing = os.pipe()
        seen: list[bytes] = []

        def sink(_: Literal["stdout", "stderr"], data: bytes) -> None:
            if not seen:
                os.write(writing, b"go on\n")
                os.close(writing)
            seen.append(data)

        with open(reading, "rb") as stdin:  # noqa: PTH123 - a descriptor
            script = "echo ready; read answer; echo got $answer"
            done = connector.execute(["sh", "-c", script], stdin=stdin, output=sink, timeout=PATIENCE)
        assert b"".join(seen) == b"ready\ngot go on\n"
        assert (done.stdout, done.stderr) == (b"", b"")

    @needs(Capability.EXECUTE)
    def test_an_output_sink_is_told_which_stream_it_is(self, connector: Connector) -> None:
        seen: dict[str, bytes] = {"stdout": b"", "stderr": b""}

        def sink(stream: Literal["stdout", "stderr"], data: bytes) -> None:
            seen[stream] += data

        connector.execute(["sh", "-c", "echo one; echo two >&2"], output=sink)
        assert seen == {"stdout": b"one\n", "stderr": b"two\n"}

    @needs(Capability.EXECUTE)
    def test_output_that_goes_to_a_sink_is_not_kept(self, connector: Connector) -> None:
        sizes: list[int] = []
        tracemalloc.start()
        try:
            connector.execute(["head", "-c", "50000000", "/dev/zero"], output=lambda _, data: sizes.append(len(data)))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert sum(sizes) == 50_000_000
        assert peak < 20_000_000

    @needs(Capability.EXECUTE)
    def test_an_error_in_an_output_sink_comes_back(self, connector: Connector) -> None:
        def sink(_stream: Literal["stdout", "stderr"], _data: bytes) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            connector.execute(["sh", "-c", "echo one; sleep 1; echo two"], output=sink)

    @needs(Capability.EXECUTE)
    def test_a_command_that_takes_too_long_is_given_up(self, connector: Connector) -> None:
        with pytest.raises(LineTimeout, match="sleep"):
            connector.execute(["sleep", "20"], timeout=0.5)
        assert _sh(connector, "echo still here").stdout == b"still here\n"

    @needs(Capability.EXECUTE)
    def test_commands_run_side_by_side(self, connector: Connector) -> None:
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda number: _echo(connector, [str(number)]), range(12)))
        assert answers == [[str(number)] for number in range(12)]

    # --- files ----------------------------------------------------------------------------

    @pytest.mark.parametrize("content", [b"", b"x", b"\n", ALL_BYTES, BIG], ids=len)
    def test_a_file_comes_back_as_it_was_put(self, connector: Connector, folder: str, content: bytes) -> None:
        connector.put(content, f"{folder}/file")
        assert connector.read(f"{folder}/file") == content

    def test_a_file_may_have_any_name(self, connector: Connector, host: Connector, folder: str) -> None:
        for name in self.file_names:
            connector.put(ascii(name).encode(), f"{folder}/{name}/{name}")
            assert connector.read(f"{folder}/{name}/{name}") == ascii(name).encode()
            assert host.execute(["cat", f"{folder}/{name}/{name}"]).stdout == ascii(name).encode()

    def test_a_file_is_put_from_where_its_source_stands(self, connector: Connector, folder: str) -> None:
        source = io.BytesIO(b"header" + BIG)
        source.seek(len("header"))
        connector.put(source, f"{folder}/file")
        assert connector.read(f"{folder}/file") == BIG

    def test_a_file_is_put_from_a_pipe(self, connector: Connector, folder: str) -> None:
        reading, writing = os.pipe()
        os.write(writing, ALL_BYTES)
        os.close(writing)
        with open(reading, "rb") as source:  # noqa: PTH123 - a descriptor
            connector.put(source, f"{folder}/file")
        assert connector.read(f"{folder}/file") == ALL_BYTES

    @pytest.mark.parametrize("mode", [0o600, 0o755, 0o400, 0o644])
    def test_a_file_has_the_mode_asked_for(self, connector: Connector, host: Connector, folder: str, mode: int) -> None:
        connector.put(b"", f"{folder}/file", mode=mode)
        assert _mode(host, f"{folder}/file") == mode

    def test_a_file_is_private_unless_told_otherwise(self, connector: Connector, host: Connector, folder: str) -> None:
        connector.put(b"", f"{folder}/file")
        assert _mode(host, f"{folder}/file") == 0o600

    def test_missing_folders_are_made_and_private(self, connector: Connector, host: Connector, folder: str) -> None:
        connector.put(b"content", f"{folder}/one/two/file")
        assert _mode(host, f"{folder}/one") == 0o700
        assert _mode(host, f"{folder}/one/two") == 0o700

    def test_a_file_is_replaced_at_once(self, connector: Connector, folder: str) -> None:
        """A reader sees one whole content or the other."""
        contents = [b"a" * 300_000, b"b" * 500_000]
        connector.put(contents[0], f"{folder}/file")
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(lambda: [connector.put(contents[n % 2], f"{folder}/file") for n in range(6)])
            while not writing.done():
                assert connector.read(f"{folder}/file") in contents
            writing.result()

    def test_replacing_changes_the_mode_too(self, connector: Connector, host: Connector, folder: str) -> None:
        connector.put(b"old", f"{folder}/file", mode=0o400)
        connector.put(b"new", f"{folder}/file", mode=0o640)
        assert (connector.read(f"{folder}/file"), _mode(host, f"{folder}/file")) == (b"new", 0o640)

    def test_putting_leaves_nothing_else_behind(self, connector: Connector, host: Connector, folder: str) -> None:
        connector.put(BIG, f"{folder}/file")
        assert _list(host, folder) == ["file"]

    def test_a_source_that_fails_leaves_the_old_file(self, connector: Connector, host: Connector, folder: str) -> None:
        class Broken(io.BytesIO):
            def read(self, _size: int | None = -1) -> bytes:
                raise ZeroDivisionError

            read1 = read

        connector.put(b"old", f"{folder}/file")
        with pytest.raises(ZeroDivisionError):
            connector.put(Broken(BIG), f"{folder}/file")
        assert connector.read(f"{folder}/file") == b"old"
        eventually(lambda: _list(host, folder) == ["file"])

    def test_a_file_cannot_be_put_where_a_folder_is(self, connector: Connector, host: Connector, folder: str) -> None:
        connector.put(b"inside", f"{folder}/place/file")
        with pytest.raises(HostError, match="place"):
            connector.put(b"content", f"{folder}/place")
        assert _list(host, folder) == ["place"]
        assert _list(host, f"{folder}/place") == ["file"]

    def test_a_file_cannot_be_put_below_a_file(self, connector: Connector, folder: str) -> None:
        connector.put(b"content", f"{folder}/file")
        with pytest.raises(HostError, match="below"):
            connector.put(b"other", f"{folder}/file/below")
        assert connector.read(f"{folder}/file") == b"content"

    def test_a_folder_that_may_not_be_written_is_a_refusal(
        self, connector: Connector, host: Connector, folder: str
    ) -> None:
        """Where the user may write everywhere, as root, the kernel's own folder stands in."""
        host.execute(["mkdir", "-m", "500", f"{folder}/closed"])
        place = "/sys/kernel" if host.execute(["id", "-u"]).stdout == b"0\n" else f"{folder}/closed"
        with pytest.raises(PermissionRefused, match="sremote-test"):
            connector.put(b"content", f"{place}/sremote-test")

    def test_a_missing_file_is_said_to_be_missing(self, connector: Connector, folder: str) -> None:
        target = io.BytesIO(b"as it was")
        for path in (f"{folder}/missing", f"{folder}/missing/file"):
            with pytest.raises(FileMissing, match="missing"):
                connector.get(path, target)
        assert target.getvalue() == b"as it was"

    def test_a_folder_cannot_be_got(self, connector: Connector, folder: str) -> None:
        target = io.BytesIO()
        with pytest.raises(HostError, match=folder):
            connector.get(folder, target)
        assert target.getvalue() == b""

    @pytest.mark.parametrize("prefix", ["", "./", "~/"])
    def test_a_relative_path_starts_at_the_home_directory(
        self, connector: Connector, host: Connector, prefix: str
    ) -> None:
        name = f".sremote-test-{secrets.token_hex(8)}"
        connector.put(b"content", f"{prefix}{name}/file")
        try:
            assert connector.read(f"{prefix}{name}/file") == b"content"
            assert _sh(host, f'cat "$HOME/{name}/file"').stdout == b"content"
        finally:
            _sh(host, f'rm -r "$HOME/{name}"')

    def test_files_travel_side_by_side(self, connector: Connector, folder: str) -> None:
        def there_and_back(number: int) -> bytes:
            connector.put(b"%d" % number * 100_000, f"{folder}/file-{number}")
            return connector.read(f"{folder}/file-{number}")

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(there_and_back, range(8))) == [b"%d" % number * 100_000 for number in range(8)]

    # --- the connection -------------------------------------------------------------------

    def test_connecting_and_closing_may_be_repeated(self, connector: Connector, folder: str) -> None:
        connector.connect()
        connector.close()
        connector.close()
        connector.connect()
        connector.put(b"back", f"{folder}/file")
        assert connector.read(f"{folder}/file") == b"back"

    def test_a_closed_connector_works_or_says_what_is_wrong(self, connector: Connector, folder: str) -> None:
        connector.put(b"back", f"{folder}/file")
        connector.close()
        with suppress(SremoteError):
            assert connector.read(f"{folder}/file") == b"back"
        connector.connect()

    def test_it_is_of_the_class_that_is_tested(self, connector: Connector) -> None:
        assert isinstance(connector, self.connector_class)

    # --- open streams ---------------------------------------------------------------------

    @needs(Capability.STREAM)
    def test_a_running_command_answers_line_by_line(self, start: Callable[..., Process]) -> None:
        process = start("cat")
        for line in (b"one\n", b"two\n"):
            process.write(line)
            assert _read_exactly(process, len(line)) == line

    @needs(Capability.STREAM)
    def test_a_command_ends_with_its_input(self, start: Callable[..., Process]) -> None:
        process = start("sh", "-c", "cat; echo done >&2; exit 3")
        process.write(b"last words")
        process.close_stdin()
        assert _read_exactly(process, 100) == b"last words"
        assert process.read_stderr() == b"done\n"
        assert process.wait(PATIENCE) == 3

    @needs(Capability.STREAM)
    def test_much_may_flow_both_ways_at_once(self, start: Callable[..., Process]) -> None:
        process = start("cat")

        def write() -> None:
            process.write(memoryview(BIG))
            process.close_stdin()

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            assert _read_exactly(process, len(BIG) + 1) == BIG
            writing.result()
        assert process.wait(PATIENCE) == 0

    @needs(Capability.STREAM)
    def test_a_command_that_is_not_read_waits(self, start: Callable[..., Process]) -> None:
        process = start("cat", "/dev/zero")
        assert process.read(1) == b"\0"
        with pytest.raises(LineTimeout):
            process.wait(0.2)

    @needs(Capability.STREAM)
    def test_writing_to_a_command_that_has_ended_is_an_error(self, start: Callable[..., Process]) -> None:
        process = start("true")
        process.wait(PATIENCE)
        with pytest.raises(ConnectionLost):
            process.write(bytes(64 << 20))

    @needs(Capability.STREAM)
    def test_waiting_has_its_limit(self, start: Callable[..., Process]) -> None:
        process = start("cat")
        with pytest.raises(LineTimeout):
            process.wait(0.2)
        process.close_stdin()
        assert process.wait(PATIENCE) == 0

    @needs(Capability.STREAM)
    def test_a_killed_command_is_gone(self, connector: Connector, start: Callable[..., Process]) -> None:
        process = start("sh", "-c", "echo $$; exec cat")
        pid = _read_line(process).decode().strip()
        process.kill()
        process.kill()
        assert process.read() == b""
        eventually(lambda: connector.execute(["sh", "-c", f"kill -0 {pid}"]).status != 0)

    @pytest.fixture
    def start(self, connector: Connector) -> Iterator[Callable[..., Process]]:
        """Starts a command given as words; it is killed when the test ends."""
        processes: list[Process] = []

        def start(*argv: str) -> Process:
            processes.append(connector.start(argv))
            return processes[-1]

        yield start
        for process in processes:
            process.kill()

    # --- lines that fail ------------------------------------------------------------------

    @needs(StreamConnector)
    def test_slow_lines_that_carry_few_bytes_at_a_time(self, faulty: FaultyConnector, folder: str) -> None:
        faulty.fault = Fault(piece=7, delay=0.001)
        faulty.put(ALL_BYTES, f"{folder}/file")
        assert faulty.read(f"{folder}/file") == ALL_BYTES
        assert _echo(faulty, AWKWARD) == AWKWARD

    @needs(StreamConnector)
    def test_what_login_scripts_print_is_dropped(self, faulty: FaultyConnector, folder: str) -> None:
        faulty.fault = Fault(noise=b"Welcome!\nYou have mail: " * 1000)
        done = faulty.execute(["sh", "-c", "echo out; echo err >&2"])
        assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
        faulty.put(ALL_BYTES, f"{folder}/file")
        assert faulty.read(f"{folder}/file") == ALL_BYTES

    @needs(StreamConnector)
    def test_login_scripts_that_never_stop_printing(self, faulty: FaultyConnector) -> None:
        faulty.fault = Fault(noise=b"y\n" * NOISE_LIMIT)
        with pytest.raises(HostError, match="before the command"):
            faulty.execute(["true"])

    @needs(StreamConnector)
    @pytest.mark.parametrize("after", [0, 1, 100_000, len(BIG) - 1])
    @pytest.mark.parametrize("kind", ["drop_sent", "cut_sent"])
    def test_a_put_that_is_cut_leaves_the_old_file(
        self, connector: Connector, faulty: FaultyConnector, folder: str, kind: str, after: int
    ) -> None:
        connector.put(b"old", f"{folder}/file")
        faulty.fault = Fault(**{kind: after})  # type: ignore[arg-type]
        with pytest.raises(LineError):
            faulty.put(BIG, f"{folder}/file")
        assert connector.read(f"{folder}/file") == b"old"
        eventually(lambda: _list(connector, folder) == ["file"])

    @needs(StreamConnector)
    @pytest.mark.parametrize("after", [0, 100, 100_000, len(BIG) - 1])
    @pytest.mark.parametrize("kind", ["drop_received", "cut_received"])
    def test_a_get_that_is_cut_is_an_error(
        self, connector: Connector, faulty: FaultyConnector, folder: str, kind: str, after: int
    ) -> None:
        connector.put(BIG, f"{folder}/file")
        faulty.fault = Fault(**{kind: after})  # type: ignore[arg-type]
        with pytest.raises((LineError, HostError)):
            faulty.read(f"{folder}/file")

    @needs(StreamConnector)
    def test_a_command_whose_line_drops_is_an_error(self, faulty: FaultyConnector) -> None:
        faulty.fault = Fault(drop_received=100)
        with pytest.raises(ConnectionLost):
            faulty.execute(["cat", "/dev/zero"], timeout=PATIENCE)

    @needs(StreamConnector)
    def test_what_was_cut_may_be_tried_again(self, faulty: FaultyConnector, folder: str) -> None:
        faulty.fault = Fault(drop_sent=1000)
        with pytest.raises(LineError):
            faulty.put(BIG, f"{folder}/file")
        faulty.fault = Fault()
        faulty.put(BIG, f"{folder}/file")
        assert faulty.read(f"{folder}/file") == BIG

    @pytest.fixture
    def faulty(self, connector: Connector) -> FaultyConnector:
        """The connector over a line that fails as its ``fault`` says."""
        assert isinstance(connector, StreamConnector)
        return FaultyConnector(connector)


def _sh(connector: Connector, script: str) -> Any:
    return connector.execute(["sh", "-c", script], timeout=PATIENCE)


def _echo(connector: Connector, words: list[str]) -> list[str]:
    """Return the arguments that a command on the host was given."""
    done = connector.execute(["sh", "-c", r'printf "%s\0" "$@"', "sh", *words], timeout=PATIENCE)
    assert done.stderr == b""
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


def _list(connector: Connector, folder: str) -> list[str]:
    return connector.execute(["ls", "-A", folder]).stdout.decode().split()


def _mode(connector: Connector, path: str) -> int:
    """Return a file's permission bits, from the first word of ``ls -l``."""
    letters = connector.execute(["ls", "-ld", path]).stdout.decode()[1:10]
    return int("".join("0" if letter == "-" else "1" for letter in letters), 2)


def _read_exactly(process: Process, size: int) -> bytes:
    """Read ``size`` bytes, or all that there are."""
    data = bytearray()
    while len(data) < size and (piece := process.read(size - len(data))):
        data += piece
    return bytes(data)


def _read_line(process: Process) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (piece := process.read(1)):
        line += piece
    return line
