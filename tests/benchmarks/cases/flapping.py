"""1,000 quiet streams, of which one in a hundred loses its connection again and again: what that costs, and what the others notice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.benchmarks.cases.quiet import row, stream_table
from tests.benchmarks.results import CaseResult, Target
from tests.benchmarks.streams import measure_streams

if TYPE_CHECKING:
    from pathlib import Path

_STREAMS: Final = 1000
_FLAPPING: Final = range(0, _STREAMS, 100)
_EVERY_SECONDS: Final = 3.0
_SECONDS: Final = 20.0
_TEXT: Final = f"""\
As the quiet streams above; once all are connected, the connections of {len(_FLAPPING)} of the
{_STREAMS:,} hosts are broken every {_EVERY_SECONDS:.0f} s, one host after another. iris connects again and lands what was
missed, so that the latest lines are late by as long as that takes; the percentiles are of all hosts together. There is nothing to compare
it with but iris itself where none flaps: `docker logs` over `ssh`, asyncssh or Fabric ends with its connection, and what begins it anew is
somebody's own script."""


def run(directory: Path) -> CaseResult:
    """Measure it: about a minute and a half."""
    numbers = " ".join(map(str, _FLAPPING))
    (directory / "steady").mkdir()
    (directory / "flapping").mkdir()
    steady = measure_streams("iris", _STREAMS, directory / "steady", seconds=_SECONDS)
    flap = f"flap {_EVERY_SECONDS} {numbers}"
    figures = measure_streams("iris", _STREAMS, directory / "flapping", seconds=_SECONDS, flap=flap)
    return CaseResult(
        title="A thousand, one in a hundred flapping",
        text=_TEXT,
        tables=[stream_table([row(figures, "iris, 1 % flapping"), row(steady, "iris, none flapping")])],
        ratios={"CPU, iris itself where none flaps": steady.cpu_percent / figures.cpu_percent},
        targets=[
            Target("1 % of 1,000 hosts flapping: no line lost or doubled", f"{figures.lost} lines", figures.lost == 0),
            Target(
                "1 % of 1,000 hosts flapping: p99 from printed to landed at most 250 ms",
                f"{figures.latencies.p99:.1f} ms",
                figures.latencies.p99 <= 250,
            ),
        ],
    )
