"""Who may talk to the local controller at all. Submitting is running code, so every route is behind this.

The refusals, in this order: a `Host` that is not this server's (a web page whose name was re-bound to 127.0.0.1 has its own); any
`Origin` (only browsers send it); no token, or a wrong one; a body that is too large, announced or not.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES = 1024 * 1024

_HTTP_PORT = 80
_TOKEN_HEADERS = ("authorization", "x-ray-authorization")  # Ray sends the second where a proxy takes the first away
_SCHEME = "bearer"
_UNAUTHORIZED, _FORBIDDEN, _TOO_LARGE = 401, 403, 413
_TOO_LARGE_TEXT = f"the request body is larger than {MOST_BODY_BYTES} bytes"


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: what to guard.
        token: the bearer token that every request must have.
        port: where the server listens on 127.0.0.1.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        if port == _HTTP_PORT:
            self._hosts |= {"127.0.0.1", "localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request or hand it on."""
        refusal = self._refusal(Headers(scope=scope))
        if refusal is None:
            await self._app(scope, _Limited(receive) if scope["type"] == "http" else receive, send)
            return
        status, message = refusal
        headers = {"WWW-Authenticate": "Bearer"} if status == _UNAUTHORIZED else None
        response = JSONResponse({"error": message}, status_code=status, headers=headers)
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(response)
        else:
            await response(scope, receive, send)

    def _refusal(self, headers: Headers) -> tuple[int, str] | None:
        if headers.get("host", "").lower() not in self._hosts:
            return _FORBIDDEN, "the Host header names another server than this one"
        if "origin" in headers:
            return _FORBIDDEN, "requests from web pages are refused (the request has an Origin header)"
        given = next((headers[name] for name in _TOKEN_HEADERS if name in headers), None)
        if given is None:
            return _UNAUTHORIZED, "this controller wants its token: send the header Authorization: Bearer <token>"
        scheme, _, token = given.partition(" ")
        # Both are looked at whatever the first says; the time that takes says nothing of the token.
        matches = hmac.compare_digest(token.strip().encode("latin-1"), self._token)
        if scheme.lower() != _SCHEME or not matches:
            return _FORBIDDEN, "the token is not this controller's"
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > MOST_BODY_BYTES:
            return _TOO_LARGE, _TOO_LARGE_TEXT
        return None


class _Limited:
    """A `receive` that refuses to take more than the limit; a chunked body announces no length."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._received = 0

    async def __call__(self) -> Message:
        """The next message, if the body is not too large with it."""
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > MOST_BODY_BYTES:
            raise HTTPException(_TOO_LARGE, _TOO_LARGE_TEXT)
        return message
