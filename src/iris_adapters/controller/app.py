"""The routes of the local controller: the part of the Ray Jobs REST API that is described in docs/job-api.md."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from iris_adapters.controller import wire_json
from iris_adapters.controller.request_json import request_from_json
from iris_adapters.controller.wire import ApiVersion
from iris_core.errors import JobApiError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from iris_adapters.controller.local_engine import LocalEngine

API_VERSION = "4"  # Ray's count: `CURRENT_VERSION` in ray/dashboard/modules/version.py
RAY_VERSION = "2.60.0"  # the release whose routes and fields these are; Ray's client wants at least 2.8

_BAD_REQUEST, _NOT_FOUND, _WRONG_TYPE, _BROKEN = 400, 404, 415, 500
_INTERNAL_ERROR = 1011  # websocket close code


def make_app(engine: LocalEngine, session_name: str) -> Starlette:
    """The ASGI application for this engine. It trusts whoever reaches it: put `Guard` around it."""
    routes = _Routes(engine, session_name)
    app = Starlette(
        routes=[
            Route("/api/version", routes.version, methods=["GET"]),
            Route("/api/jobs/", routes.list, methods=["GET"]),
            Route("/api/jobs/", routes.submit, methods=["POST"]),
            Route("/api/jobs/{job_id}", routes.get, methods=["GET"]),
            Route("/api/jobs/{job_id}", routes.delete, methods=["DELETE"]),
            Route("/api/jobs/{job_id}/tasks", routes.tasks, methods=["GET"]),
            Route("/api/jobs/{job_id}/logs", routes.logs, methods=["GET"]),
            Route("/api/jobs/{job_id}/stop", routes.stop, methods=["POST"]),
            WebSocketRoute("/api/jobs/{job_id}/logs/tail", routes.tail),
        ],
        exception_handlers={JobApiError: _job_api_error, HTTPException: _http_error, Exception: _unexpected_error},
    )
    app.router.redirect_slashes = False  # a redirect would carry the token to wherever Host points
    return app


class _Routes:
    """The handlers. They only ask the engine, which answers at once, so none leaves the event loop."""

    def __init__(self, engine: LocalEngine, session_name: str) -> None:
        self._engine = engine
        self._version = ApiVersion(
            version=API_VERSION,
            ray_version=RAY_VERSION,
            session_name=session_name,
            controller=wire_json.IRIS_CONTROLLER,
        )

    async def version(self, _: Request) -> Response:
        return JSONResponse(wire_json.version_to_json(self._version))

    async def list(self, _: Request) -> Response:
        return JSONResponse([wire_json.info_to_json(info) for info in self._engine.list()])

    async def submit(self, request: Request) -> Response:
        job_id = self._engine.submit(request_from_json(await _json_body(request)))
        return JSONResponse({"job_id": job_id, "submission_id": job_id})  # Ray's client wants both

    async def get(self, request: Request) -> Response:
        return JSONResponse(wire_json.info_to_json(self._engine.get(_job_id(request))))

    async def delete(self, request: Request) -> Response:
        self._engine.delete(_job_id(request))
        return JSONResponse({"deleted": True})

    async def tasks(self, request: Request) -> Response:
        tasks = self._engine.tasks(_job_id(request))
        return JSONResponse({"tasks": [wire_json.task_to_json(task) for task in tasks]})

    async def logs(self, request: Request) -> Response:
        return JSONResponse({"logs": self._engine.logs(_job_id(request))})

    async def stop(self, request: Request) -> Response:
        return JSONResponse({"stopped": self._engine.stop(_job_id(request))})

    async def tail(self, websocket: WebSocket) -> None:
        """Send the job's log from its beginning, as it grows, and close when the job has ended."""
        job_id = websocket.path_params["job_id"]
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the server has stopped
                loop.call_soon_threadsafe(news.set)

        try:
            unwatch = self._engine.watch(job_id, tell)
        except JobApiError as error:
            await websocket.send_denial_response(_error(error.status or _NOT_FOUND, str(error)))
            return
        await websocket.accept()
        gone = asyncio.create_task(_until_gone(websocket, news))
        try:
            await self._send_log(websocket, job_id, news, gone)
        except WebSocketDisconnect:
            pass
        except JobApiError as error:  # the job was deleted before its log had been sent
            await websocket.close(_INTERNAL_ERROR, str(error))
        finally:
            unwatch()
            gone.cancel()

    async def _send_log(self, websocket: WebSocket, job_id: str, news: asyncio.Event, gone: asyncio.Task[None]) -> None:
        position = 0
        while not gone.done():
            news.clear()  # before looking: what comes after the look sets it again
            chunk = self._engine.read_log(job_id, position)
            position = chunk.position
            if chunk.text:
                await websocket.send_text(chunk.text)
            elif chunk.is_last:
                await websocket.close()
                return
            else:
                await news.wait()


async def _until_gone(websocket: WebSocket, news: asyncio.Event) -> None:
    """Return when the client has gone, or the server stops; what clients send is ignored."""
    try:
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
    finally:
        news.set()


def _job_id(request: Request) -> str:
    job_id: str = request.path_params["job_id"]
    return job_id


async def _json_body(request: Request) -> Any:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(_WRONG_TYPE, "the Content-Type must be application/json")
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise HTTPException(_BAD_REQUEST, f"the body is not JSON: {error}") from error


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)


async def _job_api_error(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, JobApiError) else None
    return _error(status or _BAD_REQUEST, str(error))


async def _http_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return _error(_BROKEN, "internal error")
    response = _error(error.status_code, error.detail)
    response.headers.update(error.headers or {})
    return response


async def _unexpected_error(_: Request, __: Exception) -> Response:
    return _error(_BROKEN, "the controller failed; its log says why")
