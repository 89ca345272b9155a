"""What tidies up after a lab, even one whose process was killed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TRIES_SECONDS = 30
# $1 the directory, $2 the cgroup. The hosts end by themselves when the lab's process has ended; their files are free then.
_SCRIPT = """
cat >/dev/null
tries=0
until rm -rf "$1" && ! [ -e "$1" ] &&
    find /sys/fs/cgroup -depth -type d -path "*$2*" -exec rmdir {} + 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || exit 1
    sleep 0.1
done
"""


class Watchdog:
    """Removes a directory and a cgroup (with all below) once this object is closed or this process has ended, however."""

    def __init__(self, directory: Path, cgroup: str) -> None:
        self._process = subprocess.Popen(
            ["sh", "-c", _SCRIPT, "iris-lab-watchdog", str(directory), cgroup],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal is not for it
        )

    def close(self) -> None:
        """Tidy up now, and return when that is done. Idempotent.

        Raises:
            RuntimeError: something could not be removed.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait(_TRIES_SECONDS + 10):
            raise RuntimeError(f"the lab's files could not be removed: {self._process.args!r}")
