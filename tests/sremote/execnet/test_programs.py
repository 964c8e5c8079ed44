"""Programs as they are written for execnet, over gateways of every kind."""

import os
import pathlib
import sys
import textwrap
import threading
import types
from typing import Any

import pytest

from sremote import execnet


def multiplier(channel: Any, factor: int) -> None:
    while not channel.isclosed():
        channel.send(channel.receive() * factor)


class TestPrograms:
    def test_a_process_tells_its_number(self, gateway: execnet.Gateway) -> None:
        channel = gateway.remote_exec("""
            import os
            channel.send(os.getpid())
        """)
        assert channel.receive() == gateway._rinfo().pid != os.getpid()

    def test_a_file_server_sends_the_files_that_it_is_asked_for(
        self, gateway: execnet.Gateway, tmp_path: pathlib.Path
    ) -> None:
        files = [tmp_path / name for name in "abc"]
        for file in files:
            file.write_bytes(file.name.encode() * 1000)
        channel = gateway.remote_exec(
            textwrap.dedent(
                """
                for fn in channel:
                    f = open(fn, 'rb')
                    try:
                        channel.send(f.read())
                    finally:
                        f.close()
                """
            )
        )
        for file in files:
            channel.send(str(file))
            assert channel.receive() == file.read_bytes()
        channel.close()

    def test_a_function_works_on_what_it_is_sent(self, gateway: execnet.Gateway) -> None:
        channel = gateway.remote_exec(multiplier, factor=10)
        for number in range(3):
            channel.send(number)
            assert channel.receive() == number * 10
        channel.close()

    def test_the_trapped_error_of_a_closed_channel(self, gateway: execnet.Gateway) -> None:
        channel = gateway.remote_exec("channel.receive()")
        channel.close()
        with pytest.raises(OSError, match="cannot send"):
            channel.send(1)
        with pytest.raises(EOFError):
            channel.receive()

    def test_the_remote_traceback_is_the_errors_text(self, gateway: execnet.Gateway) -> None:
        channel = gateway.remote_exec("{}['missing']")
        with pytest.raises(
            channel.RemoteError, match=r"Traceback[^\0]*<remote_exec>[^\0]*KeyError: 'missing'"
        ) as caught:
            channel.waitclose()
        assert "KeyError" in caught.value.formatted

    def test_a_wait_that_is_too_long(self, gateway: execnet.Gateway) -> None:
        channel = gateway.remote_exec("channel.receive()")
        with pytest.raises(channel.TimeoutError):
            channel.receive(timeout=0.01)
        channel.close()

    def test_a_callback_with_an_endmarker(self, gateway: execnet.Gateway) -> None:
        found: list[object] = []
        channel = gateway.remote_exec("channel.receive()\nfor i in range(3): channel.send(i)")
        channel.setcallback(found.append, endmarker=-1)
        channel.send(None)
        channel.waitclose(60)
        assert found == [0, 1, 2, -1]

    def test_output_that_is_sent_as_a_file(self, gateway: execnet.Gateway) -> None:
        channel = gateway.remote_exec("""
            import sys
            outchan = channel.gateway.newchannel()
            channel.send(outchan)
            print("standard output", file=outchan.makefile("w"))
            channel.receive()
        """)
        lines = channel.receive().makefile("r")
        assert lines.readline() == "standard output\n"
        channel.send(None)
        channel.waitclose(60)

    def test_what_goes_on_can_be_asked(self, gateway: execnet.Gateway) -> None:
        channel = gateway.remote_exec("channel.receive()")
        status = gateway.remote_status()
        assert status.numchannels >= status.numexecuting >= 1
        assert status.execmodel == "thread"
        channel.close()

    def test_what_is_no_plain_data_is_refused(self, gateway: execnet.Gateway) -> None:
        channel = gateway.remote_exec("channel.receive()")
        with pytest.raises(execnet.DumpError):
            channel.send(object())
        channel.close()


class TestGroups:
    def test_send_to_each_and_receive_of_each(self, group: execnet.Group) -> None:
        channels = group.remote_exec("channel.send(channel.receive() + 1)")
        channels.send_each(41)
        assert channels.receive_each() == [42] * len(group)
        assert len(channels) == len(group)
        assert channels[0] in channels

    def test_receive_with_the_channel(self, group: execnet.Group) -> None:
        channels = group.remote_exec("channel.send(channel.gateway.id)")
        assert {channel.gateway.id: item for channel, item in channels.receive_each(withchannel=True)} == {
            name: name for name in ("popen", "ssh", "socket", "via")
        }

    def test_receive_from_one_queue(self, group: execnet.Group) -> None:
        channels = group.remote_exec("channel.send(channel.gateway.id)")
        queue = channels.make_receive_queue(endmarker=None)
        found = [queue.get(timeout=60) for _ in range(2 * len(group))]
        assert sorted(item for _, item in found if item) == sorted(gateway.id for gateway in group)
        assert {channel for channel, item in found if item is None} == set(channels)

    def test_raise_the_first_error(self, group: execnet.Group) -> None:
        channels = group.remote_exec("if channel.gateway.id == 'ssh': raise ValueError('here')")
        with pytest.raises(execnet.RemoteError, match="here"):
            channels.waitclose()

    def test_name_their_gateways(self) -> None:
        group = execnet.Group(["popen", "popen//id=mine", None])
        try:
            assert [gateway.id for gateway in group] == ["gw0", "mine", "gw1"]
            assert group["mine"] is group[1]
            assert "gw1" in group
            assert "gw2" not in group
            with pytest.raises(ValueError, match="mine"):
                group.makegateway("popen//id=mine")
            with pytest.raises(ValueError, match="execmodel"):
                group.set_execmodel("thread")
        finally:
            group.terminate(10)
        assert len(group) == 0

    def test_kill_what_does_not_end(self, tmp_path: pathlib.Path) -> None:
        group = execnet.Group(["popen"])
        channel = group[0].remote_exec("""
            import os, signal, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            channel.send(os.getpid())
            while True:
                time.sleep(1)
        """)
        pid = channel.receive()
        group.terminate(timeout=0.2)
        while pathlib.Path(f"/proc/{pid}").exists():
            threading.Event().wait(0.02)


class TestSpecifications:
    def test_say_where_it_runs_and_how(self, tmp_path: pathlib.Path) -> None:
        group = execnet.Group()
        spec = f"popen//python={sys.executable}//chdir={tmp_path / 'new'}//env:COLOUR=blue//nice=3//dont_write_bytecode"
        gateway = group.makegateway(spec)
        channel = gateway.remote_exec("""
            import os, sys
            channel.send((os.getcwd(), os.environ["COLOUR"], os.nice(0), sys.dont_write_bytecode, sys.executable))
        """)
        nice = os.nice(0)
        assert channel.receive() == (str(tmp_path / "new"), "blue", min(nice + 3, 19), True, sys.executable)
        assert gateway.spec.chdir == str(tmp_path / "new")
        group.terminate(10)

    def test_run_python_through_a_command(self) -> None:
        group = execnet.Group()
        gateway = group.makegateway(f"popen//python=env BEHIND=yes {sys.executable}")
        assert gateway.remote_exec("import os; channel.send(os.environ['BEHIND'])").receive() == "yes"
        group.terminate(10)

    def test_start_popen_where_this_program_is(self, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
        (tmp_path / "neighbour.py").write_text("value = 42")
        monkeypatch.chdir(tmp_path)
        group = execnet.Group(["popen"])
        assert group[0].remote_exec("import neighbour; channel.send(neighbour.value)").receive() == 42
        group.terminate(10)

    @pytest.mark.parametrize("model", ["thread", "main_thread_only"])
    def test_run_code_in_the_main_thread(self, model: str) -> None:
        group = execnet.Group([f"popen//execmodel={model}"])
        source = "import threading; channel.send(threading.current_thread() is threading.main_thread())"
        assert group[0].remote_exec(source).receive() is True
        assert group[0].remote_status().execmodel == model
        group.terminate(10)

    def test_have_keys_as_attributes(self) -> None:
        spec = execnet.XSpec("ssh=-p 5000 host//env:A=1//flag")
        assert (spec.ssh, spec.env, spec.flag, spec.other) == ("-p 5000 host", {"A": "1"}, True, None)
        assert str(spec) == "ssh=-p 5000 host//env:A=1//flag"
        with pytest.raises(ValueError, match="twice"):
            execnet.XSpec("popen//popen")
        with pytest.raises(AttributeError):
            execnet.XSpec("_hidden")

    @pytest.mark.parametrize(
        ("spec", "reason"),
        [
            ("id=1", "leads nowhere"),
            ("socket=localhost:1", "sremote serve --key FILE"),
            ("ssh=-z host", "option -z not recognized"),
            ("ssh=-p 22", "one host"),
            ("popen//execmodel=gevent", "no execmodel 'gevent'"),
        ],
    )
    def test_that_cannot_be_are_named(self, spec: str, reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            execnet.Group().makegateway(spec)

    def test_of_a_host_that_is_not_there_are_named(self) -> None:
        with pytest.raises(execnet.HostNotFound, match=r"127\.0\.0\.1"):
            execnet.Group().makegateway("ssh=-F /dev/null -p 1 127.0.0.1")


def test_the_triangle_of_a_process_that_starts_a_server(tmp_path: pathlib.Path) -> None:
    """A near process starts a socket server, and a gateway to that makes the triangle."""
    from sremote.interpreter import __file__ as far_side
    from sremote.socket_keys import generate_key

    key = tmp_path / "secret.key"
    generate_key(key)
    group = execnet.Group(["popen//id=near"])
    channel = group["near"].remote_exec("""
        import subprocess
        script, key = channel.receive()
        server = subprocess.Popen(["sh", script, "--listen", key, "127.0.0.1:0"], stderr=subprocess.PIPE)
        channel.send(server.stderr.readline().decode())
        channel.receive()
        server.terminate()
        server.wait()
    """)
    channel.send((str(pathlib.Path(far_side).with_name("interpreter.sh")), str(key)))
    port = channel.receive().split("listening on ")[1].split(",")[0].rpartition(":")[2]
    far = group.makegateway(f"socket=127.0.0.1:{port}//key_file={key}")
    assert far.remote_exec("channel.send(6 * 7)").receive() == 42
    far.exit()
    far.join(30)
    channel.send(None)
    group.terminate(10)


def test_a_gateway_that_is_killed_ends_its_channels() -> None:
    group = execnet.Group(["popen"])
    found: list[object] = []
    channel = group[0].remote_exec("import os; os._exit(3)")
    with pytest.raises(EOFError):
        channel.receive()
    with pytest.raises(OSError, match="cannot send"):
        channel.send(1)
    channel.setcallback(found.append, endmarker="end")
    channel.waitclose(60)
    assert found == ["end"]
    assert not group[0].hasreceiver()
    group.terminate(10)


def test_functions_that_cannot_go_there_are_value_errors(group: execnet.Group) -> None:
    lock = threading.Lock()

    def uses_a_lock(channel: Any) -> None:
        channel.send(lock)

    with pytest.raises(ValueError, match="lock"):
        group["popen"].remote_exec(uses_a_lock)
    with pytest.raises(TypeError, match="function"):
        group["popen"].remote_exec("pass", factor=1)
    with pytest.raises(OSError, match="closed"):
        closed_gateway().remote_exec("pass")


def closed_gateway() -> execnet.Gateway:
    group = execnet.Group(["popen"])
    gateway = group[0]
    group.terminate(10)
    return gateway


class TestValuesAsBytes:
    def test_come_back_as_they_were(self, tmp_path: pathlib.Path) -> None:
        value = {"a": [1, 2.5, None, True, (b"x", "y")], "b": {1, 2}}
        assert execnet.loads(execnet.dumps(value)) == value
        with (tmp_path / "file").open("wb") as file:
            execnet.dump(file, value)
            execnet.dump(file, "second")
        with (tmp_path / "file").open("rb") as file:
            assert execnet.load(file) == value
            assert execnet.load(file) == "second"
            with pytest.raises(execnet.LoadError):
                execnet.load(file)

    def test_are_plain_data_only(self) -> None:
        with pytest.raises(execnet.DumpError):
            execnet.dumps(types.SimpleNamespace())
        with pytest.raises(execnet.LoadError):
            execnet.loads(b"nonsense")
        with pytest.raises(execnet.LoadError):
            execnet.loads(execnet.dumps(1).replace(b"K\x01", b"c\x01"))


class TestRSync:
    def test_copies_to_many_at_once(self, group: execnet.Group, tmp_path: pathlib.Path) -> None:
        source = tmp_path / "source"
        (source / "inner").mkdir(parents=True)
        (source / "inner" / "file").write_text("content")
        (source / "left.tmp").write_text("not copied")
        finished: list[str] = []
        told: list[str] = []

        class Selective(execnet.RSync):
            def filter(self, path: str) -> bool:
                return not path.endswith(".tmp")

        rsync = Selective(source, callback=lambda what, size, gateway: told.append(what), verbose=False)
        for gateway in group:
            target = tmp_path / gateway.id
            target.mkdir()
            (target / "old").touch()
            rsync.add_target(
                gateway, target, finishedcallback=lambda name=gateway.id: finished.append(name), delete=True
            )
        rsync.send()
        for gateway in group:
            assert sorted(os.listdir(tmp_path / gateway.id)) == ["inner"]
            assert (tmp_path / gateway.id / "inner" / "file").read_text() == "content"
        assert sorted(finished) == sorted(gateway.id for gateway in group)
        assert set(told) == {"list", "ack"}

    def test_begins_at_the_gateways_folder(self, tmp_path: pathlib.Path) -> None:
        (tmp_path / "source").mkdir()
        (tmp_path / "source" / "file").touch()
        group = execnet.Group([f"popen//chdir={tmp_path / 'there'}"])
        rsync = execnet.RSync(tmp_path / "source")
        rsync.add_target(group[0], "copy")
        rsync.send()
        assert (tmp_path / "there" / "copy" / "file").exists()
        group.terminate(10)

    def test_needs_somewhere_to_copy_to(self, tmp_path: pathlib.Path) -> None:
        rsync = execnet.RSync(tmp_path)
        rsync.send(raises=False)
        with pytest.raises(OSError, match="add_target"):
            rsync.send()


def test_the_names_are_those_of_execnet() -> None:
    import importlib.metadata

    import execnet as original

    assert importlib.metadata.version("execnet")
    assert sorted(execnet.__all__) == sorted(name for name in original.__all__)


def methods(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize("name", ["Channel", "Gateway", "Group", "MultiChannel", "RSync"])
def test_the_methods_are_those_of_execnet(name: str) -> None:
    import execnet as original

    attributes = {"execmodel", "remote_execmodel", "id"}
    assert methods(getattr(original, name)) - methods(getattr(execnet, name)) - attributes == set()


def test_the_default_group_makes_gateways(capfd: pytest.CaptureFixture[str]) -> None:
    gateway = execnet.makegateway()
    channel = gateway.remote_exec("import sys; print('dropped'); print('shown', file=sys.stderr)")
    channel.waitclose(60)
    assert capfd.readouterr() == ("", "shown\n")
    assert gateway in execnet.default_group
    execnet.default_group.terminate(10)
