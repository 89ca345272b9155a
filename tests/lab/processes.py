"""Processes as /proc shows them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_POLL_SECONDS = 0.01


class Process(NamedTuple):
    """One process, in the numbers of the outer PID namespace."""

    pid: int
    parent: int
    command: str


def all_processes() -> Iterator[Process]:
    """Every process that is there, zombies left out."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            before, _, after = (entry / "stat").read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent, *_ = after.split()
        if state != "Z":
            yield Process(int(entry.name), int(parent), before.partition("(")[2])


def command_line(pid: int) -> list[str]:
    """The arguments that a process was started with; none where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def processes_in_namespace_of(pid: int) -> list[Process]:
    """Every process in the PID namespace of this one; none where it is gone."""
    namespace = _namespace(pid)
    return [] if namespace is None else [p for p in all_processes() if _namespace(p.pid) == namespace]


def _namespace(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115 - the link names no file
    except OSError:
        return None


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Look again and again until it holds.

    Raises:
        TimeoutError: it did not within so many seconds; `what` tells what was awaited.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s")
        time.sleep(_POLL_SECONDS)
