"""What a controller's job API answers, as bytes."""

from __future__ import annotations

from iris_adapters.fakes import ExchangeScript


def http_reply(body: bytes = b'{"version": "4", "ray_version": "2.60.0"}', *, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def controller_answers(port: int = 10000) -> ExchangeScript:
    """The script of a controller that is up."""
    return ExchangeScript(port=port, answers=[http_reply()])
