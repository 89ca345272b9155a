"""Whether memory stays as it is: over minutes of 1,000 quiet streams, and while gigabytes go through one stream.

IRIS_BENCH_MINUTES (10) says for how many minutes.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from tests.benchmarks.bulk import make_lines, through_sshd
from tests.benchmarks.processes import usage
from tests.benchmarks.results import CaseResult, Table, Target
from tests.benchmarks.streams import landing_quiet_streams
from tests.support.sshd import Sshd

if TYPE_CHECKING:
    from pathlib import Path

_STREAMS: Final = 1000
_SETTLE_SECONDS: Final = 20.0
_SAMPLES: Final = 10
_MEBIBYTES: Final = 512
_GIGABYTES: Final = 10
_MOST_GROWTH_MB: Final = 5.0
_TEXT: Final = f"""\
Memory (RSS) of iris with {_STREAMS:,} quiet streams, as above, from {_SETTLE_SECONDS:.0f} s after all were connected on; and the most
that it had when {_MEBIBYTES} MiB and when {_GIGABYTES} GB had come through one stream of its shell (from a real sshd, into a file)."""


def run(directory: Path) -> CaseResult:
    """Measure it."""
    minutes = float(os.environ.get("IRIS_BENCH_MINUTES", "10"))
    (directory / "streams").mkdir()
    samples = _over_time(directory / "streams", minutes)
    little, much = _through_one_stream(directory)
    growth = samples[-1] - samples[0]
    return CaseResult(
        title="Memory over time and bytes",
        text=_TEXT,
        tables=[
            Table(
                ["minutes", *(f"{minutes * number / _SAMPLES:.1f}" for number in range(_SAMPLES + 1))],
                [["MB", *(f"{value:.1f}" for value in samples)]],
            ),
            Table(
                ["through one stream", "peak memory, MB"],
                [[f"{_MEBIBYTES} MiB", f"{little:.1f}"], [f"{_GIGABYTES} GB", f"{much:.1f}"]],
            ),
        ],
        targets=[
            Target(
                f"1,000 quiet streams: memory flat over {minutes:g} minutes",
                f"{growth:+.1f} MB",
                growth <= _MOST_GROWTH_MB,
            ),
            Target(
                "memory flat after 10 GB through one stream",
                f"{much - little:+.1f} MB",
                much - little <= _MOST_GROWTH_MB,
            ),
        ],
    )


def _over_time(directory: Path, minutes: float) -> list[float]:
    with landing_quiet_streams(_STREAMS, directory) as running:
        time.sleep(_SETTLE_SECONDS)
        samples = [usage(running.pid).rss_mb]
        for _ in range(_SAMPLES):
            time.sleep(minutes * 60 / _SAMPLES)
            samples.append(usage(running.pid).rss_mb)
    return samples


def _through_one_stream(directory: Path) -> tuple[float, float]:
    (directory / "sshd").mkdir()
    source, long_source = directory / "source", directory / "long"
    mebibytes = _GIGABYTES * 1_000_000_000 // (1 << 20)
    sha256, long_sha256 = make_lines(source, _MEBIBYTES), make_lines(long_source, mebibytes)
    with Sshd(directory / "sshd") as sshd:
        little = through_sshd("iris", sshd, source, sha256)
        much = through_sshd("iris", sshd, long_source, long_sha256)
    return little.peak_mb, much.peak_mb
