"""Words of a host in the words of iris."""

from __future__ import annotations

from typing import Final

_MOST_QUOTED: Final = 300  # characters


def printable(said: str) -> str:
    """What a terminal may be shown of words that anybody may have said: they may hold what clears it, or be without end."""
    return "".join(filter(str.isprintable, said[:_MOST_QUOTED])).strip()
