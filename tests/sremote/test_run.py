"""``client.run``: commands as they are, their status and their bytes."""

import signal

import pytest

from sremote.errors import UsageError, WalltimeExceeded

ODD_WORDS = ["a b", "", "'", '"', "$HOME", "`id`", "\\", "new\nline", "ü€😀", "*", "~", "!x", "-n", "tab\t", "\x01"]


class TestArguments:
    @pytest.mark.matrix
    def test_each_word_arrives_as_it_is(self, client):
        found = client.run(["printf", "%s\\0", *ODD_WORDS])
        assert found.stdout.decode().split("\0")[:-1] == ODD_WORDS

    def test_bytes_that_are_no_text_arrive_too(self, client):
        assert client.run(["printf", "%s", "a\udcffb"]).stdout == b"a\xffb"

    def test_a_very_long_argument_arrives(self, client):
        assert len(client.run(["printf", "%s", "x" * 100_000]).stdout) == 100_000

    @pytest.mark.parametrize("argv", ["ls -l", [], b"ls"])
    def test_what_is_no_list_of_words_is_refused(self, client, argv):
        with pytest.raises(UsageError, match="not a command"):
            client.run(argv)

    def test_a_missing_command_is_named(self, client):
        with pytest.raises(UsageError, match="no-such-command: No such file or directory"):
            client.run(["no-such-command"])

    def test_a_file_that_is_no_program_is_named(self, client):
        with pytest.raises(UsageError, match="/etc/passwd: Permission denied"):
            client.run(["/etc/passwd"])


class TestEnd:
    @pytest.mark.parametrize("status", [0, 1, 97, 255])
    def test_its_status_is_told(self, client, status):
        assert client.run(["sh", "-c", f"exit {status}"]).status == status

    def test_a_signal_is_a_negative_status(self, client):
        assert client.run(["sh", "-c", "kill -9 $$"]).status == -signal.SIGKILL

    def test_a_broken_pipe_ends_it_as_in_a_shell(self, client):
        found = client.run(["sh", "-c", "(yes; echo $? >&2) | head -1"])
        assert found.stdout == b"y\n"
        assert found.stderr == b"141\n"

    def test_the_time_limit_stops_it(self, client):
        with pytest.raises(WalltimeExceeded) as caught:
            client.run(["sh", "-c", "echo begun; sleep 60"], timeout=1)
        assert caught.value.remote.stdout == "begun\n"


class TestStreams:
    def test_output_and_errors_are_bytes_and_apart(self, client):
        found = client.run(["sh", "-c", r"printf '\377\000'; printf '\001\376' >&2"])
        assert found.stdout == b"\xff\0"
        assert found.stderr == b"\x01\xfe"

    def test_input_is_bytes(self, client):
        data = bytes(range(256)) * 1000
        assert client.run(["cat"], stdin=data).stdout == data

    def test_without_input_there_is_none(self, client):
        assert client.run(["cat"]).stdout == b""

    def test_output_is_shown_only_if_asked_for(self, client, capsys):
        client.run(["echo", "quiet"])
        assert capsys.readouterr().out == ""
        client.run(["echo", "shown"], echo=True)
        assert capsys.readouterr().out == "shown\n"


class TestSurroundings:
    def test_cwd_is_where_it_runs(self, client, tmp_path):
        assert client.run(["pwd"], cwd=str(tmp_path)).stdout.decode().strip() == str(tmp_path)

    def test_a_missing_cwd_is_a_usage_error(self, client):
        with pytest.raises(UsageError, match="/no/such/place"):
            client.run(["pwd"], cwd="/no/such/place")

    def test_env_is_what_it_sees(self, client):
        assert client.run(["sh", "-c", "echo $A"], env={"A": "x  y"}).stdout == b"x y\n"

    def test_programs_in_path_are_found(self, client, tmp_path):
        program = tmp_path / "my-program"
        program.write_text("#!/bin/sh\necho mine\n")
        program.chmod(0o755)
        assert client.run(["my-program"], path=[str(tmp_path)]).stdout == b"mine\n"

    def test_nothing_of_sremote_is_in_its_environment(self, client):
        assert not [line for line in client.run(["env"]).stdout.splitlines() if line.startswith(b"SREMOTE")]
