"""The guard as plain ASGI: what it lets through and what it refuses, without a socket."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from iris_adapters.controller.guard import MOST_BODY_BYTES, Guard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request
    from starlette.types import Message

GOOD = {"host": "127.0.0.1:1234", "authorization": "Bearer s3cret"}


async def _count(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


GUARD = Guard(Starlette(routes=[Route("/", _count, methods=["POST"])]), token="s3cret", port=1234)


def ask(
    headers: Mapping[str, str], body: Iterable[bytes] = (), *, guard: Guard = GUARD, kind: str = "http"
) -> tuple[int, str]:
    """Send one request to the guard and return status and body."""
    sent: list[Message] = []
    pieces = [{"type": "http.request", "body": piece, "more_body": True} for piece in body]
    pieces.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        return pieces.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": kind,
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        "extensions": {"websocket.http.response": {}},
    }
    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


def test_a_request_with_the_token_passes() -> None:
    """Host and token are right: the application answers."""
    assert ask(GOOD, [b"12345"]) == (200, "5")


@pytest.mark.parametrize(
    "change",
    [
        {"host": "localhost:1234"},
        {"host": "LOCALHOST:1234"},
        {"authorization": "bearer s3cret"},
    ],
)
def test_other_spellings_pass(change: dict[str, str]) -> None:
    """The name localhost is this host, and neither host names nor the scheme's name have a case."""
    assert ask(GOOD | change)[0] == 200


def test_rays_second_token_header_passes() -> None:
    """X-Ray-Authorization counts where there is no Authorization."""
    assert ask({"host": GOOD["host"], "x-ray-authorization": GOOD["authorization"]})[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example:1234", "127.0.0.1:1235", "127.0.0.1", "127.0.0.1.nip.io:1234", "[::1]:1234", ""]
)
def test_a_foreign_host_is_refused_with_token_or_without(host: str) -> None:
    """A re-bound name, another port, another address: 403 before the token is even looked at."""
    assert ask({"host": host})[0] == 403
    assert ask(GOOD | {"host": host})[0] == 403


def test_a_missing_host_is_refused() -> None:
    """HTTP/1.0 may leave Host out; we do not."""
    assert ask({"authorization": GOOD["authorization"]})[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1234", "null"])
def test_any_origin_is_refused(origin: str) -> None:
    """Only browsers send an Origin, and no page is ours; even this server's own address is refused."""
    status, body = ask(GOOD | {"origin": origin})

    assert status == 403
    assert "web page" in json.loads(body)["error"]


def test_no_token_is_401() -> None:
    """Without a token the answer says which header is missing."""
    status, body = ask({"host": GOOD["host"]})

    assert status == 401
    assert "Authorization" in json.loads(body)["error"]


@pytest.mark.parametrize(
    "value", ["Bearer wrong", "Bearer", "Bearer ", "", "s3cret", "Basic s3cret", "Bearer s3cre", "Bearer s3cret\xff"]
)
def test_a_wrong_token_is_403_and_never_shown(value: str) -> None:
    """A wrong token, scheme or spelling is refused, and the answer contains neither token."""
    status, body = ask(GOOD | {"authorization": value})

    assert status == 403
    assert "s3cre" not in body


def test_a_wrong_authorization_is_not_outvoted() -> None:
    """A right second header does not help a wrong first one."""
    assert ask(GOOD | {"authorization": "Bearer wrong", "x-ray-authorization": "Bearer s3cret"})[0] == 403


def test_a_large_announced_body_is_refused_unread() -> None:
    """A Content-Length above the limit is refused from the header alone."""
    assert ask(GOOD | {"content-length": str(MOST_BODY_BYTES + 1)})[0] == 413


def test_a_large_unannounced_body_is_refused_while_it_comes() -> None:
    """Chunks are counted: the limit itself passes, a byte more does not."""
    chunk = b"x" * (MOST_BODY_BYTES // 4)

    assert ask(GOOD, [chunk] * 4) == (200, str(MOST_BODY_BYTES))
    assert ask(GOOD, [chunk] * 4 + [b"x"])[0] == 413


@pytest.mark.parametrize(("headers", "status"), [({"host": "evil.example"}, 403), ({"host": GOOD["host"]}, 401)])
def test_websockets_are_guarded_too(headers: dict[str, str], status: int) -> None:
    """A websocket without the right Host and token is denied with the same status before it opens."""
    assert ask(headers, kind="websocket")[0] == status


def test_the_default_port_may_go_unsaid() -> None:
    """On port 80 clients leave the port out of Host."""
    guard = Guard(Starlette(routes=[Route("/", _count, methods=["POST"])]), token="s3cret", port=80)

    assert ask(GOOD | {"host": "127.0.0.1"}, guard=guard)[0] == 200
