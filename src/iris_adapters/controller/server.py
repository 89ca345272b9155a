"""An ASGI application on 127.0.0.1, served by a thread of its own."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from iris_core.errors import JobApiError, LocalPortInUseError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from iris_core.ports.clock import Clock

LOOPBACK = "127.0.0.1"

_BACKLOG = 128
_START_TIMEOUT_SECONDS = 10.0
_GRACE_SECONDS = 0.5  # for what is being sent while the server stops; who does not read it by then is cut off
_BACKSTOP_SECONDS = 2  # uvicorn's own, which is noisy and leaves sockets to the garbage collector
_KEEP_ALIVE_SECONDS = (
    30  # longer than httpx keeps an idle connection (5 s), so that it does not use one that is just closing
)

_NOT_TO_BE_HAD = {errno.EADDRINUSE: "is taken", errno.EACCES: "may not be used by this user"}


def bind(port: int) -> socket.socket:
    """A socket bound to 127.0.0.1:`port` (0: a free one). The caller closes it.

    Raises:
        LocalPortInUseError: the port is taken, or not this user's to take.
        JobApiError: it cannot be had for another reason.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        listener.bind((LOOPBACK, port))
        listener.listen(
            _BACKLOG
        )  # not later: two sockets that both reuse the address may both bind it, but not both listen
    except OSError as error:
        listener.close()
        if error.errno in _NOT_TO_BE_HAD:
            raise LocalPortInUseError(
                f"port {port} on {LOOPBACK} {_NOT_TO_BE_HAD[error.errno]}: set local.port to another one, or to 0 for a free one",
                host=LOOPBACK,
                port=port,
            ) from error
        raise JobApiError(f"the local controller cannot listen on {LOOPBACK}:{port}: {error.strerror}") from error
    return listener


class ServerThread:
    """Serves from construction until `stop`. Handles no signals and writes no access log.

    Args:
        app: what to serve.
        listener: what `bind` gave; closed by `stop`.
        clock: what waiting for the start goes through.

    Raises:
        JobApiError: the server did not start.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket, clock: Clock) -> None:
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="wsproto",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                ws_max_size=65536,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_BACKSTOP_SECONDS,
            )
        )
        # Not one of uvicorn's own signal handlers is installed: that happens on the main thread only.
        self._thread = threading.Thread(target=self._serve, name="iris-local-controller", daemon=True)
        self._thread.start()
        clock.wait(self._server.is_up_or_over, _START_TIMEOUT_SECONDS)
        if not self._server.started:
            self.stop()
            raise JobApiError("the local controller's HTTP server did not start; the log of uvicorn.error says why")

    def stop(self) -> None:
        """Close every connection and wait until the thread has ended, at most about 2 s. Idempotent."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        finally:
            self._server.is_up_or_over.set()


class _Server(uvicorn.Server):
    """A server that says when it is up, and waits for nobody when it stops."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up_or_over = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up_or_over.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._cut_off)
        await super().shutdown(sockets)

    def _cut_off(self) -> None:
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
