"""Whether memory stays as it is: over minutes of 1,000 quiet streams, and while gigabytes of one container's log are landed.

IRIS_BENCH_MINUTES (10) says for how many minutes.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.benchmarks.engine_host import EngineHost
from tests.benchmarks.processes import usage
from tests.benchmarks.results import CaseResult, Table, Target
from tests.benchmarks.streams import landing_quiet_streams

if TYPE_CHECKING:
    from pathlib import Path

_STREAMS: Final = 1000
_SETTLE_SECONDS: Final = 20.0
_SAMPLES: Final = 10
_WORDS: Final = "step loss 2.1234 tokens/s 51234.56 " * 28  # with its number and what iris adds: 1,030 bytes a line
_FEW_LINES: Final = 500_000
_MANY_LINES: Final = 10_000_000
_GIGABYTE: Final = 1_000_000_000
_MOST_GROWTH_MB: Final = 5.0
_TEXT: Final = f"""\
Memory (RSS) of iris with {_STREAMS:,} quiet streams, as above, from {_SETTLE_SECONDS:.0f} s after all were connected on; and the most
that it had when it had landed one container's log, a short one and a long one, of a real engine through a real sshd: of the engine's
file, and where the log may rotate, of its API."""


class _Landed(NamedTuple):
    gigabytes: float
    seconds: float
    peak_mb: float


def run(directory: Path) -> CaseResult:
    """Measure it."""
    minutes = float(os.environ.get("IRIS_BENCH_MINUTES", "10"))
    (directory / "streams").mkdir()
    samples = _over_time(directory / "streams", minutes)
    landed = _through_one_stream(directory)
    growth = samples[-1] - samples[0]
    return CaseResult(
        title="Memory over time and bytes",
        text=_TEXT,
        tables=[
            Table(
                ["minutes", *(f"{minutes * number / _SAMPLES:.1f}" for number in range(_SAMPLES + 1))],
                [["MB", *(f"{value:.2f}" for value in samples)]],
            ),
            Table(
                ["read of", "landed, GB", "seconds", "peak memory, MB"],
                [
                    [way, f"{one.gigabytes:.1f}", f"{one.seconds:.0f}", f"{one.peak_mb:.1f}"]
                    for way, both in landed.items()
                    for one in both
                ],
            ),
        ],
        targets=[
            Target(
                f"1,000 quiet streams: memory flat over {minutes:g} minutes",
                f"{growth:+.1f} MB",
                growth <= _MOST_GROWTH_MB,
            ),
            *(
                Target(
                    f"memory flat after {much.gigabytes:.0f} GB of one container, read of {way}",
                    f"{much.peak_mb - little.peak_mb:+.1f} MB",
                    much.peak_mb - little.peak_mb <= _MOST_GROWTH_MB,
                )
                for way, (little, much) in landed.items()
            ),
        ],
        ran=f"just bench-long {minutes:g}",
    )


def _over_time(directory: Path, minutes: float) -> list[float]:
    with landing_quiet_streams(_STREAMS, directory) as running:
        time.sleep(_SETTLE_SECONDS)
        samples = [usage(running.pid).rss_mb]
        for _ in range(_SAMPLES):
            time.sleep(minutes * 60 / _SAMPLES)
            samples.append(usage(running.pid).rss_mb)
    return samples


def _through_one_stream(directory: Path) -> dict[str, tuple[_Landed, _Landed]]:
    """By what it is read of: a short log and a long one."""
    with EngineHost(directory) as host:
        return {
            way: (
                _land(host, directory, _FEW_LINES, rotates=rotates),
                _land(host, directory, _MANY_LINES, rotates=rotates),
            )
            for way, rotates in (("the engine's file", False), ("the engine's API", True))
        }


def _land(host: EngineHost, directory: Path, lines: int, *, rotates: bool) -> _Landed:
    host.write("one", lines=lines, words=_WORDS, rotates=rotates)
    landed = directory / "landed"
    landed.mkdir()
    figures = host.by("iris-land", "one", lines=lines, directory=landed)
    with (landed / "0").open("rb") as file:
        count = sum(1 for _ in file)
    if count != lines:
        raise RuntimeError(f"{count} lines landed instead of {lines}")
    size = (landed / "0").stat().st_size
    shutil.rmtree(landed)
    host.remove("one")
    return _Landed(size / _GIGABYTE, figures.seconds, figures.peak_mb)
