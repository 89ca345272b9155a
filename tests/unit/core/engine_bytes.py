"""What a Docker engine sends of a log, made by hand: chunks and frames; and the lines that are to land of it."""

from __future__ import annotations

import itertools
from typing import Final

from hypothesis import strategies as st

STAMP: Final = b"2026-01-01T00:00:00.000000001Z"
CHUNKED: Final = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST: Final = b"0\r\n\r\n"

CUTS: Final = st.lists(st.integers(0, 10_000), max_size=12)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def frame(payload: bytes, stream: int = 1, stamp: bytes = STAMP) -> bytes:
    entry = stamp + b" " + payload
    return bytes((stream, 0, 0, 0)) + len(entry).to_bytes(4, "big") + entry


def landed(payload: bytes, stream: bytes = b"stdout", stamp: bytes = STAMP) -> bytes:
    full = payload.endswith(b"\n")
    return b"%s %s %s %s" % (stamp, stream, b"F" if full else b"P", payload if full else payload + b"\n")


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]
