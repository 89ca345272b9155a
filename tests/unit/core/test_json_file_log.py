"""`JsonFileLog` against the entries that are in such a file, and what it makes of damage."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_core.errors import EngineError
from iris_core.json_file_log import JsonFileLog

STAMP = "2026-01-01T00:00:00.123456789Z"

PAYLOADS = st.one_of(
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=30),
    st.sampled_from(['say "x"', "a\\", "\\n", "\t<&>\r", "\u2028", '","stream":"stderr","time":"', '{"log":"x"}']),
)
STAMPS = st.sampled_from([STAMP, "2026-01-01T00:00:00.12Z", "2026-01-01T00:00:00Z"])
ENTRIES = st.lists(
    st.tuples(PAYLOADS, st.sampled_from(["\n", "\n", "\n", ""]), st.sampled_from(["stdout", "stderr"]), STAMPS)
)


def entry(log: str, *, stream: str = "stdout", time: str = STAMP, attributes: dict[str, str] | None = None) -> bytes:
    """As the engine writes it: it escapes what could be HTML, too."""
    value = {"log": log, "stream": stream, **({"attrs": attributes} if attributes else {}), "time": time}
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode() + b"\n"


def landed(log: str, *, stream: str = "stdout", time: str = STAMP) -> bytes:
    """The line that lands of it."""
    seconds, _, fraction = time.removesuffix("Z").partition(".")
    whole = log.endswith("\n")
    return f"{seconds}.{fraction:0<9}Z {stream} {'F' if whole else 'P'} {log}".encode() + (b"" if whole else b"\n")


@given(ENTRIES, st.integers(1, 200))
def test_every_entry_lands_as_the_engine_serves_it(entries: list[tuple[str, str, str, str]], size: int) -> None:
    """Whatever it holds, however the bytes are cut."""
    file = b"".join(entry(log + end, stream=stream, time=time) for log, end, stream, time in entries)
    expected = [landed(log + end, stream=stream, time=time) for log, end, stream, time in entries]
    log = JsonFileLog(from_start=True)
    parts = [log.feed(file[at : at + size]) for at in range(0, len(file), size)]
    assert [line for part in parts for line in part.apart()] == expected
    assert sum(part.count for part in parts) == len(expected)
    assert log.consumed == len(file)


def test_attributes_are_left_out() -> None:
    """A container with `--log-opt labels=…` has them in each entry."""
    attributes = {"a": '"},"time":"x', "b": "}"}
    lines = JsonFileLog(from_start=True).feed(entry("x\n", attributes=attributes) * 2)
    assert lines.data == landed("x\n") * 2


@pytest.mark.parametrize("cut", [1, 30, len(entry("one\n")) - 1])
def test_a_cut_entry_at_the_beginning_is_left_out(cut: int) -> None:
    """Where the first byte is not the file's, the first line is not looked at."""
    log = JsonFileLog(from_start=False)
    data = entry("one\n")[cut:] + entry("two\n") + entry("three\n")[:-1]
    assert log.feed(data).data == landed("two\n")
    assert log.consumed == len(data) - len(entry("three\n")) + 1
    assert log.feed(b"\n").data == landed("three\n")


def test_a_cut_entry_without_an_end_is_left_out() -> None:
    """However many pieces it takes."""
    log = JsonFileLog(from_start=False)
    assert log.feed(b"x" * 10).count == 0
    assert log.feed(b"y\n" + entry("two\n")).data == landed("two\n")
    assert log.consumed == 12 + len(entry("two\n"))


@pytest.mark.parametrize(
    "damaged",
    [
        b"\0" * 50 + b"\n",
        entry("one\n")[:20] + entry("two\n"),
        b'{"log":"no stream\\n","time":"2026-01-01T00:00:00Z"}\n',
        b'{"log":"no time\\n","stream":"stdout"}\n',
        b'{"log":"a surrogate \\ud800\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n',
        b'{"log":"a bad escape \\x\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n',
        b"[]\n",
        b"\n",
        b"x" * (1024 * 1024 + 1),
    ],
)
@pytest.mark.parametrize("before", [b"", entry("before\n")])
def test_damage_is_an_error(before: bytes, damaged: bytes) -> None:
    """An engine that was killed or had no room may leave it: what follows is for the engine to say."""
    with pytest.raises(EngineError, match="log file"):
        JsonFileLog(from_start=True).feed(before + damaged)
