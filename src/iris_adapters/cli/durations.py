"""Spans of time as people write and read them."""

from __future__ import annotations

import re
from typing import Final

import typer

_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([dhms])")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")


def parse_seconds(text: str | float) -> float:
    """The seconds of `8h`, `90m`, `1d12h` …; for Typer, which also hands over what has been parsed.

    Raises:
        BadParameter: it is no such span.
    """
    if isinstance(text, float):
        return text
    if not _WHOLE.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no span of time: write 8h, 90m, 1d12h")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def span_text(seconds: float | None) -> str:
    """A span for a table: the two largest units that count, `3d 4h`, `12m 5s`; nothing for None."""
    if seconds is None:
        return ""
    left = round(seconds)
    parts: list[str] = []
    for unit, size in _UNITS.items():
        count, left = divmod(left, int(size))
        if count or parts or unit == "s":
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
