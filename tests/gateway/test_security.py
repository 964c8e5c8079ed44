"""What an attacker may try on a gateway, and what comes of it."""

import hmac
import logging
import os
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pyotp
import pytest
import requests

from sremote.gateway import serve
from sremote.gateway.access import Access, Key, TooManyTries
from sremote.gateway.files import Files, Outside
from tests.kit.gateway import MACHINE, TOKEN, Gateway, gateway

TIMEOUT = 60


@pytest.fixture(scope="module")
def inside(shared: Gateway) -> Path:
    return shared.folder / "allowed"


@pytest.fixture(scope="module")
def outside(shared: Gateway) -> Path:
    """A folder that is not allowed, beside one that is and with a name that begins alike."""
    folder = shared.folder / "allowed-not"
    folder.mkdir()
    (folder / "secret").write_text("SECRET")
    return folder


@pytest.fixture
def api(shared: Gateway) -> Iterator[requests.Session]:
    with shared.signed_in() as session:
        yield session


def raw(gateway: Gateway, request: bytes, *, patience: float = TIMEOUT) -> bytes:
    """Send bytes as they are, and return all that comes back until the gateway hangs up."""
    parts = urlsplit(gateway.url)
    context = ssl.create_default_context(cafile=gateway.folder / "certificate.pem")
    with (
        socket.create_connection((parts.hostname, parts.port), patience) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as line,
    ):
        line.sendall(request)
        answer = b""
        while piece := line.recv(1 << 16):
            answer += piece
        return answer


# --- paths --------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["/file/lab{}?view=read", "/api/file/lab{}?download=1"])
@pytest.mark.parametrize(
    "path",
    [
        "{inside}/../allowed-not/secret",
        "{inside}/%2e%2e/allowed-not/secret",
        "{inside}/..%2fallowed-not/secret",
        "{inside}/x/../../allowed-not/secret",
        "//{inside}/./..//allowed-not/secret",
        "{inside}-not/secret",
        "/etc/passwd",
        "/proc/self/environ",
        "/proc/self/root/etc/passwd",
        "/proc/self/cwd",
        "%00/etc/passwd",
    ],
)
def test_no_path_leads_out(shared: Gateway, inside: Path, outside: Path, api: Any, route: str, path: str) -> None:
    """The request is sent as it is: clients tidy such paths up."""
    target = urlsplit(shared.url).path + route.format(path.format(inside=inside))
    cookie = "; ".join(f"{each.name}={each.value}" for each in api.cookies)
    answer = raw(
        shared, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode()
    )

    assert answer.split(b" ", 2)[1] in (b"400", b"403", b"404")
    assert b"SECRET" not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_no_query_leads_out(shared: Gateway, inside: Path, outside: Path, api: Any, method: str) -> None:
    for path in (f"{inside}/../allowed-not/secret", "../allowed-not/secret", "~/../allowed-not/secret", str(outside)):
        answer = api.request(method, shared.url + "/sremote/files", params={"path": path}, data=b"new", timeout=TIMEOUT)
        assert answer.status_code == 403, path
        assert b"SECRET" not in answer.content
    assert (outside / "secret").read_text() == "SECRET"


def test_a_link_that_leads_out_is_refused_both_ways(shared: Gateway, inside: Path, outside: Path, api: Any) -> None:
    (inside / "file-link").symlink_to(outside / "secret")
    (inside / "folder-link").symlink_to(outside)

    for path in (f"{inside}/file-link", f"{inside}/folder-link/secret"):
        assert api.get(f"{shared.url}/file/lab{path}?view=read", timeout=TIMEOUT).status_code == 403
    assert api.put(f"{shared.url}/file/lab{inside}/folder-link/new", data=b"x", timeout=TIMEOUT).status_code == 403
    assert api.delete(f"{shared.url}/file/lab{inside}/folder-link/secret", timeout=TIMEOUT).status_code == 403
    assert api.get(f"{shared.url}/file/lab{inside}/folder-link", timeout=TIMEOUT).status_code == 403
    # Writing to a link's own name puts a file in the link's place, and what it led to stays.
    assert api.put(f"{shared.url}/file/lab{inside}/file-link", data=b"mine", timeout=TIMEOUT).status_code == 200
    assert (outside / "secret").read_text() == "SECRET"
    assert not (inside / "file-link").is_symlink()
    assert sorted(entry.name for entry in outside.iterdir()) == ["secret"]


def test_a_link_that_stays_inside_is_followed(shared: Gateway, inside: Path, api: Any) -> None:
    (inside / "real").write_text("content")
    (inside / "link").symlink_to(inside / "real")

    assert api.get(f"{shared.url}/file/lab{inside}/link?view=read", timeout=TIMEOUT).text == "content"


def test_a_link_put_into_the_way_after_the_look_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is swapped for a link right after it was resolved: what was opened tells where it is."""
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    (allowed / "folder").mkdir(parents=True)
    outside.mkdir()
    (outside / "file").write_text("SECRET")
    files = Files([allowed], tmp_path)
    resolve = Files._resolve

    def then_swap(self: Files, path: str, *, last: bool = True) -> str:
        place = resolve(self, path, last=last)
        if not (allowed / "folder").is_symlink():
            (allowed / "folder").rmdir()
            (allowed / "folder").symlink_to(outside)
        return place

    monkeypatch.setattr(Files, "_resolve", then_swap)
    with pytest.raises(Outside), files.reading(f"{allowed}/folder/file"):
        pass
    with pytest.raises(Outside), files.writing(f"{allowed}/folder/file", 0o600):
        pass
    assert (outside / "file").read_text() == "SECRET"
    assert [entry.name for entry in outside.iterdir()] == ["file"]


def test_what_is_no_file_is_not_opened(shared: Gateway, inside: Path, api: Any) -> None:
    """A pipe would hold up the gateway for ever."""
    os.mkfifo(inside / "pipe")

    assert api.get(f"{shared.url}/file/lab{inside}/pipe?view=read", timeout=TIMEOUT).status_code == 400


# --- headers ------------------------------------------------------------------------------


def test_a_files_name_gets_into_no_header(shared: Gateway, inside: Path, api: Any) -> None:
    name = 'x\r\nSet-Cookie: stolen=1\r\n"; filename="y'
    (inside / name).write_text("content")

    answer = api.get(f"{shared.url}/file/lab{quote(f'{inside}/{name}')}?view=read", timeout=TIMEOUT)

    assert answer.text == "content"
    assert "stolen" not in str(answer.headers)


@pytest.mark.parametrize("path", ["/%0d%0aX-Injected:%201", "/jobs/%0d%0aX-Injected:%201", "/file/lab/%0aX"])
def test_no_header_can_be_smuggled_in_by_a_path(shared: Gateway, api: Any, path: str) -> None:
    for session in (api, shared.http()):
        answer = session.get(shared.url + path, timeout=TIMEOUT, allow_redirects=False)
        assert "X-Injected" not in answer.headers


def test_a_request_cannot_forge_a_line_of_the_log(shared: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "sremote.gateway"):
        shared.http().get(shared.url + "/x%0a127.0.0.1 GET '/forged' 200", timeout=TIMEOUT)

    assert any("/x\\n" in record.getMessage() for record in caplog.records)
    assert not any("\n" in record.getMessage() for record in caplog.records)


def test_every_answer_forbids_scripts_frames_and_guessing(shared: Gateway) -> None:
    for path in ("/", "/login", "/nowhere", "/file/lab/etc/passwd", "/style.css"):
        headers = shared.http().get(shared.url + path, timeout=TIMEOUT).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "server" not in headers


# --- bodies -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/login", "/sign-in", "/api/auth"])
def test_an_oversized_form_is_refused_before_it_is_read(shared: Gateway, path: str) -> None:
    size = 1 << 30
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"

    answer = raw(shared, f"{head}Content-Length: {size}\r\nConnection: close\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 413")


def test_an_oversized_form_of_unknown_length_is_refused_too(shared: Gateway) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        answer = shared.http().post(shared.url + "/login", data=endless(), headers=kind, timeout=TIMEOUT)
    except requests.ConnectionError:
        return  # hung up while it was being sent
    assert answer.status_code == 413


def test_a_body_that_stops_coming_is_given_up(shared: Gateway) -> None:
    head = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"

    answer = raw(shared, f"{head}Content-Length: 100\r\nConnection: close\r\n\r\nusername=".encode())

    assert answer.startswith(b"HTTP/1.1 408")


def test_an_upload_that_stops_coming_leaves_nothing(shared: Gateway, inside: Path, api: Any) -> None:
    cookie = "; ".join(f"{each.name}={each.value}" for each in api.cookies)
    head = f"PUT /file/lab{inside}/slow HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nContent-Length: 100\r\n"

    answer = raw(shared, f"{head}Connection: close\r\n\r\nhalf of it".encode())

    assert answer.startswith(b"HTTP/1.1 408")
    assert not (inside / "slow").exists()
    assert not list(inside.glob(".*.part"))


def test_a_head_that_does_not_come_is_not_waited_for(shared: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "HEAD_TIMEOUT", 0.5)

    assert raw(shared, b"GET / HTTP/1.1\r\nHost: x\r\n") == b""
    assert raw(shared, b"") == b""


# --- sessions -----------------------------------------------------------------------------

PROTECTED = [
    ("GET", "/file/lab/tmp"),
    ("PUT", "/file/lab/tmp/x"),
    ("DELETE", "/file/lab/tmp/x"),
    ("POST", "/command/lab"),
    ("GET", "/sremote/files?path=x"),
    ("PUT", "/sremote/files?path=x"),
    ("GET", "/api/file/lab/tmp"),
    ("POST", "/api/command/lab"),
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_nothing_is_done_without_a_session(shared: Gateway, method: str, path: str) -> None:
    for cookie in ("", "newt_sessionid=", "newt_sessionid=guessed", "newt_sessionid=" + "A" * 43):
        answer = shared.http().request(
            method, shared.url + path, headers={"Cookie": cookie}, data={"executable": "id"}, timeout=TIMEOUT
        )
        assert answer.status_code == (403 if path.startswith("/api") else 401)


def test_a_stranger_learns_no_more_than_that_this_is_a_gateway(shared: Gateway) -> None:
    answer = shared.http().get(shared.url + "/login", timeout=TIMEOUT).json()

    assert answer["username"] is None
    assert answer["sremote"] == {"otp": False, "machine": MACHINE}


def test_a_cookie_is_for_this_site_alone_and_for_no_script(shared: Gateway) -> None:
    answer = shared.http().post(shared.url + "/login", data={"password": TOKEN}, timeout=TIMEOUT)

    cookie = answer.headers["Set-Cookie"]
    for attribute in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
        assert attribute in cookie


def test_a_stolen_cookie_is_no_good_from_another_address(tmp_path: Path) -> None:
    """Browsers send cookies to every port of a host, so another user's gateway there may come to see them."""
    with gateway(tmp_path, tls=False, prefix="/lab", behind_proxy=True, secure=False) as running:
        own = {"X-Forwarded-For": "192.0.2.1"}
        thief = {"X-Forwarded-For": "192.0.2.2"}
        with running.http() as session:
            session.post(running.url + "/login", data={"password": TOKEN}, headers=own, timeout=TIMEOUT)
            path = f"{running.url}/file/lab{tmp_path}"
            assert session.get(path, headers=own, timeout=TIMEOUT).status_code == 200
            assert session.get(path, headers=thief, timeout=TIMEOUT).status_code == 401
            forged = {"X-Forwarded-For": "192.0.2.1, 192.0.2.2"}
            assert session.get(path, headers=forged, timeout=TIMEOUT).status_code == 401


def test_a_senders_address_is_believed_from_a_proxy_alone(shared: Gateway, api: Any) -> None:
    forged = {"X-Forwarded-For": "192.0.2.9"}

    assert api.get(f"{shared.url}/file/lab{shared.folder}/allowed", headers=forged, timeout=TIMEOUT).status_code == 200


def test_a_session_of_another_gateway_is_unknown(shared: Gateway, api: Any, tmp_path: Path) -> None:
    with gateway(tmp_path) as other, other.http() as session:
        session.cookies.update(api.cookies)
        assert session.get(f"{other.url}/file/lab/tmp", timeout=TIMEOUT).status_code == 401


def test_the_pages_session_runs_no_commands_and_a_programs_shows_no_page(shared: Gateway, api: Any) -> None:
    with shared.http() as browser:
        browser.post(shared.url + "/sign-in", data={"token": TOKEN}, timeout=TIMEOUT)
        page = browser.cookies["sremote_page"]
    with shared.http() as session:
        session.cookies.set("newt_sessionid", page)
        answer = session.post(f"{shared.url}/command/lab", data={"executable": "id"}, timeout=TIMEOUT)
        assert answer.status_code == 401
    with shared.http() as session:
        session.cookies.set("sremote_page", api.cookies["newt_sessionid"])
        assert "Sign in" in session.get(shared.url + "/", timeout=TIMEOUT).text


def test_sessions_end() -> None:
    now = [0.0]
    access = Access(Key(TOKEN), lifetime=100.0, clock=lambda: now[0])
    found = access.sign_in(TOKEN, "here", "api")
    assert found is not None

    now[0] = 99.0
    assert access.session(found[0], "here", "api") is not None
    now[0] = 101.0
    assert access.session(found[0], "here", "api") is None


def test_signing_out_ends_the_session_at_once(shared: Gateway) -> None:
    with shared.signed_in() as session:
        cookies = dict(session.cookies)
        session.get(shared.url + "/logout", timeout=TIMEOUT)
        session.cookies.update(cookies)
        assert session.get(f"{shared.url}/file/lab/tmp", timeout=TIMEOUT).status_code == 401


# --- pages of other sites -----------------------------------------------------------------

FOREIGN = [
    {"Origin": "https://evil.example.org"},
    {"Origin": "null"},
    {"Origin": "https://127.0.0.1:9"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_page_of_another_site_does_nothing_with_a_users_cookie(
    shared: Gateway, api: Any, headers: dict[str, str], inside: Path
) -> None:
    ran = inside / "ran"
    for method, path in (("POST", "/command/lab"), ("PUT", f"/file/lab{ran}"), ("DELETE", f"/file/lab{inside}")):
        answer = api.request(
            method, shared.url + path, data={"executable": f"touch {ran}"}, headers=headers, timeout=TIMEOUT
        )
        assert answer.status_code == 403
    assert not ran.exists()


def test_the_same_without_these_headers_is_done(shared: Gateway, api: Any, inside: Path) -> None:
    """What the test above refuses is refused for its headers."""
    own = {"Origin": shared.url, "Sec-Fetch-Site": "same-origin"}
    api.post(shared.url + "/command/lab", data={"executable": f"touch {inside}/own"}, headers=own, timeout=TIMEOUT)

    assert (inside / "own").exists()


@pytest.mark.parametrize("form", [{"other": "field"}, {"csrf": ""}, {"csrf": "guessed"}, {"csrf": "é"}])
def test_a_form_without_the_sessions_secret_does_nothing(shared: Gateway, form: dict[str, str]) -> None:
    with shared.http() as browser:
        browser.post(shared.url + "/sign-in", data={"token": TOKEN}, timeout=TIMEOUT)
        for path in ("/sign-out", "/jobs/20260101T000000-0000000000000000/cancel"):
            assert browser.post(shared.url + path, data=form, timeout=TIMEOUT).status_code == 403
        assert "Sign out" in browser.get(shared.url + "/", timeout=TIMEOUT).text


def test_the_secret_of_another_session_is_no_good(shared: Gateway) -> None:
    with shared.http() as one, shared.http() as two:
        for browser in (one, two):
            browser.post(shared.url + "/sign-in", data={"token": TOKEN}, timeout=TIMEOUT)
        page = two.get(shared.url + "/", timeout=TIMEOUT).text
        secret = re.search(r'name="csrf" value="([^"]+)"', page)
        assert secret is not None
        assert one.post(shared.url + "/sign-out", data={"csrf": secret[1]}, timeout=TIMEOUT).status_code == 403
        assert two.post(shared.url + "/sign-out", data={"csrf": secret[1]}, timeout=TIMEOUT).status_code == 200


@pytest.mark.long
def test_a_page_of_another_site_opens_no_websocket(shared: Gateway, api: Any) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    context = ssl.create_default_context(cafile=shared.folder / "certificate.pem")
    url = shared.url.replace("https:", "wss:") + "/sremote/run"
    cookie = {"Cookie": "; ".join(f"{each.name}={each.value}" for each in api.cookies)}

    with pytest.raises(InvalidStatus), connect(url, ssl=context, additional_headers=cookie, origin="https://evil.org"):
        pass
    with pytest.raises(InvalidStatus), connect(url, ssl=context):
        pass
    with connect(url, ssl=context, additional_headers=cookie, origin=shared.url) as line:  # type: ignore[arg-type]
        line.send('{"argv": ["true"]}')
        assert '{"status": 0}' in list(line)


# --- the token ----------------------------------------------------------------------------


class Untouchable(str):
    """Text that must not be compared in the usual way, which takes as long as what is equal is long."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared with ==")

    def __ne__(self, other: object) -> bool:
        raise AssertionError("compared with !=")

    def __hash__(self) -> int:
        raise AssertionError("hashed")

    def __contains__(self, other: object) -> bool:
        raise AssertionError("searched")


@pytest.mark.parametrize(("password", "right"), [(TOKEN, True), (TOKEN[:-1] + "y", False), ("", False), ("é", False)])
def test_the_token_is_compared_in_constant_time_and_in_no_other_way(
    monkeypatch: pytest.MonkeyPatch, password: str, right: bool
) -> None:
    compared = []
    real = hmac.compare_digest

    def compare(one: bytes, two: bytes) -> bool:
        compared.append((one, two))
        return real(one, two)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    access = Access(Key(Untouchable(TOKEN)), lifetime=10)

    assert (access.sign_in(Untouchable(password), "here", "api") is not None) == right
    assert compared == [(password.encode(), TOKEN.encode())]


def test_untouchable_text_would_have_told() -> None:
    """The test above is not empty: the usual comparison fails it."""
    with pytest.raises(AssertionError, match="compared"):
        assert Untouchable(TOKEN) == TOKEN


def test_many_wrong_tokens_have_to_wait_longer_and_longer() -> None:
    now = [0.0]
    access = Access(Key(TOKEN), lifetime=100.0, clock=lambda: now[0])
    for _ in range(5):
        assert access.sign_in("wrong", "there", "api") is None
    waits = []
    for _ in range(12):
        assert access.sign_in("wrong", "there", "api") is None
        with pytest.raises(TooManyTries) as wait:
            access.sign_in(TOKEN, "there", "api")
        waits.append(wait.value.wait)
        now[0] += wait.value.wait + 0.01

    assert waits == sorted(waits)
    assert (round(waits[0]), round(waits[-1])) == (1, 300)
    assert access.sign_in(TOKEN, "elsewhere", "api") is not None, "others are not held up"
    assert access.sign_in(TOKEN, "there", "api") is not None, "the right one is let in after the wait"


def test_the_wait_is_told_to_programs_and_to_people(tmp_path: Path) -> None:
    with gateway(tmp_path) as running, running.http() as session:
        for _ in range(6):
            answer = session.post(running.url + "/login", data={"password": "wrong"}, timeout=TIMEOUT)
            assert (answer.status_code, answer.json()["auth"]) == (200, False)
        answer = session.post(running.url + "/login", data={"password": TOKEN}, timeout=TIMEOUT)
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1
        page = session.post(running.url + "/sign-in", data={"token": TOKEN}, timeout=TIMEOUT)
        assert page.status_code == 429
        assert "Try again in" in page.text


def test_a_one_time_code_is_good_once() -> None:
    now = [1_700_000_000.0]
    secret = pyotp.random_base32()
    access = Access(Key(TOKEN, secret), lifetime=100, now=lambda: now[0])
    code = pyotp.TOTP(secret).at(int(now[0]))

    assert access.sign_in(TOKEN, "one", "api") is None
    assert access.sign_in(TOKEN + "000000", "two", "api") is None or code == "000000"
    assert access.sign_in(TOKEN + code, "three", "api") is not None
    assert access.sign_in(TOKEN + code, "four", "api") is None, "a code that was seen on its way is no good"
    now[0] += 30
    assert access.sign_in(TOKEN + pyotp.TOTP(secret).at(int(now[0])), "five", "api") is not None
    assert access.sign_in(TOKEN + pyotp.TOTP(secret).at(int(now[0]) + 300), "six", "api") is None


def test_no_secret_gets_into_the_log(shared: Gateway, caplog: pytest.LogCaptureFixture, inside: Path) -> None:
    with caplog.at_level(logging.DEBUG):
        with shared.signed_in() as session:
            cookie = session.cookies["newt_sessionid"]
            session.post(shared.url + "/command/lab", data={"executable": "echo pass-word"}, timeout=TIMEOUT)
            session.get(shared.url + "/sremote/files", params={"path": f"{inside}/query-secret"}, timeout=TIMEOUT)
        with shared.connector() as connector:
            connector.execute(["echo", "pass-word"])

    lines = [record.getMessage() for record in caplog.records if record.name == "sremote.gateway"]
    for secret in (TOKEN, cookie, "pass-word"):
        assert secret not in caplog.text
    assert not any("query-secret" in line for line in lines)
    for deed in ("POST '/login'", "POST '/command/lab' 200", "GET '/sremote/files' 404", "WEBSOCKET '/sremote/run'"):
        assert any(deed in line for line in lines), deed


def test_many_slow_clients_do_not_hold_up_a_quick_one(shared: Gateway, api: Any) -> None:
    parts = urlsplit(shared.url)
    context = ssl.create_default_context(cafile=shared.folder / "certificate.pem")
    lines = []
    for _ in range(100):
        plain = socket.create_connection((parts.hostname, parts.port), TIMEOUT)
        line = context.wrap_socket(plain, server_hostname="localhost")
        line.sendall(b"POST /login HTTP/1.1\r\nHost: x\r\n")
        lines.append(line)
    try:
        assert api.get(shared.url + "/login", timeout=serve.HEAD_TIMEOUT / 2).json()["auth"] is True
    finally:
        for line in lines:
            line.close()
