"""What processes cost, as /proc shows it from outside."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.sshd import descendants

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_KIB_PER_MB: Final = 1000 / 1.024


class Usage(NamedTuple):
    """What a process and all its descendants use.

    Attributes:
        rss_mb: resident memory, in MB (10^6 bytes); what processes share is counted once for each.
        pss_mb: the same, what is shared counted once.
        threads: how many.
        descriptors: how many are open.
    """

    rss_mb: float
    pss_mb: float
    threads: int
    descriptors: int


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    return [pid, *descendants(pid)]


def cpu_seconds(pid: int) -> float:
    """What a process and its descendants have used so far, user and system, and those that have ended and were waited for.

    `stat` counts in hundredths of a second, which is too coarse for a thousand processes that hardly do anything; `schedstat` counts in
    nanoseconds, but only for threads that are there.
    """
    total = 0.0
    for one in family(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
            threads = 0
            for thread in os.listdir(f"/proc/{one}/task"):  # noqa: PTH208 - no Path for each of a thousand
                with suppress(OSError):
                    threads += int(Path(f"/proc/{one}/task/{thread}/schedstat").read_text().split()[0])
            ended = sum(map(int, fields[13:15])) / _TICKS
            total += ended + max(sum(map(int, fields[11:13])) / _TICKS, threads / 1e9)
    return total


def peak_rss_mb(pid: int | str = "self") -> float:
    """The most resident memory that a process has had, in MB; 0 if it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / _KIB_PER_MB
    return 0.0


def memory_mb() -> float:
    """Resident memory of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def usage(pid: int) -> Usage:
    """What a process and its descendants use now."""
    rss = pss = threads = descriptors = 0
    for one in family(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                rss += int(rest.split()[0]) if name == "Rss" else 0
                pss += int(rest.split()[0]) if name == "Pss" else 0
            threads += len(os.listdir(f"/proc/{one}/task"))  # noqa: PTH208 - no Path for each of a thousand
            descriptors += len(os.listdir(f"/proc/{one}/fd"))  # noqa: PTH208 - as above
    return Usage(rss / _KIB_PER_MB, pss / _KIB_PER_MB, threads, descriptors)
