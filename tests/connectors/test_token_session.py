"""Requests to a gateway that takes tokens: sent again where that is safe, signed in anew once, saying what failed."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sremote.connectors.errors import (
    ConnectionLost,
    FileMissing,
    HostError,
    HostFull,
    HostUnreachable,
    LineTimeout,
    PermissionRefused,
    SignInRefused,
)
from sremote.connectors.token_session import TokenSession
from sremote.connectors.tokens import Token, TokenProvider, json_of
from tests.kit.web import running

Answer = Callable[[Request], Response]


class Gateway:
    """Answers each request with the next of ``answers``, the last one again and again; notes what it got."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.seen: list[tuple[str, str, bytes]] = []
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        self.seen.append((request.method, request.headers.get("authorization", ""), await request.body()))
        answer = (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(request)
        await answer(scope, receive, send)


def says(status: int, body: Any = "", **headers: str) -> Answer:
    return lambda _: JSONResponse(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


class Counting(TokenProvider):
    """Gives token-1, token-2, …"""

    given = 0

    def obtain(self) -> Token:
        self.given += 1
        return Token(f"token-{self.given}")


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    with running(gateway) as gateway.url:
        yield gateway


def message(answer: Any) -> str | None:
    body = json_of(answer)
    return body.get("message") if isinstance(body, dict) else None


@pytest.fixture
def session(gateway: Gateway) -> Iterator[TokenSession]:
    session = TokenSession(
        gateway.url, name="site", tokens=Counting("the counter"), read_error=message, connect_timeout=60
    )
    yield session
    session.close()


@pytest.mark.parametrize("status", [408, 409, 424, 502, 503, 504])
def test_what_may_be_sent_twice_is_sent_again_until_it_works(
    gateway: Gateway, session: TokenSession, status: int
) -> None:
    gateway.answers = [says(status, {}, Retry_After="0"), says(status, {}, Retry_After="0"), says(200, {"value": 1})]

    assert session.json("GET", "/a", what="ask") == {"value": 1}
    assert len(gateway.seen) == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [(408, LineTimeout), (424, HostUnreachable), (409, HostError), (502, ConnectionLost), (504, ConnectionLost)],
)
def test_what_may_not_be_sent_twice_is_sent_once(
    gateway: Gateway, session: TokenSession, status: int, error: type[Exception]
) -> None:
    gateway.answers = [says(status, {"message": "too slow"})]

    with pytest.raises(error, match="site: cannot submit: "):
        session.request("POST", "/jobs", what="submit", json={})
    assert len(gateway.seen) == 1


def test_too_many_requests_are_sent_again_whatever_they_are(gateway: Gateway, session: TokenSession) -> None:
    gateway.answers = [says(429, {}, Retry_After="0"), says(201, {"id": 1})]

    assert session.json("POST", "/jobs", what="submit", json={}) == {"id": 1}


@pytest.mark.parametrize("status", [409, 429])
def test_retry_after_is_honoured(gateway: Gateway, session: TokenSession, status: int) -> None:
    gateway.answers = [says(status, {}, Retry_After="1"), says(200, {})]
    began = time.monotonic()

    session.request("GET", "/a", what="ask")

    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("status", [409, 429])
def test_a_gateway_that_asks_for_too_long_a_pause_is_not_waited_for(
    gateway: Gateway, session: TokenSession, status: int
) -> None:
    gateway.answers = [says(status, {"message": "slow down"}, Retry_After="3600")]

    with pytest.raises((HostUnreachable, HostError)):
        session.request("GET", "/a", what="ask")
    assert len(gateway.seen) == 1


def test_a_refused_token_is_replaced_once(gateway: Gateway, session: TokenSession) -> None:
    gateway.answers = [says(401, {}), says(200, {})]

    session.request("POST", "/jobs", what="submit", form={"a": "b"})

    assert gateway.seen == [("POST", "Bearer token-1", b"a=b"), ("POST", "Bearer token-2", b"a=b")]


def test_a_second_refusal_is_said_without_the_token(gateway: Gateway, session: TokenSession) -> None:
    gateway.answers = [says(401, {"message": "no such user, token-2"})]

    with pytest.raises(SignInRefused, match=r"the token from the counter was refused: no such user, \[token\]"):
        session.request("GET", "/a", what="ask")
    assert len(gateway.seen) == 2


def test_threads_that_are_refused_at_once_get_one_new_token(gateway: Gateway, session: TokenSession) -> None:
    together = threading.Barrier(4, timeout=60)

    def ask(_: int) -> int:
        together.wait()
        return session.request("GET", "/a", what="ask").status_code

    gateway.answers = [lambda request: JSONResponse({}, 200 if request.headers["authorization"][-1] == "2" else 401)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [200] * 4
    assert {header for _, header, _ in gateway.seen} == {"Bearer token-1", "Bearer token-2"}


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (400, "a bad name", HostError),
        (403, "not yours", PermissionRefused),
        (404, "nothing there", FileMissing),
        (500, "cat: No space left on device", HostFull),
        (500, "Disk quota exceeded", HostFull),
        (500, "cat: /x: Permission denied", PermissionRefused),
        (500, "it broke", HostError),
    ],
)
def test_an_error_says_what_failed_where_and_why(
    gateway: Gateway, session: TokenSession, status: int, said: str, error: type[Exception]
) -> None:
    gateway.answers = [says(status, {"message": said})]

    with pytest.raises(error) as raised:
        session.request("GET", "/a", what="read /a/file")
    assert type(raised.value) is error
    assert str(raised.value).startswith(f"site: cannot read /a/file: {said}")


def test_an_error_without_a_message_names_the_status(gateway: Gateway, session: TokenSession) -> None:
    gateway.answers = [lambda _: Response("<html>oops</html>", 500)]

    with pytest.raises(HostError, match="HTTP status 500"):
        session.request("GET", "/a", what="ask")


def test_a_body_that_is_cut_is_a_lost_connection(gateway: Gateway, session: TokenSession) -> None:
    gateway.answers = [lambda _: Response(b'{"a": [1, 2', media_type="application/json")]

    with pytest.raises(ConnectionLost, match="not whole"):
        session.json("GET", "/a", what="ask")


def test_an_answer_of_another_kind_is_said(gateway: Gateway, session: TokenSession) -> None:
    gateway.answers = [says(200, [1, 2])]

    with pytest.raises(HostError, match="not what this gateway should say"):
        session.object("GET", "/a", what="ask")


def test_a_file_goes_as_a_form_and_is_binary(gateway: Gateway, session: TokenSession) -> None:
    gateway.answers = [says(200)]

    session.request("POST", "/a", what="write", upload=('a "name"', bytes(range(256))))

    assert bytes(range(256)) in gateway.seen[0][2]


def test_few_requests_go_at_once(gateway: Gateway) -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        import asyncio

        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        await asyncio.sleep(0.05)
        with lock:
            under_way -= 1
        await JSONResponse({})(scope, receive, send)

    with running(slow) as url, ThreadPoolExecutor(10) as pool:
        session = TokenSession(
            url, name="site", tokens=Counting("a counter"), read_error=message, connect_timeout=60, at_once=3
        )
        list(pool.map(lambda _: session.request("GET", "/", what="ask"), range(10)))
        session.close()
    assert 1 < most <= 3


def test_nothing_secret_is_logged(gateway: Gateway, session: TokenSession, caplog: pytest.LogCaptureFixture) -> None:
    gateway.answers = [says(200, {})]
    with caplog.at_level(logging.DEBUG):
        session.request("PUT", "/a", what="write", form={"field": "mydata"}, query={"key": "mykey"})

    ours = [record.getMessage() for record in caplog.records if record.name.startswith("sremote")]
    assert ours
    assert [text for text in ours if "mydata" in text or "mykey" in text] == []
    assert [text for text in caplog.messages if "token-1" in text] == []
