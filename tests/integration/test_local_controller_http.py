"""The local controller over a real socket: its routes, its refusals, its end; and the client against it and against others."""

from __future__ import annotations

import errno
import gc
import json
import logging
import socket
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from iris_adapters.controller.client import JobClient
from iris_adapters.controller.guard import MOST_BODY_BYTES
from iris_adapters.controller.http_api import HttpApi
from iris_adapters.controller.local_controller import LocalController
from iris_adapters.controller.server import bind
from iris_adapters.controller.wire import JobRequest, JobStatus
from iris_adapters.local.inventory import LocalInventory
from iris_adapters.system_clock import SystemClock
from iris_core.config import LocalConfig
from iris_core.errors import JobApiError, LocalPortInUseError

if TYPE_CHECKING:
    from collections.abc import Iterator

SPIN = "while :; do sleep 0.02; done"


def start(port: int = 0, workers: int = 4) -> LocalController:
    return LocalController(LocalConfig(port=port, workers=workers), SystemClock())


@pytest.fixture
def controller() -> Iterator[LocalController]:
    with closing(start()) as running:
        yield running


@pytest.fixture
def client(controller: LocalController) -> Iterator[JobClient]:
    with JobClient(controller.url, controller.token) as made:
        yield made


@pytest.fixture
def http(controller: LocalController) -> Iterator[httpx.Client]:
    """A plain HTTP client with the token."""
    headers = {"Authorization": f"Bearer {controller.token}"}
    with httpx.Client(base_url=controller.url, headers=headers, trust_env=False) as made:
        yield made


def test_a_job_from_submission_to_its_end(client: JobClient) -> None:
    """Submit, follow, read, look at its tasks, list, and delete: each answer fits the others."""
    job_id = client.submit(
        JobRequest(entrypoint='echo "a $X"; sleep 0.1; echo b', env={"X": "1"}, metadata={"who": "me"})
    )

    assert list(client.follow(job_id)) == ["a 1", "b"]

    info = client.get(job_id)
    assert (info.status, info.exit_code, info.metadata["who"]) == (JobStatus.SUCCEEDED, 0, "me")
    assert info.start_time_ms is not None
    assert info.end_time_ms is not None
    assert 100 <= info.end_time_ms - info.start_time_ms < 20_000
    assert client.logs(job_id) == "a 1\nb\n"
    (task,) = client.tasks(job_id)
    assert (task.index, task.state, task.worker_id, task.exit_code) == (0, JobStatus.SUCCEEDED, "local-w0", 0)
    assert client.list() == (info,)
    assert not client.stop(job_id)
    assert client.delete(job_id)
    assert client.list() == ()


def test_lines_are_followed_as_they_come(client: JobClient) -> None:
    """A line arrives while the job still runs; stopping the job ends the following."""
    job_id = client.submit(JobRequest(entrypoint=f"echo up; exec sh -c '{SPIN}'"))

    lines = client.follow(job_id)
    assert next(lines) == "up"
    assert client.get(job_id).status is JobStatus.RUNNING
    assert client.stop(job_id)

    assert list(lines) == []
    assert client.get(job_id).status is JobStatus.STOPPED


def test_a_long_log_is_followed_without_loss(client: JobClient) -> None:
    """Twenty thousand lines arrive in order, each once, to two followers at the same time."""
    job_id = client.submit(JobRequest(entrypoint="seq 20000"))
    seen: list[list[str]] = []
    threads = [threading.Thread(target=lambda: seen.append(list(client.follow(job_id)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == [[str(number) for number in range(1, 20001)]] * 2


def test_a_follower_that_leaves_is_let_go(client: JobClient, controller: LocalController) -> None:
    """A follower that stops in the middle of a running job's log does not disturb anybody."""
    job_id = client.submit(JobRequest(entrypoint="while :; do echo x; done"))
    follower = client.follow(job_id)
    assert next(follower) == "x"
    follower.close()

    assert client.stop(job_id)
    assert controller.port == int(controller.url.rpartition(":")[2])


def test_the_controller_says_that_it_is_iris(client: JobClient) -> None:
    """The version answer has what Ray's client wants, and ours tells iris from Ray by it."""
    version = client.version()

    assert (version.version, version.controller) == ("4", "iris")
    assert version.session_name.startswith("iris-")


def test_a_refusal_is_an_error_with_its_status(client: JobClient) -> None:
    """An unknown job, a wrong request: a JobApiError has the HTTP status and the controller's words."""
    with pytest.raises(JobApiError, match="404: there is no job nobody") as unknown:
        client.get("nobody")
    assert unknown.value.status == 404
    with pytest.raises(JobApiError, match="404: there is no job nobody") as unfollowed:
        list(client.follow("nobody"))
    assert unfollowed.value.status == 404
    with pytest.raises(JobApiError) as path:
        client.get("../version")
    assert path.value.status == 404


def raw(controller: LocalController, head: str, body: bytes = b"") -> tuple[int, str]:
    """Send these very bytes and return status and body of the answer."""
    with socket.create_connection(("127.0.0.1", controller.port), timeout=10) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    text = answer.decode()
    assert "Traceback" not in text
    return int(text.split()[1]), text.partition("\r\n\r\n")[2]


def test_a_web_page_cannot_submit(controller: LocalController, client: JobClient) -> None:
    """Re-bound names and requests with an Origin are refused, even with the token; no job comes of them."""
    body = b'{"entrypoint": "true"}'
    token = f"Authorization: Bearer {controller.token}\n"
    common = f"Content-Type: application/json\nContent-Length: {len(body)}\n"
    own = f"Host: 127.0.0.1:{controller.port}\n"

    foreign = raw(controller, f"POST /api/jobs/ HTTP/1.1\nHost: evil.example\n{token}{common}", body)
    origin = raw(controller, f"POST /api/jobs/ HTTP/1.1\n{own}Origin: http://evil.example\n{token}{common}", body)
    no_token = raw(controller, f"POST /api/jobs/ HTTP/1.1\n{own}{common}", body)
    absolute = raw(
        controller, f"POST http://evil.example/api/jobs/ HTTP/1.1\nHost: evil.example\n{token}{common}", body
    )

    assert [foreign[0], origin[0], no_token[0], absolute[0]] == [403, 403, 401, 403]
    assert client.list() == ()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/version"),
        ("GET", "/api/jobs/"),
        ("POST", "/api/jobs/"),
        ("GET", "/api/jobs/x"),
        ("DELETE", "/api/jobs/x"),
        ("GET", "/api/jobs/x/logs"),
        ("GET", "/api/jobs/x/tasks"),
        ("POST", "/api/jobs/x/stop"),
        ("GET", "/no/such/route"),
    ],
)
def test_no_route_answers_without_the_token(controller: LocalController, method: str, path: str) -> None:
    """Each route, and what is none, answers 401 without a token and 403 with a wrong one."""
    with httpx.Client(base_url=controller.url, trust_env=False) as http:
        assert http.request(method, path).status_code == 401
        assert http.request(method, path, headers={"Authorization": "Bearer wrong"}).status_code == 403


def test_the_log_websocket_wants_the_token(controller: LocalController) -> None:
    """Following without the token is refused with 401 before the websocket opens, with a wrong one with 403."""
    with JobClient(controller.url) as nobody, pytest.raises(JobApiError, match="wants its token") as missing:
        list(nobody.follow("x"))
    with (
        JobClient(controller.url, "wrong") as somebody,
        pytest.raises(JobApiError, match="not this controller") as wrong,
    ):
        list(somebody.follow("x"))

    assert (missing.value.status, wrong.value.status) == (401, 403)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_taken(http: httpx.Client, content_type: str) -> None:
    """What a web form can send is refused with 415, whatever is in it."""
    answer = http.post("/api/jobs/", content=b'{"entrypoint": "true"}', headers={"Content-Type": content_type})

    assert answer.status_code == 415
    assert "application/json" in answer.json()["error"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 500_000, b'{"entrypoint": 1}', b'{"entrypoint": "\\ud800"}'],
)
def test_bad_bodies_are_400(http: httpx.Client, body: bytes) -> None:
    """What is not JSON, or not a request, is a 400 with a message, however it is malformed."""
    answer = http.post("/api/jobs/", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert answer.json()["error"]
    assert "Traceback" not in answer.text


def test_oversized_bodies_are_refused(http: httpx.Client) -> None:
    """A body over the limit is a 413, announced by its length or not."""
    chunk = b" " * 65536
    headers = {"Content-Type": "application/json"}

    announced = http.post("/api/jobs/", content=chunk * 17, headers=headers)
    chunked = http.post("/api/jobs/", content=(chunk for _ in range(17)), headers=headers)

    assert len(chunk) * 17 > MOST_BODY_BYTES
    assert [announced.status_code, chunked.status_code] == [413, 413]
    assert "larger than" in chunked.json()["error"]


def test_what_is_not_there_is_json_too(http: httpx.Client) -> None:
    """Unknown routes and wrong methods are answered with a JSON error, and no redirect is ever given."""
    answers = [http.get("/"), http.get("/api/jobs"), http.put("/api/jobs/"), http.put("/api/packages/gcs/x.zip")]

    assert [answer.status_code for answer in answers] == [404, 404, 405, 404]
    assert all(answer.json()["error"] for answer in answers)


def test_a_taken_port_is_a_clear_error(controller: LocalController) -> None:
    """A second controller on the same port says which port is taken and what to do, and leaves no thread."""
    threads = set(threading.enumerate())

    with pytest.raises(
        LocalPortInUseError, match=rf"port {controller.port} on 127\.0\.0\.1 is taken.*local\.port"
    ) as taken:
        start(port=controller.port)

    assert taken.value.port == controller.port
    assert set(threading.enumerate()) == threads


def test_close_leaves_nothing_and_is_quick() -> None:
    """With a follower, an idle connection and half a request open, close ends all within 2 s; the port is free again."""
    threads, descriptors = set(threading.enumerate()), set(Path("/proc/self/fd").iterdir())
    controller = start()
    clock = SystemClock()
    with (
        JobClient(controller.url, controller.token) as client,
        socket.create_connection(("127.0.0.1", controller.port)) as half,
    ):
        half.sendall(b"POST /api/jobs/ HTTP/1.1\r\nHost: ")
        job_id = client.submit(JobRequest(entrypoint=f"trap 'echo bye; exit' TERM; echo up; {SPIN}"))
        lines = client.follow(job_id)
        assert next(lines) == "up"

        begun = clock.monotonic()
        controller.close()
        taken_seconds = clock.monotonic() - begun

        assert list(lines)[-1] == "bye"  # the end reached the follower before the server went
        with pytest.raises(JobApiError, match="does not answer"):
            client.version()
    controller.close()

    assert taken_seconds < 2
    assert set(threading.enumerate()) == threads
    assert set(Path("/proc/self/fd").iterdir()) == descriptors
    start(port=controller.port).close()


def test_the_server_is_quiet(client: JobClient, caplog: pytest.LogCaptureFixture) -> None:
    """Requests and websockets write no access log, whatever the level of the root logger."""
    with caplog.at_level(logging.INFO):
        list(client.follow(client.submit(JobRequest(entrypoint="true"))))
        client.list()

    assert [record.name for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_the_inventory_starts_and_stops_a_real_controller() -> None:
    """Local mode's inventory hands out address and token of a controller that answers, and stops it on deletion."""
    inventory = LocalInventory("demo", start)
    found = inventory.ensure_controller()
    with JobClient(f"http://{found.host.address}:{found.port}", found.token) as client:
        assert client.version().controller == "iris"
        inventory.delete(found)
        with pytest.raises(JobApiError, match="does not answer"):
            client.version()
    inventory.close()


def test_the_inventory_passes_a_taken_port_on(controller: LocalController) -> None:
    """It is no failure of the cloud."""
    with pytest.raises(LocalPortInUseError, match=f"port {controller.port} .* is taken"):
        LocalInventory("demo", lambda: start(port=controller.port)).ensure_controller()


def test_a_port_that_is_for_others_is_told_as_one_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below 1024, for who is not root: another port helps, too."""

    class Forbidden(socket.socket):
        def bind(self, _address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "socket", Forbidden)
    with pytest.raises(
        LocalPortInUseError, match=r"port 80 on 127\.0\.0\.1 may not be used by this user: set local\.port"
    ):
        bind(80)


@contextmanager
def answering(status: int, body: bytes, content_type: str = "text/plain") -> Iterator[str]:
    """A server that gives every request the same answer; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer."""
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_traceback_from_ray_is_cut_to_its_innermost_error() -> None:
    """Ray answers errors with tracebacks inside of tracebacks; the client quotes the line that says what happened."""
    head = 'Traceback (most recent call last):\n  File "x.py", line 1\n'
    inner = f"{head}ValueError: Job with id x already exists\n"
    outer = f"{head}RuntimeError: Request failed: {inner}.\n"

    with answering(500, outer.encode()) as url, JobClient(url) as client, pytest.raises(JobApiError) as caught:
        client.get("x")

    assert caught.value.status == 500
    assert str(caught.value).endswith("with 500: ValueError: Job with id x already exists")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", json.dumps({"version": 4}).encode(), b"[" * 100_000])
def test_what_is_no_job_api_is_an_error(body: bytes) -> None:
    """Something else that answers 200 is recognised, and named with its URL."""
    with (
        answering(200, body) as url,
        JobClient(url) as client,
        pytest.raises(JobApiError, match=f"{url} answered") as caught,
    ):
        client.version()

    assert caught.value.status == 200


def test_following_what_is_no_websocket_is_an_error() -> None:
    """A server that answers a websocket request with a page is an error with its status."""
    with answering(200, b"hello") as url, pytest.raises(JobApiError, match="with 200: hello"):
        list(HttpApi(url, None, 10.0).messages("/api/jobs/x/logs/tail"))


def test_nobody_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is an error that names the URL, and no proxy of the environment is asked instead."""
    with closing(start()) as controller:
        url = controller.url
    with answering(200, b'{"version": "4", "ray_version": "2.60.0"}', "application/json") as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("all_proxy", proxy)
        with JobClient(url) as client, pytest.raises(JobApiError, match=f"{url} does not answer") as caught:
            client.version()

    assert caught.value.status is None


def test_the_token_is_never_shown(controller: LocalController) -> None:
    """Neither the repr of client and controller nor an error has the token, not even one that cannot be a token."""
    with JobClient(controller.url, controller.token) as client, pytest.raises(JobApiError) as caught:
        client.get("nobody")
    with pytest.raises(JobApiError) as malformed:
        JobClient(controller.url, "s3cret\nX: y")

    assert controller.token not in f"{client!r} {controller!r} {caught.value!r} {vars(caught.value)}"
    assert "s3cret" not in repr(malformed.value)


@pytest.mark.parametrize("url", ["127.0.0.1:1", "ftp://127.0.0.1", "http://[::1", "http://127.0.0.1:x"])
def test_what_is_no_url_is_an_error(url: str) -> None:
    """A URL that is none, or of another protocol, is a JobApiError too."""
    with pytest.raises(JobApiError), JobClient(url) as client:
        client.version()


def test_a_follower_that_reads_nothing_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """A client that opens a log's websocket and never reads is cut off: the controller closes within 2 s, without a word."""
    threads, descriptors = set(threading.enumerate()), set(Path("/proc/self/fd").iterdir())
    controller, clock = start(), SystemClock()
    with (
        JobClient(controller.url, controller.token) as client,
        socket.socket() as deaf,
    ):
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", controller.port))
        job_id = client.submit(JobRequest(entrypoint="yes 0123456789012345678901234567890123456789"))
        deaf.sendall(
            f"GET /api/jobs/{job_id}/logs/tail HTTP/1.1\r\nHost: 127.0.0.1:{controller.port}\r\n"
            f"Authorization: Bearer {controller.token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
        )
        threading.Event().wait(1)  # until every buffer on the way is full

        begun = clock.monotonic()
        controller.close()

        assert clock.monotonic() - begun < 2
    gc.collect()  # where a socket that nobody closed would warn
    assert [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")] == []
    assert set(threading.enumerate()) == threads
    assert set(Path("/proc/self/fd").iterdir()) == descriptors
