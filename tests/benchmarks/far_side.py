"""`python -m tests.benchmarks.far_side SETTINGS`: the hosts of a benchmark, all in one process, with as little behind them as can be.

One SSH server listens on every address of 127.0.0.0/8 and takes each address for a host of its own. On each, a container `iris-worker`
writes numbered lines whose timestamps say when. It answers

- the engine's socket, and `docker system dial-stdio` (with sudo or without): as much of a Docker engine as a log capture asks for;
- `docker logs --timestamps --follow iris-worker`: the lines from now on, as the docker client prints them.

It writes `listening` on standard output and ends with its standard input. A line `lines` there starts the writing of lines, each host's
at a moment of its own in the second; `flap SECONDS NUMBER…` has the connections of these hosts broken every so often from now on.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import asyncssh
from asyncssh.connection import SSHConnection
from asyncssh.constants import MSG_IGNORE

from iris_core.docker_logs import ENGINE_SOCKET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONTAINER: Final = "iris-worker"
LINE_BYTES: Final = 120
_HELD: Final = 2000  # entries of a container's log that the engine keeps
_STARTED_AT: Final = "2026-01-01T00:00:00.000000001Z"
_HOSTS_PER_NET: Final = 250
_HEAD: Final = (  # as of Docker 20.10; its date makes the heads of one second alike, and no others
    b"HTTP/1.1 %d X\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nDocker-Experimental: false\r\nOstype: linux\r\n"
    b"Server: Docker/20.10.24 (linux)\r\nDate: %b\r\n%b\r\n\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What it needs to know.

    Attributes:
        hosts: how many there are.
        port: where all of them listen.
        host_key: the file of their one private key.
        user_keys: the file of the public keys that may log in.
        rotates: whether the containers' logs have a `max-size`, so that they may rotate.
        lines_per_second: of each container.
    """

    hosts: int
    port: int
    host_key: str
    user_keys: str
    rotates: bool = False
    lines_per_second: float = 1.0

    def as_argument(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


def address_of(number: int) -> str:
    """The loopback address of a host, the first is 0."""
    net, last = divmod(number, _HOSTS_PER_NET)
    return f"127.0.{net + 1}.{last + 1}"


def _number_of(address: str) -> int:
    _, _, net, last = map(int, address.split("."))
    return (net - 1) * _HOSTS_PER_NET + last - 1


class Container:
    """A container that writes a line now and then.

    Args:
        number: of its host.
        rotates: whether its log may rotate.
    """

    def __init__(self, number: int, *, rotates: bool) -> None:
        self.id = f"{number + 1:064x}"
        self._rotates = rotates
        self._lines = 0
        self._held: deque[bytes] = deque(maxlen=_HELD)
        self._sessions: set[Session] = set()

    def write(self) -> None:
        """Write the next line: the time, its number, and what fills it up."""
        nanoseconds = time.time_ns()
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 1_000_000_000))
        self._lines += 1
        payload = b"line %d " % self._lines
        line = f"{second}.{nanoseconds % 1_000_000_000:09d}Z ".encode() + payload.ljust(LINE_BYTES - 1, b".") + b"\n"
        self._held.append(line)
        for session in self._sessions:
            session.tell(line)

    def follow(self, session: Session) -> None:
        """Tell a session of every line from now on."""
        self._sessions.add(session)

    def forget(self, session: Session) -> None:
        """Tell it no more."""
        self._sessions.discard(session)

    def held(self, tail: str) -> Iterable[bytes]:
        """The last so many entries, or `all`."""
        entries = list(self._held)
        return entries if tail == "all" else entries[max(0, len(entries) - int(tail)) :]

    def inspect(self) -> dict[str, object]:
        """The engine's answer to inspect."""
        return {
            "Id": self.id,
            "Name": f"/{CONTAINER}",
            "LogPath": f"/var/lib/docker/containers/{self.id}/{self.id}-json.log",
            "State": {
                "Status": "running",
                "Running": True,
                "StartedAt": _STARTED_AT,
                "FinishedAt": "0001-01-01T00:00:00Z",
                "ExitCode": 0,
                "OOMKilled": False,
            },
            "Config": {"Tty": False, "Labels": {}},
            "HostConfig": {
                "LogConfig": {
                    "Type": "json-file",
                    "Config": {"max-size": "10m", "max-file": "3"} if self._rotates else {},
                }
            },
        }


class Session:
    """What speaks on one channel: an engine, or (without `_frames`) a container's log."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._channel: asyncssh.SSHServerChannel[bytes] | asyncssh.SSHUNIXChannel[bytes] | None = None
        self._frames = True
        self._input = b""

    def data_received(self, data: bytes, datatype: int | None) -> None:  # noqa: ARG002 - asyncssh's signature
        """See asyncssh. Answers every whole request."""
        self._input += data
        while b"\r\n\r\n" in self._input:
            head, _, self._input = self._input.partition(b"\r\n\r\n")
            self._answer(head.split(b" ", 2)[1].decode("ascii"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncssh's signature
        """See asyncssh."""
        self._channel = None
        self._container.forget(self)

    def tell(self, line: bytes) -> None:
        """Send a line of the log."""
        self._send(_chunk(line) if self._frames else line)

    def _send(self, data: bytes) -> None:
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write(data)

    def _answer(self, target: str) -> None:
        url = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        match url.path.split("/"):
            case ["", "events"]:
                self._send(_chunked())  # nothing ever happens here
            case ["", "containers", "json"]:
                self._send(_whole(200, []))
            case ["", "containers", name, "json"] if name in {CONTAINER, self._container.id}:
                self._send(_whole(200, self._container.inspect()))
            case ["", "containers", self._container.id, "logs"]:
                self._answer_logs(query)
            case _:
                self._send(_whole(404, {"message": f"No such container or page: {url.path}"}))

    def _answer_logs(self, query: Mapping[str, str]) -> None:
        follow = query["follow"] == "1"
        entries = b"".join(map(_chunk, self._container.held(query["tail"])))
        self._send(_chunked() + entries + (b"" if follow else b"0\r\n\r\n"))
        if follow:
            self._container.follow(self)


class Command(Session, asyncssh.SSHServerSession[bytes]):
    """One command on a host."""

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """See asyncssh."""
        self._channel = chan
        self._exit = chan.exit

    def exec_requested(self, command: str) -> bool:
        """See asyncssh. Anything else than the two commands is refused."""
        self._frames = command.endswith("docker system dial-stdio")
        return self._frames or command.startswith("docker logs ")

    def session_started(self) -> None:
        """See asyncssh."""
        if not self._frames:
            self._container.follow(self)

    def eof_received(self) -> bool:
        """See asyncssh. `dial-stdio` ends when its input does, `logs` goes on."""
        if self._frames:
            self._exit(0)
        return not self._frames


class Socket(Session, asyncssh.SSHUNIXSession[bytes]):
    """One connection to the engine's socket on a host."""

    def connection_made(self, chan: asyncssh.SSHUNIXChannel[bytes]) -> None:
        """See asyncssh."""
        self._channel = chan

    def eof_received(self) -> bool:
        """See asyncssh. It ends when the client's side does."""
        return False


class Server(asyncssh.SSHServer):
    """What one connection is to.

    Args:
        containers: by host number.
        connections: by host number, those that are open.
    """

    def __init__(self, containers: list[Container], connections: dict[int, set[asyncssh.SSHServerConnection]]) -> None:
        self._containers = containers
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None
        self._number = -1

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """See asyncssh."""
        self._connection = conn
        self._number = _number_of(conn.get_extra_info("sockname")[0])
        self._connections.setdefault(self._number, set()).add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncssh's signature
        """See asyncssh."""
        if self._connection is not None:
            self._connections[self._number].discard(self._connection)

    def session_requested(self) -> Command:
        """See asyncssh."""
        return Command(self._containers[self._number])

    def unix_connection_requested(self, dest_path: str) -> Socket | bool:
        """See asyncssh. There is one socket."""
        return dest_path == ENGINE_SOCKET and Socket(self._containers[self._number])


def _chunk(line: bytes) -> bytes:
    """A log entry of standard output as a frame, as an HTTP chunk."""
    size = len(line)
    return b"%x\r\n\x01\0\0\0%b%b\r\n" % (size + 8, size.to_bytes(4, "big"), line)


def _whole(status: int, value: object) -> bytes:
    body = json.dumps(value).encode()
    return _head(status, b"Content-Length: %d" % len(body)) + body


def _chunked() -> bytes:
    return _head(200, b"Transfer-Encoding: chunked")


def _head(status: int, body: bytes) -> bytes:
    return _HEAD % (status, formatdate(usegmt=True).encode(), body)


async def _write_lines(containers: list[Container], lines_per_second: float) -> None:
    """Have every container write at its rate, one after another, evenly."""
    loop = asyncio.get_running_loop()
    step = 1 / lines_per_second / len(containers)
    due = loop.time()
    while True:
        for container in containers:
            container.write()
            due += step
            await asyncio.sleep(max(0.0, due - loop.time()))


async def _flap(seconds: float, numbers: list[int], connections: dict[int, set[asyncssh.SSHServerConnection]]) -> None:
    """Break the connections of some hosts again and again, one after another."""
    while True:
        for number in numbers:
            await asyncio.sleep(seconds / len(numbers))
            for connection in list(connections.get(number, ())):
                connection.abort()


def _send_nothing_to_be_ignored() -> None:
    """Send what OpenSSH's server would: asyncssh puts a packet to be ignored before every other, which the client has to decrypt, too."""
    send_packet = SSHConnection.send_packet

    def send(self: SSHConnection, pkttype: int, *args: bytes, **options: Any) -> None:
        if pkttype != MSG_IGNORE:
            send_packet(self, pkttype, *args, **options)

    SSHConnection.send_packet = send  # type: ignore[method-assign] # asyncssh has no option for it


async def _serve(settings: Settings) -> None:
    _send_nothing_to_be_ignored()
    containers = [Container(number, rotates=settings.rotates) for number in range(settings.hosts)]
    connections: dict[int, set[asyncssh.SSHServerConnection]] = {}
    await asyncssh.listen(
        "",
        settings.port,
        server_factory=lambda: Server(containers, connections),
        server_host_keys=[settings.host_key],
        authorized_client_keys=settings.user_keys,
        kex_algs=["curve25519-sha256", "curve25519-sha256@libssh.org"],
        encryption_algs=["aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"],
        compression_algs=["none"],
        encoding=None,
        backlog=1000,
        login_timeout=60,
    )
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    tasks = []
    while command := (await asyncio.to_thread(sys.stdin.readline)).split():
        match command:
            case ["lines"]:
                tasks.append(asyncio.create_task(_write_lines(containers, settings.lines_per_second)))
            case ["flap", seconds, *numbers]:
                tasks.append(asyncio.create_task(_flap(float(seconds), list(map(int, numbers)), connections)))
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(_serve(Settings(**json.loads(sys.argv[1]))))
