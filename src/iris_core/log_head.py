"""Whether the first lines that are seen of a log are its first: pure.

A log that rotates may have lost its beginning before anybody looked, and no answer of the engine tells. But it has not where all that the
engine holds is less than it would hold after it had rotated something away. So the first lines are held back until that is known.
"""

from __future__ import annotations

from typing import Final

from iris_core.log_lines import Lines

_MOST_HELD_BYTES: Final = 4 * 1024 * 1024  # held back at most; what is longer counts as unverified
_ENTRY_BYTES: Final = 40  # by which an entry of a json-file log is longer than its landed line, escapes aside
_ESCAPE_BYTES: Final = 5  # by which an escaped byte is longer at most
_PERHAPS_ESCAPED: Final = bytes(range(0x20)) + b'"\\<>&' + bytes(range(0x7F, 0x100))


class Head:
    """The beginning of a log, as it is read for the first time.

    Args:
        kept_bytes: how long the engine's log files are together at least, where something has been rotated away.

    Attributes:
        unverified: whether lines before the first one may have been rotated away.
    """

    def __init__(self, kept_bytes: int) -> None:
        self.unverified = False
        self._kept_bytes = kept_bytes
        self._file_bytes = 0  # of what was added, in the engine's log files, at most
        self._held_bytes = 0
        self._held: list[bytes] = []
        self._count = 0

    def add(self, lines: Lines) -> bool:
        """Hold lines back; returns `unverified`."""
        data = lines.data
        escaped = len(data) - len(data.translate(None, _PERHAPS_ESCAPED))
        self._file_bytes += len(data) + _ENTRY_BYTES * lines.count + _ESCAPE_BYTES * escaped
        self._held_bytes += len(data)
        self._held.append(data)
        self._count += lines.count
        self.unverified = self._file_bytes >= self._kept_bytes or self._held_bytes > _MOST_HELD_BYTES
        return self.unverified

    def take(self) -> Lines:
        """The lines that were held back."""
        lines = Lines(b"".join(self._held), self._count)
        self._held, self._count = [], 0
        return lines
