"""What is known of the beginning of a log that rotates."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from iris_core.log_head import Head
from iris_core.log_lines import NO_LINES, Lines

STAMP = "2026-01-01T00:00:00.123456789Z"


def landed(payload: str) -> bytes:
    return f"{STAMP} stdout F {payload}\n".encode()


def in_docker(payload: str) -> int:
    """The bytes of an entry in a json-file log, of an encoder that escapes all it may."""
    text = json.dumps({"log": f"{payload}\n", "stream": "stdout", "time": STAMP}, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, "\\u0000")
    return len(text) + 1


def test_a_short_log_is_whole() -> None:
    """Less than the engine would hold if it had rotated anything away."""
    head = Head(2_000_000)
    head.add(Lines.of([landed("x" * 100)] * 1000))
    assert not head.unverified
    assert head.take() == Lines(landed("x" * 100) * 1000, 1000)
    assert head.take() == NO_LINES


def test_a_long_log_may_have_lost_its_beginning() -> None:
    """As much as the engine holds after it has rotated: nobody can know."""
    head = Head(2_000_000)
    head.add(Lines.of([landed("x" * 100)] * 20_000))
    assert head.unverified
    assert head.take().count == 20_000


def test_nothing_is_verified_where_nothing_is_known() -> None:
    """The first line is enough to say so."""
    head = Head(0)
    head.add(Lines.of([landed("x")]))
    assert head.unverified


def test_no_more_is_held_back_than_memory_has_room_for() -> None:
    """What is longer counts as unverified."""
    head = Head(10**9)
    head.add(Lines.of([landed("x" * 16_000)] * 200))
    assert not head.unverified
    head.add(Lines.of([landed("x" * 16_000)] * 100))
    assert head.unverified


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=50), min_size=1, max_size=20))
def test_the_size_of_the_log_files_is_never_thought_too_small(payloads: list[str]) -> None:
    """Whatever has to be escaped: a log as long as it would be after a rotation is never called whole."""
    head = Head(sum(in_docker(payload) for payload in payloads))
    head.add(Lines.of([landed(payload) for payload in payloads]))
    assert head.unverified
