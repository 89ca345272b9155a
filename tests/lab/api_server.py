"""The HTTP server in front of a `Cloud`: Compute v1, TPU v2 and OS Login v1 on one loopback port."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from tests.lab.compute import ComputeInstances
from tests.lab.compute_catalog import ComputeCatalog
from tests.lab.http_shapes import ApiError, Request, Router
from tests.lab.os_login import OsLoginUsers
from tests.lab.queued import QueuedResources
from tests.lab.tpu import TpuNodes
from tests.lab.tpu_catalog import TpuCatalog

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from tests.lab.cloud import Cloud
    from tests.lab.http_shapes import Json

_STOP_POLL_SECONDS = 0.01


class ApiServer:
    """Serves the cloud on 127.0.0.1 until closed; a context manager.

    Attributes:
        queue: the queued resources.
        on_carried_out: called with every request once it is carried out, before its caller hears of that.
    """

    def __init__(self, cloud: Cloud) -> None:
        self.on_carried_out: Callable[[Request], None] = lambda _request: None
        self._cloud = cloud
        self._router = Router()
        ComputeCatalog(cloud, self._router)
        ComputeInstances(cloud, self._router)
        TpuCatalog(self._router)
        self.queue = QueuedResources(cloud, self._router, TpuNodes(cloud, self._router))
        OsLoginUsers(cloud, self._router)
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        cloud.base_url = self.url
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_STOP_POLL_SECONDS,), name="lab-api", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, method: str, target: str, raw_body: bytes) -> tuple[int, Json]:
        """Answer one call: faults first, then the services."""
        parts = urlsplit(target)
        body = json.loads(raw_body) if raw_body else {}
        request = Request(method=method, path=parts.path, query=dict(parse_qsl(parts.query)), body=body)
        self._cloud.requests.append(request)
        try:
            if fault := self._cloud.faults.take(request):
                time.sleep(fault.delay_seconds)
                if fault.error:
                    raise fault.error
                request = dataclasses.replace(request, operation_error=fault.operation_error)
            return 200, self._router.dispatch(request)
        except (KeyError, TypeError, ValueError) as error:
            unreadable = ApiError(400, f"the lab cannot make sense of {method} {parts.path}: {error!r}")
            return unreadable.status, unreadable.payload(compute_style=parts.path.startswith("/compute/"))
        except ApiError as error:
            return error.status, error.payload(compute_style=parts.path.startswith("/compute/"))
        finally:
            self.on_carried_out(request)

    def dispatch(self, request: Request) -> Json:
        """Answer a call that does not come by HTTP: no faults, no record of it.

        Raises:
            ApiError: the answer is an error.
        """
        return self._router.dispatch(request)

    def close(self) -> None:
        """Stop serving. Idempotent."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a caller that was killed while it was being answered."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    api: ClassVar[ApiServer]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, payload = self.api.answer(self.command, self.path, body)
        self._send(status, json.dumps(payload).encode())

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server looks for these names

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet; `Cloud.requests` has them all."""
