"""Reading landed logs back: the plain text, byte for byte as `docker logs` would have given it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from iris_core.errors import LogFileError
from iris_core.log_events import LogEventKind
from iris_core.log_lines import payload_of
from iris_core.log_paths import events_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STDERR: Final = b"stderr"
_ENDS: Final = frozenset({LogEventKind.EXITED.value, LogEventKind.UNVERIFIED_TAIL.value})


def landed_sources(output_dir: Path) -> dict[str, Path]:
    """The landed logs below a directory, by source name (`controller-logs`, `workers/{slice}-w0` …), sorted.

    Raises:
        LogFileError: there is no such directory.
    """
    if not output_dir.is_dir():
        raise LogFileError(f"{output_dir} is not a directory: name one that iris has landed logs in.", path=output_dir)
    return {
        str(path.relative_to(output_dir).with_suffix("")): path
        for path in sorted(output_dir.rglob("*.txt"))
        if events_path(path).exists()
    }


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events on record beside a landed file, in order. What is no event, and a last one that is being written, is left out.

    Raises:
        LogFileError: the record cannot be read.
    """
    events = events_path(path)
    try:
        with events.open("rb") as file:
            for line in file:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict):
                    yield event
    except OSError as error:
        raise LogFileError(f"Cannot read {events}: {error.strerror or error}.", path=events) from error


def has_open_end(path: Path) -> bool:
    """Whether nothing is on record beside a landed file of how its last container ended: with all of its log landed, or unverified.

    Raises:
        LogFileError: the record cannot be read.
    """
    is_open = False
    for event in read_events(path):
        if "from" in event:
            is_open = True
        elif event.get("event") in _ENDS:
            is_open = False
    return is_open


def read_payloads(path: Path) -> Iterator[tuple[bool, bytes]]:
    """What a container wrote, entry by entry: whether it wrote it on standard error, and its bytes.

    A last line that is being written at this moment is left out.

    Raises:
        LogFileError: the file cannot be read, or a line of it is not a landed one.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                parts = line.split(b" ", 3)
                if len(parts) != 4:  # noqa: PLR2004 - timestamp, stream, tag, payload
                    raise LogFileError(f"{path}:{number}: this is not a line that iris has landed.", path=path)
                yield parts[1] == _STDERR, payload_of(line)
    except OSError as error:
        raise LogFileError(f"Cannot read {path}: {error.strerror or error}.", path=path) from error
