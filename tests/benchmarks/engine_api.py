"""What reading one log entry costs: all of it as it is done, its parts one by one as it is done for what is unusual, and h11 beside it.

A log as a Docker engine sends it, one HTTP chunk per entry, in reads of 32 KiB. Best of five, in µs per entry: `just bench-parts`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import h11

from iris_core.engine_api import HttpReply
from iris_core.log_cursor import Anchor, Seeker, Tail
from iris_core.log_lines import Lines, payload_of
from iris_core.log_reply import FrameReader, LogReply

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRIES: Final = 50_000
READ_BYTES: Final = 32 * 1024
ROUNDS: Final = 5
HEAD: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(number: int) -> bytes:
    """One entry of a log of 60-byte lines."""
    entry = b"2026-01-01T00:00:00.%09dZ %s\n" % (number, b"x" * 60)
    frame = b"\x01\0\0\0" + len(entry).to_bytes(4, "big") + entry
    return b"%x\r\n%s\r\n" % (len(frame), frame)


ANSWER: Final = HEAD + b"".join(map(chunk, range(ENTRIES))) + b"0\r\n\r\n"
SINGLY: Final = [HEAD, *map(chunk, range(ENTRIES)), b"0\r\n\r\n"]
READS: Final = [ANSWER[at : at + READ_BYTES] for at in range(0, len(ANSWER), READ_BYTES)]


def with_h11() -> list[list[bytes]]:
    """The pieces of the body, by h11."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "docker")]))
    connection.send(h11.EndOfMessage())
    pieces: list[list[bytes]] = []
    for read in READS:
        connection.receive_data(read)
        pieces.append([])
        while (event := connection.next_event()) is not h11.NEED_DATA and not isinstance(event, h11.EndOfMessage):
            if isinstance(event, h11.Data):
                pieces[-1].append(bytes(event.data))
    return pieces


def with_ours() -> list[list[bytes]]:
    """The pieces of the body, by `HttpReply`."""
    reply = HttpReply()
    return [reply.feed(read) for read in READS]


def best(work: Callable[[], object]) -> float:
    """Microseconds per entry."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times) / ENTRIES * 1e6


def main() -> None:
    """Measure and print."""
    pieces = with_ours()
    lines = [line for some in pieces for piece in some for line in FrameReader().read(piece)]
    together = Lines.of(lines)
    if b"".join(piece for some in with_h11() for piece in some) != b"".join(piece for some in pieces for piece in some):
        raise SystemExit("h11 and HttpReply do not read the same")
    anchor = Anchor.at_end_of(Tail(tuple(lines), whole=True))
    if anchor is None:
        raise SystemExit("nothing was read")

    def read_frames() -> None:
        reader = FrameReader()
        for some in pieces:
            for piece in some:
                reader.read(piece)

    def read_log(reads: list[bytes]) -> bytes:
        reply = LogReply(tty=False)
        return b"".join([reply.feed(read).data for read in reads])

    if read_log(READS) != together.data or read_log(SINGLY) != together.data:
        raise SystemExit("the usual lines are not read as all others")

    for name, work in (
        ("bytes into landed lines, all steps", lambda: read_log(READS)),
        ("the same, where each line comes by itself", lambda: read_log(SINGLY)),
        ("HTTP chunks with h11", with_h11),
        ("HTTP chunks with HttpReply", with_ours),
        ("frames into landed lines", read_frames),
        ("lines apart", together.apart),
        ("search for the landed end", lambda: Seeker(anchor, whole=True).find(lines)),
        ("landed lines into plain text", lambda: [payload_of(line) for line in lines]),
    ):
        print(f"{best(work):7.2f} µs per entry  {name}")  # noqa: T201 - this is its output


if __name__ == "__main__":
    main()
