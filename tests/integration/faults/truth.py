"""The truth about a log: what the Docker engine wrote into its own json-file logs, as landed lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class TrueLog:
    """All that an engine ever wrote of one container.

    Attributes:
        container_id: the engine's id of it.
        lines: its entries in order, each in the form in which it should land.
        file_starts: the index of the first line of each log file: the log can only ever begin at one of them.
        removed: whether the container was removed, and its log with it.
    """

    container_id: str
    lines: Sequence[bytes]
    file_starts: Sequence[int]
    removed: bool


def read_true_log(container_id: str, directory: Path, *, removed: bool) -> TrueLog:
    """Read the log files that `watch_logs` has kept of a container, oldest first by name."""
    lines: list[bytes] = []
    starts = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        starts.append(len(lines))
        with path.open("rb") as file:
            lines += [landed_form(line) for line in file]
    return TrueLog(container_id, lines, starts, removed)


def landed_form(entry: bytes) -> bytes:
    """One line of a json-file log as it should land."""
    value = json.loads(entry)
    seconds, _, fraction = value["time"].removesuffix("Z").partition(".")
    payload = str(value["log"]).encode()
    ended = payload.endswith(b"\n")
    head = f"{seconds}.{fraction:0<9}Z {value['stream']} {'F' if ended else 'P'} ".encode()
    return head + payload + (b"" if ended else b"\n")
