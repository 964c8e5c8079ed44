"""What becomes of channels when something goes wrong, or is too much."""

import contextlib
import os
import resource
import signal
import threading
import time
from pathlib import Path

import pytest

import sremote
from sremote.errors import ConnectionLost, FormatError, RemoteExit
from sremote.interpreter.channel import LARGEST_WINDOW
from tests.kit.clients import connect_through
from tests.kit.proxy import DelayingProxy
from tests.kit.sshd import SshServer

LONG = bool(os.environ.get("SREMOTE_LONG_TESTS"))
MUCH = (1 << 30) if LONG else (100 << 20)
"""Bytes to be sent to one who does not read."""
PIECE = 1 << 20
ECHO = "for item in channel: channel.send(item)"


def memory_here() -> int:
    """Return what this process holds in memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def memory_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


class TestAPeerThatDoesNotRead:
    def test_makes_the_sender_wait_in_bounded_memory(self, local_client: sremote.Client) -> None:
        with local_client.session() as session:
            channel = session.remote_exec("import time\nchannel.receive()\ntime.sleep(600)")
            pid = session.call("os", "getpid")
            before, before_there = memory_here(), memory_of(pid)
            sent = 0

            def send_much() -> None:
                nonlocal sent
                content = bytes(PIECE)
                channel.send("this is received")
                with contextlib.suppress(sremote.SremoteError):
                    while sent < MUCH:
                        channel.send(content)
                        sent += PIECE

            sender = threading.Thread(target=send_much)
            sender.start()
            sender.join(1.0)
            assert sender.is_alive()
            assert sent <= 2 * LARGEST_WINDOW
            assert memory_here() - before < 64 << 20
            assert memory_of(pid) - before_there < 64 << 20
            session.kill()
            sender.join()

    def test_goes_on_once_it_reads(self, local_client: sremote.Client) -> None:
        with local_client.session() as session:
            result = session.newchannel()
            channel = session.remote_exec("""
                import time
                result = channel.receive()
                time.sleep(0.5)
                total = 0
                for item in channel:
                    total += len(item)
                result.send(total)
            """)
            channel.send(result)
            pid = session.call("os", "getpid")
            before, most = memory_of(pid), 0
            content = bytes(PIECE)
            for _ in range(MUCH // PIECE):
                channel.send(content)
                most = max(most, memory_of(pid) - before)
            channel.close()
            assert result.receive(100) == MUCH
            assert most < 64 << 20

    def test_here_makes_the_host_wait_in_bounded_memory(self, local_client: sremote.Client) -> None:
        with local_client.session() as session:
            channel = session.remote_exec(f"while True: channel.send(bytes({PIECE}))")
            pid = session.call("os", "getpid")
            before, before_there = memory_here(), memory_of(pid)
            time.sleep(0.5)
            assert memory_here() - before < 64 << 20
            assert memory_of(pid) - before_there < 64 << 20
            received = sum(len(channel.receive()) for _ in range(MUCH // PIECE))
            assert received == MUCH
            assert memory_here() - before < 128 << 20

    def test_gets_a_value_that_is_larger_than_what_may_wait(self, local_session: sremote.Session) -> None:
        channel = local_session.remote_exec(ECHO)
        large = bytes(4 * LARGEST_WINDOW)
        sender = threading.Thread(target=channel.send, args=[large])
        sender.start()
        assert channel.receive(100) == large
        sender.join()
        channel.close()


class TestAProcessThatIsKilled:
    def test_in_the_middle_of_a_value_ends_the_channel(self, local_client: sremote.Client) -> None:
        with local_client.session() as session:
            channel = session.remote_exec("channel.send('first')\nwhile True: channel.send(bytes(10000000))")
            assert channel.receive() == "first"
            os.kill(session.call("os", "getpid"), signal.SIGKILL)
            with pytest.raises((RemoteExit, ConnectionLost)):
                list(channel)
            with pytest.raises((RemoteExit, ConnectionLost)):
                channel.send("more")

    def test_wakes_all_that_wait(self, local_client: sremote.Client) -> None:
        with local_client.session() as session:
            ended: list[type] = []

            def wait(source: str, large: bool) -> None:
                channel = session.remote_exec(source)
                try:
                    while large:
                        channel.send(bytes(PIECE))
                    channel.receive()
                except Exception as error:
                    ended.append(type(error))

            waiting = [
                threading.Thread(target=wait, args=["channel.waitclose()", False]),
                threading.Thread(target=wait, args=["import time\ntime.sleep(600)", True]),
            ]
            for thread in waiting:
                thread.start()
            time.sleep(0.3)
            os.kill(session.call("os", "getpid"), signal.SIGKILL)
            for thread in waiting:
                thread.join(60)
                assert not thread.is_alive()
            assert len(ended) == 2

    def test_with_its_session_takes_its_children_along(self, local_client: sremote.Client) -> None:
        session = local_client.session()
        channel = session.remote_exec("""
            import subprocess
            child = subprocess.Popen(["sleep", "600"])
            channel.send(child.pid)
            child.wait()
        """)
        pid = channel.receive()
        session.kill()
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1]:
            time.sleep(0.02)


class TestALine:
    def test_that_drops_ends_all_channels(self, sshd: SshServer, tmp_path: Path) -> None:
        with (
            DelayingProxy(sshd.port) as proxy,
            connect_through(proxy, sshd, tmp_path) as client,
            client.session() as session,
        ):
            channels = [session.remote_exec(ECHO) for _ in range(3)]
            channels[0].send("before")
            assert channels[0].receive(60) == "before"
            pid = session.call("os", "getpid")
            proxy.cut()
            for channel in channels:
                with pytest.raises(ConnectionLost):
                    channel.receive(60)
            while Path(f"/proc/{pid}").exists():
                time.sleep(0.05)

    def test_that_is_half_open_is_noticed(self, sshd: SshServer, tmp_path: Path) -> None:
        with DelayingProxy(sshd.port) as proxy, connect_through(proxy, sshd, tmp_path, keepalive=0.3) as client:
            session = client.session()
            channel = session.remote_exec(ECHO)
            channel.send("before")
            assert channel.receive(60) == "before"
            proxy.stall()
            with pytest.raises(ConnectionLost):
                channel.receive(60)
            session.kill()


class TestManyChannels:
    def test_a_thousand_work_at_once(self, local_client: sremote.Client) -> None:
        with local_client.session() as session:
            channels = [session.remote_exec(ECHO) for _ in range(1000)]
            for number, channel in enumerate(channels):
                channel.send(number)
            assert [channel.receive(60) for channel in channels] == list(range(1000))
            for channel in channels:
                channel.close()
            assert session.call("threading", "active_count") < 1100

    def test_leave_nothing_behind(self, local_client: sremote.Client) -> None:
        with local_client.session() as session:
            before = session.call("threading", "active_count")
            for _ in range(50):
                session.remote_exec("channel.send(1)").waitclose(60)
            deadline = time.monotonic() + 60
            while session.call("threading", "active_count") > before + 2 and time.monotonic() < deadline:
                time.sleep(0.02)
            assert session.call("threading", "active_count") <= before + 2
            assert len(session._line.channels) == 0


def test_a_host_that_sends_more_than_it_may_ends_the_session(local_client: sremote.Client) -> None:
    with local_client.session() as session:
        channel = session.remote_exec("""
            channel._granted = 1 << 40
            while True: channel.send(bytes(1000000))
        """)
        time.sleep(0.2)
        with pytest.raises(FormatError, match="more came on channel"):
            list(channel)


def test_a_value_that_would_run_code_is_refused(local_session: sremote.Session) -> None:
    channel = local_session.remote_exec("""
        channel._channels.encode = lambda item: [item]
        channel.send(b"\\x80\\x04cos\\nsystem\\n(V touch /nonexistent\\ntR.")
        channel.send(b"\\x80\\x04\\x8c\\x02os\\x8c\\x06system\\x93\\x8c\\x04true\\x85R.")
        del channel._channels.encode
    """)
    with pytest.raises(FormatError, match="opcode"):
        channel.receive(60)
    with pytest.raises(sremote.SremoteError, match="not plain data"):
        channel.receive(60)
