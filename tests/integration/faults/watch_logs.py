"""`python -m tests.integration.faults.watch_logs CONTAINERS KEPT`: keeps every log file of every container, whatever the engine does to it.

CONTAINERS is the engine's directory of containers. Each json-file log that appears in it gets a second name (a hard link)
KEPT/ID/NUMBER, numbered in the order of their contents. Ends when its standard input does; exit status 1: a file was missed.
"""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from pathlib import Path

_POLL_SECONDS = 0.005
_LISTENING = 0
_NICENESS = -10
_MOST_FILES = 100


class Watcher:
    """Looks at the files again and again.

    Args:
        containers: the engine's directory of containers.
        kept: where the second names go.

    Attributes:
        missed: ids of containers of which a log file came and went between two looks.
    """

    def __init__(self, containers: Path, kept: Path) -> None:
        self._containers = containers
        self._kept = kept
        self._known: dict[str, list[int]] = {}
        self.missed: set[str] = set()

    def look(self) -> None:
        """Give every file that has none a second name."""
        with suppress(FileNotFoundError):
            for directory in self._containers.iterdir():
                self._look_at(directory)

    def _look_at(self, directory: Path) -> None:
        name = directory.name
        known = self._known.setdefault(name, [])
        kept = self._kept / name
        found: list[tuple[int, Path]] = []
        overlap = not known
        # Rotation moves files to higher numbers: whoever looks at them in rising order meets each.
        for number in range(_MOST_FILES):
            path = directory / (f"{name}-json.log.{number}" if number else f"{name}-json.log")
            link = self._kept / f"{name}.{number}"
            try:
                inode = path.stat().st_ino
                if inode in known:
                    overlap = True
                    break
                link.hardlink_to(path)
            except FileNotFoundError:
                if number:
                    break
                continue  # between the two steps of a rotation
            inode = link.stat().st_ino  # it may be another one by now
            if inode in known or any(inode == other for other, _ in found):
                link.unlink()
                overlap = overlap or inode in known
            else:
                found.append((inode, link))
        if found and not overlap:
            self.missed.add(name)
        for inode, link in reversed(found):
            kept.mkdir(exist_ok=True)
            link.rename(kept / f"{len(known):06}")
            known.append(inode)


def main() -> int:
    """Watch; the exit status."""
    with suppress(PermissionError):
        os.nice(_NICENESS)
    watcher = Watcher(Path(sys.argv[1]), Path(sys.argv[2]))
    while True:
        watcher.look()
        if select.select([_LISTENING], [], [], _POLL_SECONDS)[0]:
            break
    watcher.look()
    for name in sorted(watcher.missed):
        sys.stdout.write(f"{name}\n")
    return 1 if watcher.missed else 0


if __name__ == "__main__":
    sys.exit(main())
