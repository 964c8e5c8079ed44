"""HTTP to gateways: what is never sent twice, or on to another place, and what errors say."""

import email.utils
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from sremote.connectors.errors import ConnectionLost, HostUnreachable, LineTimeout
from sremote.connectors.http_session import HttpSession, retry_after
from tests.kit.web import running


class Site:
    """Answers with what ``answers`` holds, one after the other, and counts."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[Response] = []

    async def answer(self, request: Request) -> Response:
        await request.body()
        self.requests.append(request)
        return self.answers.pop(0) if self.answers else PlainTextResponse("fine")


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    methods = ["GET", "POST", "PUT"]
    with running(Starlette(routes=[Route("/{path:path}", site.answer, methods=methods)])) as url:
        yield url


@pytest.fixture
def session(url: str) -> HttpSession:
    return HttpSession(url, name="the site", connect_timeout=10)


def failing(status: int, **headers: str) -> Response:
    return PlainTextResponse("", status, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("status", [502, 503, 504])
def test_what_is_not_idempotent_is_sent_once(site: Site, session: HttpSession, status: int) -> None:
    site.answers = [failing(status)]

    with pytest.raises(ConnectionLost, match=f"{status}.*\n.*may or may not have happened"):
        session.request("POST", "/jobs", form={"script": "x"})
    assert len(site.requests) == 1


@pytest.mark.parametrize("status", [502, 503, 504])
def test_what_is_idempotent_is_sent_again(site: Site, session: HttpSession, status: int) -> None:
    site.answers = [failing(status), failing(status)]

    assert session.request("GET", "/jobs", idempotent=True).text == "fine"
    assert len(site.requests) == 3


@pytest.mark.parametrize("status", [429, 503])
def test_a_request_that_was_not_taken_is_sent_again_when_the_gateway_says(
    site: Site, session: HttpSession, status: int
) -> None:
    site.answers = [failing(status, Retry_After="1")]
    started = time.monotonic()

    assert session.request("POST", "/jobs", form={"script": "x"}).text == "fine"
    assert time.monotonic() - started >= 1


def test_a_date_says_when_as_well() -> None:
    then = email.utils.formatdate(time.time() + 100, usegmt=True)

    assert retry_after(then) == pytest.approx(100, abs=5)
    assert retry_after(email.utils.formatdate(0, usegmt=True)) == 0
    assert retry_after("7") == 7
    assert retry_after("soon") is None
    assert retry_after(None) is None


def test_a_body_is_sent_from_its_beginning_each_time(site: Site, session: HttpSession, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    site.answers = [failing(502)]

    with (tmp_path / "file").open("rb") as file:

        def body() -> BinaryIO:
            file.seek(0)
            return file

        session.request("PUT", "/file", idempotent=True, body=body)

    assert [request.headers["content-length"] for request in site.requests] == ["7", "7"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_password_is_not_sent_on_to_another_place(site: Site, session: HttpSession, url: str, status: int) -> None:
    site.answers = [RedirectResponse(f"{url}/elsewhere", status)]

    with pytest.raises(HostUnreachable, match=r"sends on to '.*/elsewhere'"):
        session.request("POST", "/login", form={"password": "secret"})
    assert len(site.requests) == 1


def test_what_netrc_holds_for_the_host_is_not_sent(site: Site, session: HttpSession, client_home: Path) -> None:
    (client_home / ".netrc").write_text("machine 127.0.0.1 login alice password secret\n")
    (client_home / ".netrc").chmod(0o600)

    session.request("GET", "/")

    assert "authorization" not in site.requests[0].headers


def test_a_proxy_of_the_environment_is_used_and_named_where_it_fails(
    session: HttpSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    with pytest.raises(HostUnreachable, match=r"the proxy does not let through: .*\n.*https_proxy"):
        session.request("GET", "/")


def test_a_gateway_that_never_answers(session: HttpSession) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        session.base = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(LineTimeout, match="no answer from the gateway in time"):
            session.request("GET", "/", timeout=0.2)


def test_a_name_that_does_not_resolve() -> None:
    session = HttpSession("http://no-such-host.invalid", name="the site", connect_timeout=10)

    with pytest.raises(HostUnreachable, match=r"cannot reach no-such-host\.invalid: "):
        session.request("GET", "/")
