"""What a gateway does beyond NEWT, and what the connector makes of it."""

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyotp
import pytest
import requests
from click.testing import CliRunner

import sremote
from sremote.cli.gateway import gateway as command
from sremote.cli.options import State as Options
from sremote.connectors.address import parse_address
from sremote.connectors.base import Capability
from sremote.connectors.check import State
from sremote.connectors.errors import (
    ConnectionLost,
    HostError,
    HostKeyError,
    HostUnreachable,
    PermissionRefused,
    SignInRefused,
    UsageError,
)
from sremote.connectors.newt import NewtConnector
from sremote.gateway.access import Key, read_key
from sremote.index import index
from tests.kit.gateway import MACHINE, TOKEN, Gateway, gateway
from tests.kit.program import PROGRAM
from tests.kit.program import sremote as run_program
from tests.kit.proxy import DelayingProxy

TIMEOUT = 60
BIG = bytes(range(256)) * 12_000


@pytest.fixture
def api(shared: Gateway) -> Iterator[requests.Session]:
    with shared.signed_in() as session:
        yield session


@pytest.fixture
def place(shared: Gateway, request: pytest.FixtureRequest) -> Path:
    folder = shared.folder / "allowed" / re.sub(r"\W", "_", request.node.name)
    folder.mkdir()
    return folder


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


# --- NEWT ---------------------------------------------------------------------------------


def test_a_command_of_newt_1_has_its_exit_status_too(shared: Gateway, api: Any) -> None:
    form = {"executable": "echo out; echo err >&2; exit 3", "loginenv": "false"}
    answer = api.post(f"{shared.url}/command/{MACHINE}", data=form, timeout=TIMEOUT).json()

    assert answer == {"status": "ERROR", "output": "out\n", "error": "err\n", "retcode": 3}


def test_newt_2_puts_it_into_an_envelope(shared: Gateway, api: Any) -> None:
    answer = api.post(f"{shared.url}/api/command/{MACHINE}", data={"command": "echo out"}, timeout=TIMEOUT).json()

    assert answer == {
        "status": "OK",
        "status_code": 200,
        "output": {"output": "out\n", "error": "", "retcode": 0},
        "error": "",
    }


def test_both_dialects_list_read_write_and_delete(shared: Gateway, api: Any, place: Path) -> None:
    for prefix, read in (("", "view=read"), ("/api", "download=1")):
        path = f"{shared.url}{prefix}/file/{MACHINE}{place}"
        assert api.put(f"{path}/file", data=b"content", timeout=TIMEOUT).status_code == 200
        listed = api.get(path, timeout=TIMEOUT).json()
        entries = listed["output"] if prefix else listed
        assert [(each["name"], each["size"], each["perms"]) for each in entries] == [("file", "7", "-rw-------")]
        assert api.get(f"{path}/file?{read}", timeout=TIMEOUT).content == b"content"
        assert api.delete(f"{path}/file", timeout=TIMEOUT).status_code == 200
        assert api.get(f"{path}/file?{read}", timeout=TIMEOUT).status_code == 404


def test_a_file_comes_from_a_browsers_form(shared: Gateway, api: Any, place: Path) -> None:
    answer = api.post(f"{shared.url}/file/{MACHINE}{place}", files={"file": ("its name", BIG)}, timeout=TIMEOUT)

    assert answer.status_code == 200
    assert (place / "its name").read_bytes() == BIG


def test_the_status_of_the_machine(shared: Gateway) -> None:
    with shared.http() as anybody:
        assert anybody.get(f"{shared.url}/status", timeout=TIMEOUT).json() == [{"system": MACHINE, "status": "up"}]
        assert anybody.get(f"{shared.url}/api/status/{MACHINE}", timeout=TIMEOUT).json()["output"]["status"] == "up"
        assert anybody.get(f"{shared.url}/status/other", timeout=TIMEOUT).status_code == 404


def test_another_machine_is_not_served(shared: Gateway) -> None:
    address = parse_address(f"newt+{shared.url}/other")

    with (
        NewtConnector(address, **shared.options, stream=False) as connector,
        pytest.raises(HostError, match="there is no machine of that name: this is lab"),
    ):
        connector.execute(["true"])


def test_the_machine_may_be_left_out(shared: Gateway) -> None:
    with NewtConnector(parse_address(f"newt+{shared.url}"), **shared.options) as connector:
        assert connector.execute(["echo", "hello"]).stdout == b"hello\n"


def test_a_command_whose_client_hangs_up_is_ended(shared: Gateway, api: Any, place: Path) -> None:
    script = f"trap 'echo ended >{place}/ended; exit' TERM; echo $$ >{place}/began; sleep 60 & wait"
    with pytest.raises(requests.ReadTimeout):
        api.post(f"{shared.url}/command/{MACHINE}", data={"executable": script}, timeout=1)

    wait_for(lambda: (place / "ended").exists())


def test_a_command_that_prints_too_much_says_what_to_do(shared: Gateway, api: Any) -> None:
    form = {"executable": "yes | head -c 5000000"}
    answer = api.post(f"{shared.url}/command/{MACHINE}", data=form, timeout=TIMEOUT).json()

    assert answer["status"] == "ERROR"
    assert "write them to a file" in answer["error"]


def test_a_gateway_without_commands_has_files_alone(tmp_path: Path) -> None:
    with gateway(tmp_path, commands=False) as running, running.connector() as connector:
        assert connector.capabilities == Capability(0)
        connector.put(b"content", f"{tmp_path}/file")
        assert connector.read(f"{tmp_path}/file") == b"content"
        with pytest.raises(PermissionRefused, match="runs no commands"):
            connector.execute(["true"])


# --- files --------------------------------------------------------------------------------


def test_a_part_of_a_file(shared: Gateway, api: Any, place: Path) -> None:
    (place / "file").write_bytes(BIG)
    path = f"{shared.url}/sremote/files?path={place}/file"
    for wanted, part in (
        ("bytes=0-9", slice(0, 10)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-5", slice(-5, None)),
        (f"bytes=10-{len(BIG) * 2}", slice(10, None)),
    ):
        answer = api.get(path, headers={"Range": wanted}, timeout=TIMEOUT)
        assert answer.status_code == 206
        assert answer.content == BIG[part]
        assert answer.headers["Content-Range"].endswith(f"/{len(BIG)}")
    assert api.get(path, headers={"Range": f"bytes={len(BIG)}-"}, timeout=TIMEOUT).status_code == 416
    stale = {"Range": "bytes=5-", "If-Range": '"another"'}
    assert api.get(path, headers=stale, timeout=TIMEOUT).content == BIG


def test_a_checksum_is_told_where_it_is_wanted(shared: Gateway, api: Any, place: Path) -> None:
    (place / "file").write_bytes(BIG)
    wanted = {"Want-Repr-Digest": "sha-256=1"}

    answer = api.get(f"{shared.url}/sremote/files?path={place}/file", headers=wanted, timeout=TIMEOUT)

    assert answer.headers["Repr-Digest"] == digest(BIG)
    head = api.head(f"{shared.url}/sremote/files?path={place}/file", headers=wanted, timeout=TIMEOUT)
    assert head.headers["Repr-Digest"] == digest(BIG)
    assert head.headers["Content-Length"] == str(len(BIG))


def test_a_file_that_is_not_what_its_checksum_says_leaves_the_old_one(shared: Gateway, api: Any, place: Path) -> None:
    (place / "file").write_bytes(b"old")
    wrong = {"Repr-Digest": digest(b"something else")}

    answer = api.put(f"{shared.url}/sremote/files?path={place}/file", data=BIG, headers=wrong, timeout=TIMEOUT)

    assert answer.status_code == 422
    assert [entry.name for entry in place.iterdir()] == ["file"]
    assert (place / "file").read_bytes() == b"old"


def test_a_small_file_takes_one_request(shared: Gateway, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    with shared.connector() as connector, caplog.at_level("INFO", "sremote.gateway"):
        caplog.clear()
        connector.put(b"content", f"{place}/file")
        connector.read(f"{place}/file")

        assert sum(record.name == "sremote.gateway" for record in caplog.records) <= 2


def test_a_download_goes_on_where_the_line_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = os.urandom(8 << 20)
    (tmp_path / "file").write_bytes(content)
    with gateway(tmp_path, tls=False) as running:
        port = int(running.url.rpartition(":")[2])
        with DelayingProxy(port) as line:

            class CutOnce(io.BytesIO):
                def write(self, data: Any) -> int:
                    written = super().write(data)
                    if line.connections and self.tell() > 1 << 20 and not cut:
                        cut.append(self.tell())
                        line.cut()
                    return written

            cut: list[int] = []
            target = CutOnce()
            address = parse_address(f"newt+http://127.0.0.1:{line.port}/{MACHINE}")
            with NewtConnector(address, **running.options) as connector, caplog.at_level("INFO", "sremote.gateway"):
                connector.get(f"{tmp_path}/file", target)

    assert cut
    assert target.getvalue() == content
    sent = [record.getMessage().split() for record in caplog.records if "GET '/sremote/files'" in record.getMessage()]
    assert {words[3] for words in sent} >= {"206"}


def test_a_file_that_changes_while_it_comes_is_not_patched_together(
    shared: Gateway, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "file").write_bytes(b"one" * 1_000_000)
    whole = requests.Response.iter_content

    def short(self: requests.Response, size: int) -> Iterator[bytes]:
        yield next(whole(self, size))
        (place / "file").write_bytes(b"two" * 1_000_000)
        raise requests.ConnectionError("the line was made to drop")

    with shared.connector() as connector:
        monkeypatch.setattr(requests.Response, "iter_content", short)
        with pytest.raises(ConnectionLost, match="was changed while it was on its way"):
            connector.read(f"{place}/file")


# --- calls --------------------------------------------------------------------------------


@contextmanager
def client_of(gateway: Gateway, **options: Any) -> Iterator[sremote.Client]:
    with sremote.connect(str(gateway.address), **gateway.options, **options) as client:
        yield client


def test_calls_go_over_one_stream_with_live_output_and_sessions(
    shared: Gateway, capfd: pytest.CaptureFixture[str]
) -> None:
    with client_of(shared) as client:
        assert client.call("math", "hypot", [3, 4]) == 5.0
        client.call("builtins", "print", ["printed there"])
        assert capfd.readouterr().out == "printed there\n"
        with client.session() as session:
            assert session.call("math", "sqrt", [16]) == 4.0
            assert session.call("os", "getpid") == session.call("os", "getpid")


def test_a_job_is_found_again_by_whoever_has_only_its_id(shared: Gateway) -> None:
    """Where the token is read from is remembered; the token itself is not."""
    with client_of(shared) as client:
        job = client.submit("math", "hypot", [3, 4])

    assert sremote.job(job.id).result() == 5.0
    for file in index().folder.iterdir():
        assert file.is_dir() or TOKEN.encode() not in file.read_bytes()


def test_a_warm_call_takes_one_round_trip(tmp_path: Path) -> None:
    """Over a line that delays each direction, a call takes as long as one there and one back."""
    delay = 0.2
    with gateway(tmp_path, tls=False) as running:
        port = int(running.url.rpartition(":")[2])
        with DelayingProxy(port, delay) as line:
            address = f"newt+http://127.0.0.1:{line.port}/{MACHINE}"
            with sremote.connect(address, **running.options) as client:
                client.call("math", "sqrt", [1])
                sent = line.connections
                times = [timed(lambda: client.call("math", "sqrt", [4])) for _ in range(5)]

                assert line.connections == sent
                assert 2 * delay <= min(times) < 4 * delay


def test_the_line_may_drop_while_calls_are_under_way(tmp_path: Path) -> None:
    with gateway(tmp_path, tls=False) as running:
        port = int(running.url.rpartition(":")[2])
        with DelayingProxy(port) as line:
            address = f"newt+http://127.0.0.1:{line.port}/{MACHINE}"
            with sremote.connect(address, **running.options) as client:
                client.call("math", "sqrt", [1])
                script = f"echo ran >>{tmp_path}/count; sleep 1; echo done"
                threading.Timer(0.5, line.cut).start()

                assert client.run(["sh", "-c", script]).stdout == b"done\n"

    assert (tmp_path / "count").read_text() == "ran\n"


def test_a_session_that_has_ended_is_begun_anew_for_a_stream(tmp_path: Path) -> None:
    now = [0.0]
    with gateway(tmp_path, clock=lambda: now[0], session_lifetime=100.0) as running, running.connector() as connector:
        assert connector.execute(["echo", "one"]).stdout == b"one\n"
        now[0] = 101.0
        assert connector.execute(["echo", "two"]).stdout == b"two\n"
        now[0] = 202.0
        connector.put(b"content", f"{tmp_path}/file")
        assert connector.read(f"{tmp_path}/file") == b"content"


# --- signing in ---------------------------------------------------------------------------


def test_one_time_codes_are_asked_for_where_the_gateway_wants_them(tmp_path: Path) -> None:
    secret = pyotp.random_base32()
    asked = []

    def prompt(text: str, echo: bool) -> str:
        asked.append(text)
        return pyotp.TOTP(secret).now()

    with gateway(tmp_path, key=Key(TOKEN, secret)) as running:
        with running.connector(prompt=prompt) as connector:
            assert connector.execute(["echo", "in"]).stdout == b"in\n"
        with pytest.raises(SignInRefused, match="code_command"):
            running.connector().connect()
    assert [text.split(" for ")[0] for text in asked] == ["One-time code"]


def test_a_wrong_token_is_refused_and_not_shown(shared: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRONG", "wrong-token")
    with pytest.raises(SignInRefused, match=r"does not let .* in") as refusal:
        shared.connector(password_file=None, password_env="WRONG").connect()
    assert "wrong-token" not in str(refusal.value)


# --- certificates -------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_a_certificate_that_nobody_vouches_for_is_refused_with_its_fingerprint(shared: Gateway, stream: bool) -> None:
    with pytest.raises(HostKeyError, match=f"fingerprint={shared.fingerprint}"):
        shared.connector(fingerprint=None, stream=stream).connect()


def test_another_certificate_than_the_pinned_one_is_refused(shared: Gateway) -> None:
    with pytest.raises(HostKeyError, match="not the one that was pinned"):
        shared.connector(fingerprint="0" * 64).connect()


def test_a_pinned_certificate_is_checked_for_streams_as_well(shared: Gateway) -> None:
    with shared.connector() as connector:
        connector._http.fingerprint = "0" * 64
        with pytest.raises(HostKeyError, match="not trusted"):
            connector.execute(["true"])


def test_an_authority_of_ones_own_will_do(shared: Gateway) -> None:
    options = {"fingerprint": None, "ca_file": str(shared.folder / "certificate.pem")}
    with shared.connector(**options) as connector:
        assert connector.execute(["echo", "hello"]).stdout == b"hello\n"


@pytest.mark.parametrize("text", ["", "12:34", "SHA256:" + "g" * 64])
def test_what_is_no_fingerprint_is_a_usage_error(shared: Gateway, text: str) -> None:
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        shared.connector(fingerprint=text)


def test_a_fingerprint_may_be_written_as_openssl_does(shared: Gateway) -> None:
    assert shared.fingerprint is not None
    pairs = ":".join(re.findall("..", shared.fingerprint.upper()))
    with shared.connector(fingerprint=f"SHA256:{pairs}") as connector:
        assert connector.execute(["true"]).status == 0


def test_a_gateway_that_is_not_there(shared: Gateway) -> None:
    with pytest.raises(HostUnreachable, match=r"cannot reach 127\.0\.0\.1:1: "):
        NewtConnector(parse_address("newt+https://127.0.0.1:1/lab"), **shared.options).connect()


def test_the_doctor_tries_each_step(shared: Gateway) -> None:
    steps = {check.name: check for check in shared.connector().diagnose()}
    assert {name: check.state for name, check in steps.items()} == {
        "gateway answers": State.OK,
        "sign-in works": State.OK,
    }
    assert "sremote gateway" in steps["gateway answers"].detail
    slow = {check.name: check.state for check in shared.connector(stream=False).diagnose()}
    assert slow["streams"] is State.WARNING
    wrong = list(shared.connector(fingerprint="0" * 64).diagnose())
    assert [(check.name, check.state) for check in wrong] == [("gateway answers", State.FAILED)]


# --- behind a proxy -----------------------------------------------------------------------


def test_a_prefix_may_be_left_or_taken_off_by_the_proxy(tmp_path: Path) -> None:
    with gateway(tmp_path, tls=False, prefix="/sites/lab", behind_proxy=True) as running, running.http() as session:
        page = session.get(running.url + "/", timeout=TIMEOUT).text
        assert 'action="/sites/lab/sign-in"' in page
        assert 'href="/sites/lab/style.css"' in page
        bare = running.url.removesuffix("/sites/lab")
        assert session.get(bare + "/", timeout=TIMEOUT).text == page
        answer = session.post(running.url + "/sign-in", data={"token": TOKEN}, allow_redirects=False, timeout=TIMEOUT)
        assert answer.headers["Location"] == "/sites/lab/"
        assert "Path=/sites/lab" in answer.headers["Set-Cookie"]
        with running.connector() as connector:
            assert connector.execute(["echo", "hello"]).stdout == b"hello\n"
            assert Capability.STREAM in connector.capabilities


# --- the command --------------------------------------------------------------------------


def test_the_command_makes_a_token_serves_and_tells_how_to_get_in(client_home: Path, tmp_path: Path) -> None:
    words = [PROGRAM, "gateway", "--port", "0", "--machine", "lab7", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            token = Path(said["token_file"])
            assert token.stat().st_mode & 0o777 == 0o600
            assert token.read_text().strip() == said["token"]
            assert (token.parent / "key.pem").stat().st_mode & 0o777 == 0o600
            options = {"fingerprint": said["fingerprint"], "password_file": str(token)}
            with NewtConnector(parse_address(said["address"]), **options) as connector:
                assert connector.execute(["echo", "served"]).stdout == b"served\n"
        finally:
            process.terminate()
            _, log = process.communicate(timeout=TIMEOUT)
    assert "POST '/login' 200" in log
    assert said["token"] not in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-tls", "--host", "0.0.0.0"], "without TLS the gateway listens on this machine alone"),
        (["--certificate", "here.pem"], "--certificate and --key go together"),
        (["--certificate", "here.pem", "--key", "there.pem"], "here.pem: there is no such file"),
        (["--machine", "a/b"], "is not a name"),
        (["--reverse-proxy-prefix", "lab"], "is not a path"),
        (["--host", "192.0.2.1"], "cannot listen on port 8443 of 192.0.2.1"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(client_home: Path, arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(command, arguments, obj=Options())

    assert isinstance(done.exception, UsageError | SystemExit)
    assert message in " ".join((done.output + str(done.exception)).split())


def test_a_token_that_others_may_read_is_not_used(client_home: Path) -> None:
    folder = client_home / "gateway"
    read_key(folder, codes=False)
    (folder / "token").chmod(0o644)

    done = run_program("gateway", "--no-tls", "--port", "0", "--folder", str(folder), status=2)

    assert "may be read by others" in done.stderr
    assert "--new-token" in done.stderr


def test_a_token_is_made_once_and_anew_when_asked(tmp_path: Path) -> None:
    first, is_new, _ = read_key(tmp_path, codes=False)
    again, is_new_again, _ = read_key(tmp_path, codes=False)
    renewed, _, codes_are_new = read_key(tmp_path, codes=True, renew=True)

    assert (is_new, is_new_again, codes_are_new) == (True, False, True)
    assert first == again
    assert first.token != renewed.token
    assert renewed.token not in repr(renewed)


# --- helpers ------------------------------------------------------------------------------


def timed(action: Any) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def wait_for(is_so: Any) -> None:
    end = time.monotonic() + TIMEOUT
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)
