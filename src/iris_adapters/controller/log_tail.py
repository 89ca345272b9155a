"""The client's end of the websocket on which a controller, ours or Ray's, sends a job's log as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import httpcore  # httpx hands out httpcore's own stream once a connection has been upgraded
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError, generate_nonce

from iris_core.errors import JobApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

SWITCHING_PROTOCOLS = 101
_ENDED_CODES = {1000, 1005}  # "normal closure" and "the other side gave no code"
_READ_BYTES = 65536


class NetworkStream(Protocol):
    """The part of httpcore's network stream that is needed."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read some bytes; none means the end."""
        ...

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all the bytes."""
        ...


def upgrade_headers() -> dict[str, str]:
    """The request headers that ask for a websocket (RFC 6455, section 4.1)."""
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": generate_nonce().decode("ascii"),
    }


def read_messages(stream: NetworkStream, timeout_seconds: float) -> Iterator[str]:
    """Yield the text that arrives until the other side closes in the normal way.

    A controller may have nothing to send for hours: after `timeout_seconds` of silence it is asked for a sign of life, and after
    as many more the connection counts as lost.

    Raises:
        JobApiError: the connection was lost, or closed for another reason than that the log has ended.
    """
    connection = Connection(ConnectionType.CLIENT)
    asked = False
    while True:
        try:
            data = stream.read(_READ_BYTES, timeout_seconds)
        except httpcore.ReadTimeout as error:
            if asked:
                raise JobApiError(
                    f"the controller has given no sign of life for {2 * timeout_seconds:g} s while its log was followed"
                ) from error
            asked = True
            _write(stream, connection.send(Ping()), timeout_seconds)
            continue
        except httpcore.ReadError as error:
            raise JobApiError(f"the connection to the controller was lost while a log was followed: {error}") from error
        asked = False
        try:
            connection.receive_data(data or None)
            for event in connection.events():
                if isinstance(event, TextMessage):
                    yield event.data
                elif isinstance(event, Ping):
                    _write(stream, connection.send(event.response()), timeout_seconds)
                elif isinstance(event, CloseConnection):
                    _check_close(event)
                    _write(stream, connection.send(event.response()), timeout_seconds)
                    return
        except (LocalProtocolError, RemoteProtocolError) as error:
            raise JobApiError(
                f"the controller broke the websocket protocol while a log was followed: {error}"
            ) from error


def _check_close(event: CloseConnection) -> None:
    if event.code not in _ENDED_CODES:
        reason = f": {event.reason}" if event.reason else ""
        raise JobApiError(
            f"the controller ended the log before the job had ended (websocket close code {int(event.code)}{reason})"
        )


def _write(stream: NetworkStream, data: bytes, timeout_seconds: float) -> None:
    try:
        stream.write(data, timeout_seconds)
    except (httpcore.WriteError, httpcore.WriteTimeout) as error:
        raise JobApiError(f"the connection to the controller was lost while a log was followed: {error}") from error
