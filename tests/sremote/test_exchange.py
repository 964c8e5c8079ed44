"""Never twice, never lost: whenever the line drops, a call runs once and its value comes back."""

import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sremote
from sremote import reconnect
from sremote.arguments import add_arguments
from sremote.connectors.address import parse_address
from sremote.connectors.base import Capability
from sremote.connectors.registry import make_connector
from sremote.errors import HostUnreachable, OutcomeUnknown
from sremote.functions import target_by_name
from sremote.host import Host
from sremote.interpreter import frames
from sremote.interpreter.wire import Message
from sremote.line import Call, Line
from sremote.stream import Stream
from tests.kit.proxy import DelayingProxy
from tests.kit.sshd import SshServer

PATIENCE = 30.0
"""Seconds for something to happen on a busy machine."""
LARGE = 8 << 20
"""Bytes of a value that is still under way when it is cut."""


@dataclasses.dataclass
class Place:
    """What a test looks at on the host."""

    ledger: Path
    """Every run of the function adds a line."""
    gate: Path
    """The function returns once it is there."""
    jobs: Path

    @property
    def runs(self) -> int:
        return len(self.ledger.read_text().splitlines()) if self.ledger.exists() else 0

    @property
    def responses(self) -> list[Path]:
        return list(self.jobs.glob("*/response"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "ledger", tmp_path / "gate", tmp_path / "root" / "jobs")


@pytest.fixture
def proxy(sshd: SshServer) -> Iterator[DelayingProxy]:
    with DelayingProxy(sshd.port) as proxy:
        yield proxy


@pytest.fixture(params=["streams", "files"])
def client(
    request: pytest.FixtureRequest, sshd: SshServer, proxy: DelayingProxy, tmp_path: Path
) -> Iterator[sremote.Client]:
    """A client whose line goes through the proxy; then one that has the three verbs only."""
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(sshd.known_hosts_line(sshd.host_keys[0], f"[127.0.0.1]:{proxy.port}"))
    connector = make_connector(
        parse_address(f"{sshd.user}@127.0.0.1:{proxy.port}"), key_file=sshd.key_file, known_hosts=known_hosts
    )
    if request.param == "files":
        connector.capabilities &= ~Capability.STREAM
    connector.connect()
    with sremote.Client(Host(connector, root=str(tmp_path / "root"))) as client:
        assert client.call("operator", "add", [1, 2]) == 3
        yield client


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnect, "RECONNECT_FOR", 1.0)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.002)


def note_and_wait(ledger: str, gate: str, value: object = 7) -> object:
    import os
    import time

    with open(ledger, "a") as file:
        file.write("run\n")
    while not os.path.exists(gate):
        time.sleep(0.01)
    return value


def note_and_make(ledger: str, size: int) -> bytes:
    with open(ledger, "a") as file:
        file.write("run\n")
    return bytes(size)


def note_size(ledger: str, data: bytes) -> int:
    with open(ledger, "a") as file:
        file.write("run\n")
    return len(data)


class TestDroppedLine:
    def test_while_the_function_runs(self, client, proxy, place):
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(client.call_function, note_and_wait, str(place.ledger), str(place.gate))
            wait_for(lambda: place.runs)
            proxy.cut()
            place.gate.touch()
            assert call.result(PATIENCE) == 7
        assert place.runs == 1

    def test_again_and_again(self, client, proxy, place):
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(client.call_function, note_and_wait, str(place.ledger), str(place.gate))
            wait_for(lambda: place.runs)
            for _ in range(3):
                before = proxy.received
                proxy.cut()
                wait_for(lambda: proxy.received > before + 1000)  # noqa: B023  # more than a greeting
            place.gate.touch()
            assert call.result(PATIENCE) == 7
        assert place.runs == 1

    def test_after_the_function_has_finished(self, client, proxy, place):
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(client.call_function, note_and_wait, str(place.ledger), str(place.gate))
            wait_for(lambda: place.runs)
            proxy.stall()
            place.gate.touch()
            wait_for(lambda: place.responses)
            proxy.cut()
            proxy.resume()
            assert call.result(PATIENCE) == 7
        assert place.runs == 1

    def test_while_the_request_is_on_its_way(self, client, proxy, place):
        with ThreadPoolExecutor(1) as pool:
            before = proxy.sent
            call = pool.submit(client.call_function, note_size, str(place.ledger), os.urandom(LARGE))
            wait_for(lambda: proxy.sent > before + LARGE // 8)
            proxy.cut()
            assert call.result(PATIENCE) == LARGE
        assert place.runs == 1

    def test_while_the_response_is_on_its_way(self, client, proxy, place):
        with ThreadPoolExecutor(1) as pool:
            before = proxy.received
            call = pool.submit(client.call_function, note_and_make, str(place.ledger), LARGE)
            wait_for(lambda: proxy.received > before + LARGE // 8)
            proxy.cut()
            assert call.result(PATIENCE) == bytes(LARGE)
        assert place.runs == 1

    def test_between_two_calls(self, client, proxy, place):
        proxy.cut()
        place.gate.touch()
        assert client.call_function(note_and_wait, str(place.ledger), str(place.gate)) == 7
        assert place.runs == 1

    def test_under_several_calls_at_once(self, client, proxy, place):
        with ThreadPoolExecutor(4) as pool:
            calls = [
                pool.submit(client.call_function, note_and_wait, str(place.ledger), str(place.gate), number)
                for number in range(4)
            ]
            wait_for(lambda: place.runs == 4)
            proxy.cut()
            place.gate.touch()
            assert [call.result(PATIENCE) for call in calls] == [0, 1, 2, 3]
        assert place.runs == 4

    def test_no_more_than_its_id_is_left_there_afterwards(self, client, proxy, place):
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(client.call_function, note_and_wait, str(place.ledger), str(place.gate))
            wait_for(lambda: place.runs)
            proxy.cut()
            place.gate.touch()
            call.result(PATIENCE)
        client.close()
        wait_for(lambda: not [path for path in place.jobs.iterdir() if path.suffix != ".done" or path.stat().st_size])

    def test_output_is_shown_once(self, client, proxy, place, capsys):
        script = f"echo before; echo run >>{place.ledger}; until [ -e {place.gate} ]; do sleep 0.01; done; echo after"
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(client.call, "os", "system", [script])
            wait_for(lambda: place.runs)
            time.sleep(0.1)
            proxy.cut()
            place.gate.touch()
            assert call.result(PATIENCE) == 0
        assert capsys.readouterr().out == "before\nafter\n"


class TestEachVerb:
    """The line drops right before and right behind each verb of a call that has no stream."""

    @pytest.mark.parametrize("client", ["files"], indirect=True)
    @pytest.mark.parametrize("verb", ["put", "execute", "get"])
    @pytest.mark.parametrize("when", ["before", "behind"])
    def test_a_drop_there(self, client, proxy, place, monkeypatch, verb, when):
        place.gate.touch()
        whole = getattr(client.host.connector, verb)
        cuts = iter([True])

        def dropping(*arguments, **options):
            if when == "before" and next(cuts, False):
                proxy.cut()
            value = whole(*arguments, **options)
            if when == "behind" and next(cuts, False):
                proxy.cut()
            return value

        monkeypatch.setattr(client.host.connector, verb, dropping)
        assert client.call_function(note_and_wait, str(place.ledger), str(place.gate)) == 7
        assert place.runs == 1


class TestHostThatStaysAway:
    def test_the_outcome_is_unknown_and_the_response_can_be_had_later(self, client, proxy, place, sshd, short_patience):
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(client.call_function, note_and_wait, str(place.ledger), str(place.gate))
            wait_for(lambda: place.runs)
            proxy.close()
            with pytest.raises(OutcomeUnknown, match="may have been running") as caught:
                call.result(PATIENCE)
        job_id = caught.value.job_id
        assert job_id in str(caught.value)
        assert f"jobs/{job_id}" in caught.value.remedy
        place.gate.touch()
        wait_for(lambda: place.responses)
        response = (place.jobs / job_id / "response").read_bytes()
        assert sremote.Response.read(client.host.name, job_id, response, {}, trust=False).result() == 7
        assert place.runs == 1

    def test_before_anything_was_sent_it_is_just_unreachable(self, client, proxy, short_patience):
        client.close()
        proxy.close()
        with pytest.raises(HostUnreachable):
            client.call("operator", "add", [1, 2])

    def test_a_line_that_falls_silent_is_given_up(self, sshd, proxy, place, tmp_path):
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(sshd.known_hosts_line(sshd.host_keys[0], f"[127.0.0.1]:{proxy.port}"))
        with (
            sremote.connect(
                f"{sshd.user}@127.0.0.1:{proxy.port}",
                key_file=sshd.key_file,
                known_hosts=known_hosts,
                keepalive=0.3,
                root=str(tmp_path / "root"),
            ) as client,
            ThreadPoolExecutor(1) as pool,
        ):
            call = pool.submit(client.call_function, note_and_wait, str(place.ledger), str(place.gate))
            wait_for(lambda: place.runs)
            before = proxy.connections
            proxy.stall()
            place.gate.touch()
            wait_for(lambda: proxy.connections > before)
            proxy.resume()
            assert call.result(PATIENCE) == 7
        assert place.runs == 1


def test_a_request_that_arrives_when_its_response_has_been_fetched_is_not_run_again(
    tmp_path: Path, place: Place
) -> None:
    with make_connector(parse_address("local:")) as connector:
        host = Host(connector, root=str(tmp_path / "root"))
        request = Message({"format": 1, "kind": "request", "id": "late", "target": target_by_name("os", "system")})
        add_arguments(request, [f"echo run >> {place.ledger}"], {}, ())
        late = Stream(host)
        (held_back,) = _frames_of(request, 1)
        late.write(held_back[:-1])

        call = Call("late", request.chunks(), None)
        for _ in ("the line that dropped", "the one that did not"):
            call.begin(1)
        line = Line(host, None)
        line.send(call)
        line.response(call, PATIENCE)
        line.close()

        late.write(held_back[-1:])
        assert [kind for kind, _, _ in itertools.islice(late.read(), 1)] == [frames.UNKNOWN]
        late.close()
    assert place.runs == 1


def _frames_of(request: Message, number: int) -> list[bytes]:
    call = Call("late", request.chunks(), None)
    call.begin(number)
    parts = iter(call.frames())
    return [bytes(head) + bytes(next(parts)) for head in parts]
