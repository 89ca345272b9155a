"""Who listens on a local port, for an error message: Linux tells it in /proc (proc(5)), to the owner of the process and to root."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LISTENING: Final = "0A"
_MOST_COMMAND_CHARACTERS: Final = 120


def owner_of(port: int) -> str | None:
    """The process that listens on the TCP port, `python train.py (process 4711)`; None where that cannot be known."""
    sockets = set(_listening_on(port))
    if not sockets:
        return None
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and _has_one_of(process, sockets):
            with suppress(OSError):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"{command[:_MOST_COMMAND_CHARACTERS]} (process {process.name})"
    return None


def _listening_on(port: int) -> Iterator[str]:
    """The sockets, as the links in a process's fd directory name them."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{columns[9]}]"


def _has_one_of(process: Path, sockets: set[str]) -> bool:
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                if os.readlink(descriptor) in sockets:  # noqa: PTH115 - the link names no file
                    return True
    return False
