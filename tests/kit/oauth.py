"""An OAuth2 token endpoint that gives client credentials tokens, and checks who asks (RFC 6749, RFC 7523)."""

import base64
import time
from typing import Any
from urllib.parse import unquote_plus

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class TokenEndpoint:
    """Knows clients by their secrets and public keys; its tokens are JWTs that end after ``life`` seconds."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.keys: dict[str, Any] = {}
        self.life = 600.0
        self.given: list[str] = []
        self.assertions: set[str] = set()
        self.tells_life = True
        self.audience = ""
        self.refused: set[str] = set()
        """Tokens that gateways take no more."""

    def knows(self, token: str) -> bool:
        """Say whether a token was given here and is good still."""
        claims = jwt.decode(token, options={"verify_signature": False}) if token in self.given else {"exp": 0}
        return claims["exp"] > time.time() and token not in self.refused

    async def answer(self, request: Request) -> Response:
        form = await request.form()
        if form.get("grant_type") != "client_credentials":
            return JSONResponse({"error": "unsupported_grant_type"}, 400)
        client = self._client(request, {str(name): str(value) for name, value in form.items()})
        if client is None:
            return JSONResponse({"error": "invalid_client", "error_description": "Client unknown"}, 401)
        claims = {"preferred_username": client, "exp": time.time() + self.life, "n": len(self.given)}
        self.given.append(jwt.encode(claims, "a secret of the endpoint's own, long enough", "HS256"))
        body = {"access_token": self.given[-1], "token_type": "Bearer"}
        return JSONResponse({**body, "expires_in": self.life} if self.tells_life else body)

    def _client(self, request: Request, form: dict[str, str]) -> str | None:
        if "client_assertion" in form:
            try:
                name = jwt.decode(form["client_assertion"], options={"verify_signature": False})["sub"]
                claims = jwt.decode(
                    form["client_assertion"],
                    self.keys[name],
                    algorithms=["RS256", "ES256"],
                    audience=self.audience or str(request.url),
                    options={"require": ["exp", "iat", "jti", "iss", "sub"]},
                )
            except (jwt.PyJWTError, KeyError):
                return None
            if claims["jti"] in self.assertions:
                return None
            self.assertions.add(claims["jti"])
            return str(name)
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        if request.headers.get("authorization", "").startswith("Basic "):
            pair = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
            name, secret = (unquote_plus(part) for part in pair.split(":", 1))
        return name if name in self.secrets and self.secrets[name] == secret else None
