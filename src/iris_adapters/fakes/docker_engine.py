r"""A Docker engine in memory, reached as a real one is: `docker system dial-stdio` in a `FakeShell`.

engine = FakeDockerEngine()
shell = FakeShell(starts=[engine.script("iris-controller-iris")])
container = engine.create("iris-controller")
container.write(b"hello\\n")
"""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from iris_adapters.fakes.docker_container import FakeContainer
from iris_adapters.fakes.remote_shell import StartScript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from iris_adapters.fakes.docker_container import LogEntry
    from iris_adapters.fakes.remote_process import FakeProcess

_STREAM_NUMBERS = {"stdout": 1, "stderr": 2}
_ERROR_STREAM = 3
_TORN_ENTRY = b'{"log":"being written\\n","stream":"stdout","time":"2026-01-01T00:00:00.5Z"}'
_NEW_YEAR_SECONDS = 1_767_225_600  # 2026
_EVENTS_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class FakeDockerEngine:
    """Docker containers on one pretended host.

    Attributes:
        reachable: where it is False, `docker system dial-stdio` ends with the docker client's complaint.
        complaint: that text.
        piece_bytes: answers arrive in pieces of at most so many bytes; 0: each as a whole.
        break_after_bytes: the connections made from now on are lost after so many bytes of answers; None: they are not.
        break_status: with which status the command then exits (0, when the daemon ends); None: no exit is seen.
        refuse_logs: what the engine says instead of giving a log, if anything.
        refusal_status: the HTTP status of that.
        refuse_lists: what it says instead of listing containers, if anything.
        refuse_events: what it says instead of telling of changes, if anything.
        unanswered: requests whose path ends so are never answered; empty: none.
        refuse_files: what the host says instead of giving a log's file, if anything.
        torn_bytes: how much of one more entry such a file ends with, which is being written.
        forgets: whether it has forgotten the events of the past.
        requests: the target of every request.
        read_files: from which byte on a log's file was read, each time.
    """

    def __init__(self) -> None:
        self.reachable = True
        self.complaint = (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
        )
        self.piece_bytes = 0
        self.break_after_bytes: int | None = None
        self.break_status: int | None = None
        self.refuse_logs: str | None = None
        self.refuse_lists: str | None = None
        self.refuse_events: str | None = None
        self.unanswered = ""
        self.refuse_files: str | None = None
        self.torn_bytes = 0
        self.forgets = False
        self.refusal_status = 501
        self.requests: list[str] = []
        self.read_files: list[int] = []
        self._containers: dict[str, FakeContainer] = {}
        self._removed: dict[str, FakeContainer] = {}
        self._watchers: dict[tuple[str, Callable[[bytes], None]], None] = {}  # in order; there may be thousands
        self._changes: list[tuple[FakeContainer, bytes]] = []  # one a second, as this engine counts the time
        self._made = 0

    def script(self, host: str | None = None) -> StartScript:
        """What to give a `FakeShell` so that the engine answers on this host (None: on every one)."""
        return StartScript(handler=self.serve, argv=("docker", "system", "dial-stdio"), host=host)

    def file_scripts(self, host: str | None = None) -> list[StartScript]:
        """What to give it, too, so that the files of the logs can be read there."""
        return [StartScript(handler=self.serve_file, argv=(command, "-c"), host=host) for command in ("tail", "stat")]

    def create(
        self, name: str, *, tty: bool = False, can_rotate: bool = False, labels: dict[str, str] | None = None
    ) -> FakeContainer:
        """Create and start a container.

        Raises:
            ValueError: there is one of this name.
        """
        if self._find(name):
            raise ValueError(f"there is a container called {name!r}: remove it first")
        self._made += 1
        container = FakeContainer(f"{self._made:064x}", name, tty=tty, can_rotate=can_rotate, labels=labels or {})
        self._containers[container.id] = container
        self._tell("create", container)
        return container

    def remove(self, container: FakeContainer) -> None:
        """Remove a container and its log."""
        del self._containers[container.id]
        self._removed[container.id] = container
        container.stop()
        self._tell("destroy", container)

    @property
    def date(self) -> int:
        """What its answers say that the time is, in seconds since the epoch."""
        return _NEW_YEAR_SECONDS + len(self._changes)

    def watch(self, label: str, since: int, watcher: Callable[[bytes], None]) -> Callable[[], None]:
        """Have `watcher` told of each container with this label that was created or removed since then, or is.

        Returns what calls it off.
        """
        self.requests.append("/events")
        first = max(0, since - _NEW_YEAR_SECONDS)
        for container, event in self._changes[len(self._changes) if self.forgets else first :]:
            if _bears(container, label):
                watcher(event)
        entry = (label, watcher)
        self._watchers[entry] = None

        def call_off() -> None:
            self._watchers.pop(entry, None)

        return call_off

    def remembered(self, container_id: str) -> list[bytes]:
        """The engine's events of the starts and ends of a container, and of its removal."""
        self.requests.append("/events")
        if self.forgets or container_id not in self._removed:
            return []
        lives = self._removed[container_id].lives
        events = [{"Action": action, "timeNano": _nanoseconds(at)} for action, at in lives]
        return [json.dumps(event).encode() + b"\n" for event in [*events, {"Action": "destroy"}]]

    def _tell(self, what: str, container: FakeContainer) -> None:
        event = {"Type": "container", "Action": what, "Actor": {"ID": container.id}}
        self._changes.append((container, json.dumps(event).encode() + b"\n"))
        for label, watcher in list(self._watchers):
            if _bears(container, label):
                watcher(self._changes[-1][1])

    def serve(self, process: FakeProcess) -> None:
        """Play `docker system dial-stdio`."""
        if not self.reachable:
            process.emit_stderr(self.complaint.encode() + b"\n")
            process.exit(1)
            return
        _Connection(self, process)

    def serve_file(self, process: FakeProcess) -> None:
        """Play `tail -c +N PATH` and `stat -c %s PATH`."""
        *_, command, _, part, path = process.argv
        container = next((one for one in self._containers.values() if one.json_file_path == path), None)
        refusal = self.refuse_files or (None if container else f"cannot open '{path}': No such file or directory")
        if container is None or refusal is not None:
            process.emit_stderr(f"{command}: {refusal}\n".encode())
            process.exit(1)
        elif command == "stat":
            process.emit_stdout(b"%d\n" % len(container.json_file))
            process.exit(0)
        else:
            begin = int(part) - 1
            self.read_files.append(begin)
            output = _Output(self, process)
            output.send((container.json_file + _TORN_ENTRY[: self.torn_bytes])[begin:])
            if process.running and not output.broken:
                process.exit(0)

    def answer(self, target: str) -> tuple[int, object, FakeContainer | None, dict[str, str]]:
        """Status, JSON body, and (for a log) the container and the query, of a request."""
        self.requests.append(target)
        url = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        refusals = {"/events": (403, self.refuse_events), "/containers/json": (500, self.refuse_lists)}
        status, refusal = refusals.get(
            url.path, (self.refusal_status, self.refuse_logs if url.path.endswith("/logs") else None)
        )
        if refusal is not None:
            return status, {"message": refusal}, None, {}
        match url.path.split("/"):
            case ["", "containers", "json"]:
                label = json.loads(query["filters"])["label"][0]
                return 200, [_listed(one) for one in self._containers.values() if _bears(one, label)], None, {}
            case ["", "containers", name, what] if what in {"json", "logs"}:
                container = self._find(unquote(name))
                if container is None:
                    return 404, {"message": f"No such container: {unquote(name)}"}, None, {}
                if what == "json":
                    return 200, container.inspect(), None, {}
                return 200, None, container, query
        return 404, {"message": "page not found"}, None, {}

    def _find(self, name: str) -> FakeContainer | None:
        return self._containers.get(name) or next((one for one in self._containers.values() if one.name == name), None)


class _Output:
    """What a process prints, in pieces, up to a break.

    Attributes:
        broken: whether that has come.
    """

    def __init__(self, engine: FakeDockerEngine, process: FakeProcess) -> None:
        self._engine = engine
        self._process = process
        self._left = engine.break_after_bytes
        self.broken = False

    def send(self, data: bytes) -> None:
        size = self._engine.piece_bytes or len(data)
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            if self._left is not None:
                piece, self._left = piece[: self._left], self._left - len(piece)
            if self.broken or not self._process.running:
                return
            self._process.emit_stdout(piece)
            if self._left is not None and self._left <= 0:
                self.broken = True
                if self._engine.break_status is None:
                    self._process.fail()
                else:
                    self._process.exit(self._engine.break_status)
                return


class _Connection:
    """One channel to the engine: one request at a time."""

    def __init__(self, engine: FakeDockerEngine, process: FakeProcess) -> None:
        self._engine = engine
        self._process = process
        self._output = _Output(engine, process)
        self._input = b""
        self._end_follow: Callable[[], None] | None = None
        process.when_written(self._on_input)
        process.when_closed(self._on_close)

    def _on_input(self, data: bytes) -> None:
        self._input += data
        while b"\r\n\r\n" in self._input:
            head, _, self._input = self._input.partition(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode("ascii")
            url = urlsplit(target)
            if self._engine.unanswered and url.path.endswith(self._engine.unanswered):
                continue
            if url.path == "/events" and self._engine.refuse_events is None:
                query = parse_qs(url.query)
                filters = json.loads(query["filters"][0])
                if "container" in filters:
                    self._remember(filters["container"][0])
                else:
                    self._watch(filters["label"][0], int(query.get("since", [str(self._engine.date)])[0]))
            else:
                self._respond(*self._engine.answer(target))

    def _on_close(self) -> None:
        if self._end_follow is not None:
            self._end_follow()

    def _remember(self, container_id: str) -> None:
        """Tell of the starts and of the removal of a container, and go on, as the engine does, without an end."""
        self._output.send(_EVENTS_HEAD)
        for event in self._engine.remembered(container_id):
            self._send_event(event)

    def _watch(self, label: str, since: int) -> None:
        self._output.send(_EVENTS_HEAD)
        self._end_follow = self._engine.watch(label, since, self._send_event)

    def _send_event(self, event: bytes) -> None:
        self._output.send(b"%x\r\n%s\r\n" % (len(event), event))

    def _respond(self, status: int, body: object, container: FakeContainer | None, query: dict[str, str]) -> None:
        head = f"HTTP/1.1 {status} X\r\nApi-Version: 1.41\r\nDate: {formatdate(self._engine.date, usegmt=True)}\r\n"
        if container is None:
            data = json.dumps(body).encode()
            self._output.send(
                f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
            )
            return
        held = container.held
        entries = held if query["tail"] == "all" else held[len(held) - min(len(held), int(query["tail"])) :]
        whole = list(itertools.takewhile(lambda entry: not container.is_damaged(entry), entries))
        self._output.send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + _chunks(container, whole))
        if len(whole) < len(entries):
            self._output.send(_error_chunk(container) + b"0\r\n\r\n")
        elif query["follow"] == "1" and container.running:
            self._end_follow = container.follow(lambda entry: self._on_entry(container, entry))
        else:
            self._output.send(b"0\r\n\r\n")

    def _on_entry(self, container: FakeContainer, entry: LogEntry | None) -> None:
        if entry is not None and container.is_damaged(entry):
            self._output.send(_error_chunk(container) + b"0\r\n\r\n")
        else:
            self._output.send(b"0\r\n\r\n" if entry is None else _chunks(container, [entry]))


def _chunks(container: FakeContainer, entries: Iterable[LogEntry]) -> bytes:
    chunks = []
    for entry in entries:
        data = entry.timestamp.encode() + b" " + entry.payload
        if not container.tty:
            data = bytes((_STREAM_NUMBERS[entry.stream], 0, 0, 0)) + len(data).to_bytes(4, "big") + data
        chunks.append(b"%x\r\n%s\r\n" % (len(data), data))
    return b"".join(chunks)


def _nanoseconds(text: str) -> int:
    """The engine's text for a time, since 1970."""
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 1_000_000_000 + int(f"{fraction:0<9}")


def _error_chunk(container: FakeContainer) -> bytes:
    """As moby's api/server/httputils/write_log_stream.go."""
    data = b"Error grabbing logs: invalid character '\\x00' looking for beginning of value\n"
    if not container.tty:
        data = bytes((_ERROR_STREAM, 0, 0, 0)) + len(data).to_bytes(4, "big") + data
    return b"%x\r\n%s\r\n" % (len(data), data)


def _bears(container: FakeContainer, label: str) -> bool:
    key, equals, value = label.partition("=")
    return key in container.labels and (not equals or container.labels[key] == value)


def _listed(container: FakeContainer) -> dict[str, object]:
    return {"Id": container.id, "Names": [f"/{container.name}"], "State": "running" if container.running else "exited"}
