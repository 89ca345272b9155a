"""The in-process controller: engine and HTTP server together."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

from iris_adapters.controller.app import make_app
from iris_adapters.controller.guard import Guard
from iris_adapters.controller.local_engine import LocalEngine
from iris_adapters.controller.server import LOOPBACK, ServerThread, bind

if TYPE_CHECKING:
    from iris_core.config import LocalConfig
    from iris_core.ports.clock import Clock

_TOKEN_BYTES = 32


class LocalController:
    """Runs from construction until `close`; then no process, thread or socket of it is left.

    Args:
        config: its port, its workers and what they offer.
        clock: time.

    Attributes:
        port: where it listens on 127.0.0.1.
        url: `http://127.0.0.1:{port}`.
        token: the bearer token that it wants with every request; another one each time.

    Raises:
        LocalPortInUseError: the port is taken.
        JobApiError: it cannot be started for another reason.
    """

    def __init__(self, config: LocalConfig, clock: Clock) -> None:
        listener = bind(config.port)
        self.port: int = listener.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._close_lock = threading.Lock()
        try:
            self._engine = LocalEngine(workers=config.workers, cpus_per_worker=config.cpus_per_worker, clock=clock)
            try:
                app = make_app(self._engine, session_name=f"iris-{secrets.token_hex(4)}")
                self._server = ServerThread(Guard(app, token=self.token, port=self.port), listener, clock)
            except BaseException:
                self._engine.close()
                raise
        except BaseException:
            listener.close()
            raise

    def close(self) -> None:
        """End every job, tell whoever follows one, and stop serving. Idempotent; a second caller waits for the first."""
        with self._close_lock:
            try:
                self._engine.close()  # first, so that followers still get the last lines
            finally:
                self._server.stop()

    def __repr__(self) -> str:
        return f"LocalController({self.url!r})"
