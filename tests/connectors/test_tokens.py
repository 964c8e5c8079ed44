"""Tokens: from where a user keeps them, fresh before they end, and never shown."""

import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.applications import Starlette
from starlette.routing import Route

from sremote.connectors import tokens
from sremote.connectors.errors import SignInRefused, UsageError
from sremote.connectors.tokens import Token, TokenOptions, TokenProvider
from tests.kit.oauth import TokenEndpoint
from tests.kit.web import running


def token_provider(where: str, **options: Any) -> TokenProvider:
    return tokens.token_provider(where, TokenOptions(**options))  # type: ignore[typeddict-item]


def signed(seconds: float, name: str = "") -> str:
    """Return a JWT that ends in so many seconds."""
    return jwt.encode({"exp": time.time() + seconds, "name": name}, "a key that is long enough to sign", "HS256")


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def endpoint() -> Iterator[TokenEndpoint]:
    endpoint = TokenEndpoint()
    with running(Starlette(routes=[Route("/token", endpoint.answer, methods=["POST"])])) as url:
        endpoint.audience = f"{url}/token"
        yield endpoint


def test_a_token_is_given_as_it_is() -> None:
    assert token_provider("site", token="abc\n").token() == "abc"


def test_a_token_stands_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_TOKEN", "abc")

    assert token_provider("site", token_env="SITE_TOKEN").token() == "abc"


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(SignInRefused, match="SITE_TOKEN, which is to hold the token, is not set"):
        token_provider("site", token_env="SITE_TOKEN").token()


@pytest.mark.parametrize("content", ["abc\n", '{"access_token": "abc"}', '{"token": "abc", "expires_at": 9999999999}'])
def test_a_token_stands_in_a_file(tmp_path: Path, content: str) -> None:
    assert token_provider("site", token_file=str(private(tmp_path / "token", content))).token() == "abc"


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = private(tmp_path / "token", "abc")
    path.chmod(0o640)

    with pytest.raises(SignInRefused, match=f"mode 0640[)]\n  Type: chmod 600 {path}"):
        token_provider("site", token_file=str(path)).token()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SignInRefused, match="none: No such file"):
        token_provider("site", token_file=str(tmp_path / "none")).token()


def test_a_file_without_a_token_is_said_to_hold_none(tmp_path: Path) -> None:
    with pytest.raises(SignInRefused, match="gives no token"):
        token_provider("site", token_file=str(private(tmp_path / "token", '{"other": 1}'))).token()


def test_a_token_is_read_again_when_it_ends(tmp_path: Path) -> None:
    path = private(tmp_path / "token", signed(5))
    provider = token_provider("site", token_file=str(path))
    assert provider.token() == path.read_text()

    private(path, signed(600))

    assert provider.token() == path.read_text()


def test_a_command_prints_a_token(tmp_path: Path) -> None:
    program = tmp_path / "give token"
    program.write_text("#!/bin/sh\necho abc\n")
    program.chmod(0o700)

    assert token_provider("site", token_command=[str(program)]).token() == "abc"
    assert token_provider("site", token_command=f"'{program}'").token() == "abc"


@pytest.mark.parametrize(
    ("command", "complaint"),
    [("sh -c 'exit 3'", "ended with status 3"), ("true", "is empty"), ("echo two words", "gives no token")],
)
def test_a_command_that_gives_no_token_is_said(command: str, complaint: str) -> None:
    with pytest.raises(SignInRefused, match=complaint):
        token_provider("site", token_command=command).token()


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(SignInRefused, match=r"no-such-program.*cannot be run"):
        token_provider("site", token_command="no-such-program").token()


def test_another_librarys_object_gives_tokens() -> None:
    class Theirs:
        def get_access_token(self) -> str:
            return "abc"

    assert token_provider("site", token=Theirs()).token() == "abc"


def test_a_token_that_has_ended_is_said_with_when() -> None:
    with pytest.raises(SignInRefused, match=r"the option 'token' expired at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"):
        token_provider("site", token=signed(-100)).token()


def test_tokens_are_replaced_before_they_end() -> None:
    class Short(TokenProvider):
        given = 0

        def obtain(self) -> Token:
            self.given += 1
            return Token(f"token-{self.given}", time.time() + (tokens.EARLY / 2 if self.given == 1 else 600))

    provider = Short("a test")
    assert [provider.token() for _ in range(3)] == ["token-1", "token-2", "token-2"]


def test_threads_share_one_token(endpoint: TokenEndpoint) -> None:
    endpoint.secrets["crowd"] = "s3cret"
    before = len(endpoint.given)
    provider = provider_of(endpoint, "crowd", "s3cret")
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: provider.token(), range(16)))) == 1
    assert len(endpoint.given) == before + 1


def provider_of(endpoint: TokenEndpoint, client: str, secret: str, **options: Any) -> TokenProvider:
    os.environ["CLIENT_SECRET"] = secret
    return token_provider(
        "site", token_url=endpoint.audience, client_id=client, client_secret_env="CLIENT_SECRET", **options
    )


@pytest.fixture(autouse=True)
def secret_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_SECRET", "")


@pytest.mark.parametrize("client_auth", ["post", "basic"])
def test_a_client_secret_buys_a_token(endpoint: TokenEndpoint, client_auth: str) -> None:
    endpoint.secrets["me & you"] = "s3cret: %"

    assert endpoint.knows(provider_of(endpoint, "me & you", "s3cret: %", client_auth=client_auth).token())


def test_a_client_secret_stands_in_a_file(endpoint: TokenEndpoint, tmp_path: Path) -> None:
    endpoint.secrets["me"] = "s3cret"
    path = private(tmp_path / "secret", "s3cret\n")
    provider = token_provider("site", token_url=endpoint.audience, client_id="me", client_secret_file=str(path))

    assert endpoint.knows(provider.token())


def test_a_client_that_is_refused_is_said_without_its_secret(endpoint: TokenEndpoint) -> None:
    with pytest.raises(SignInRefused, match="refused the client 'me': invalid_client: Client unknown") as raised:
        provider_of(endpoint, "me", "wr0ng").token()
    assert "wr0ng" not in str(raised.value)


def test_the_end_of_a_token_is_known_from_its_own_claims(endpoint: TokenEndpoint, monkeypatch: Any) -> None:
    endpoint.secrets["me"] = "s3cret"
    monkeypatch.setattr(endpoint, "tells_life", False)
    monkeypatch.setattr(endpoint, "life", tokens.EARLY / 2)
    provider = provider_of(endpoint, "me", "s3cret")

    assert provider.token() != provider.token()


RSA = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> str:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def jwk(key: Any) -> dict[str, Any]:
    found: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True)
    return found


@pytest.mark.parametrize(
    ("key", "content"),
    [
        (RSA, f"robot\n{pem(RSA)}"),
        (CURVE, f"robot\n{pem(CURVE)}"),
        (RSA, json.dumps({"client_id": "robot", "secret": jwk(RSA)})),
        (RSA, json.dumps({"client_id": "robot", "key": pem(RSA)})),
        (RSA, json.dumps({"client_id": "robot", "secret": json.dumps(jwk(RSA))})),
    ],
    ids=["pem", "curve", "jwk", "json with pem", "jwk as text"],
)
def test_a_private_key_buys_a_token(endpoint: TokenEndpoint, tmp_path: Path, key: Any, content: str) -> None:
    endpoint.keys["robot"] = key.public_key()
    path = private(tmp_path / "key", content)

    assert endpoint.knows(token_provider("site", token_url=endpoint.audience, key_file=str(path)).token())


@pytest.mark.parametrize("content", [pem(RSA), json.dumps(jwk(RSA))], ids=["pem", "jwk"])
def test_a_key_that_does_not_say_whose_it_is_needs_a_client_id(
    endpoint: TokenEndpoint, tmp_path: Path, content: str
) -> None:
    endpoint.keys["robot"] = RSA.public_key()
    path = str(private(tmp_path / "key", content))

    assert token_provider("site", token_url=endpoint.audience, key_file=path, client_id="robot").token()
    with pytest.raises(UsageError, match="does not say whose key it is"):
        token_provider("site", token_url=endpoint.audience, key_file=path)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = private(tmp_path / "key", f"robot\n{pem(RSA)}")
    path.chmod(0o644)

    with pytest.raises(SignInRefused, match="chmod 600"):
        token_provider("site", token_url="https://site.example/token", key_file=str(path))


def test_a_damaged_key_is_said_and_not_shown(tmp_path: Path) -> None:
    path = private(
        tmp_path / "key", "robot\n-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n-----END RSA PRIVATE KEY-----\n"
    )

    with pytest.raises(UsageError, match="holds no private key") as raised:
        token_provider("site", token_url="https://site.example/token", key_file=str(path))
    assert "c2VjcmV0" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "nothing says where its tokens come from"),
        ({"token": "a", "token_env": "B"}, "token and token_env both say"),
        ({"key_file": "x"}, "needs a token_url"),
        ({"client_secret_env": "x", "token_url": "https://a"}, "needs a client_id"),
        (
            {"client_secret_env": "x", "token_url": "https://a", "client_id": "b", "client_auth": "c"},
            "'post' or 'basic'",
        ),
        ({"token": 5}, "neither a text nor an object"),
        ({"token_command": ""}, "there is no command"),
        ({"token": "a", "tokn": "b"}, "there is no option 'tokn'"),
        ({"client_secret_env": "x", "token_url": "site.example", "client_id": "b"}, "is not an address"),
    ],
)
def test_options_that_cannot_be_are_said(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        token_provider("site", **options)


def test_no_token_shows_in_a_repr(endpoint: TokenEndpoint) -> None:
    provider = token_provider("site", token="abcdef")

    assert "abcdef" not in repr(Token(provider.token())) + repr(provider)


def test_a_command_that_gets_a_token_sees_no_other_secret(tmp_path: Path) -> None:
    """What is passed on is the environment that the user has, and nothing in the arguments."""
    noted = tmp_path / "arguments"
    program = f"import sys; open({str(noted)!r}, 'w').write(repr(sys.argv[1:])); print('abc')"

    token_provider("site", token_command=[sys.executable, "-c", program, "one"]).token()

    assert noted.read_text() == "['one']"


def test_files_stay_as_private_as_they_were(tmp_path: Path) -> None:
    path = private(tmp_path / "token", "abc")

    token_provider("site", token_file=str(path)).token()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
