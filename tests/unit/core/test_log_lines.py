"""What a log entry is in the landed file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_core.errors import EngineError
from iris_core.log_lines import Lines, landed_lines, payload_of
from tests.unit.core.engine_bytes import STAMP, landed


@given(st.binary(max_size=200).map(lambda data: data.replace(b"\n", b".")), st.sampled_from([b"\n", b"\r\n", b""]))
def test_a_payload_survives_the_landed_line(payload: bytes, end: bytes) -> None:
    """`payload_of` gives back what the container wrote, byte for byte."""
    [line] = landed_lines(b"stderr", STAMP + b" " + payload + end)
    assert line.startswith(STAMP + b" stderr ")
    assert line.count(b"\n") == 1
    assert payload_of(line) == payload + end


@given(st.binary(max_size=60))
def test_an_entry_of_several_lines_is_landed_as_several(payload: bytes) -> None:
    """A newline inside an entry would tear the landed file; split there, nothing of it is lost."""
    lines = landed_lines(b"stdout", STAMP + b" " + payload)
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in lines)
    assert b"".join(map(payload_of, lines)) == payload


@pytest.mark.parametrize(
    ("stamp", "in_utc"),
    [
        (STAMP, STAMP),
        (b"2026-01-01T00:00:00.123456789+01:00", b"2025-12-31T23:00:00.123456789Z"),
        (b"2026-06-30T20:15:59.100000000-09:30", b"2026-07-01T05:45:59.100000000Z"),
        (b"2026-06-30T20:15:59+00:00", b"2026-06-30T20:15:59Z"),
        (b"2026-01-01T00Z 0:00.1", b"2026-01-01T00Z"),  # ends at the space
    ],
)
def test_a_timestamp_lands_in_utc(stamp: bytes, in_utc: bytes) -> None:
    """Engines before 25.0 give the `local` driver's in the daemon's zone (moby issue 46910): the same entry is the same line in each."""
    [line] = landed_lines(b"stdout", stamp + b" x\n")
    assert line.startswith(in_utc + b" stdout F ")


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b" ",
        b"no timestamp here\n",
        b"2026-01-01 x\n",
        b"hello\n",
        b"Z",
        b"2026-01-01T00:00:00.1\n0Z x\n",
        b"2026-01-01T00:00:00.1\n0+01:00 x\n",
        b"2026-02-30T00:00:00.1+01:00 x\n",
        b"0001-01-01T00:00:00.0+01:00 x\n",
        b"2026-01-01T00:00:00.1+24:00 x\n",
    ],
)
def test_an_entry_without_a_timestamp_is_an_error(entry: bytes) -> None:
    """It could not be landed so that it is found again."""
    with pytest.raises(EngineError, match="without a timestamp"):
        landed_lines(b"stdout", entry)


@given(st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"\r"))))
def test_lines_come_apart_as_they_were(payloads: list[bytes]) -> None:
    """At newlines, and at nothing else that may look like the end of a line."""
    lines = [landed(payload + b"\n") for payload in payloads]
    together = Lines.of(lines)
    assert (together.data, together.count) == (b"".join(lines), len(lines))
    assert together.apart() == lines
