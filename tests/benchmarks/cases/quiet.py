"""N quiet streams, a line a second each: iris beside asyncssh, `ssh` processes and Fabric's `run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.benchmarks.results import CaseResult, Table, Target
from tests.benchmarks.streams import StreamFigures, measure_streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SECONDS: Final = 10.0
_SMALL: Final = 50  # streams at which every client is measured
_COLUMNS: Final = [
    "client",
    "streams",
    "all connected, s",
    "CPU to open one, ms",
    "CPU, % of a core",
    "memory, MB (RSS / PSS)",
    "threads",
    "descriptors",
    "printed to landed, ms (p50 / p99 / most)",
    "stop, s",
    "lines lost",
]
_TEXT: Final = f"""\
Pretended hosts on loopback addresses of their own, all in one process (`tests/benchmarks/far_side.py`); each prints a line of 120 bytes a
second, at its own moment. Figures are of the landing process and its children, read from `/proc` for {_SECONDS:.0f} s after all were
connected; the far side shares the machine's two cores. iris uses its defaults: it speaks the Engine API, looks for further containers on
every host (a second channel each), and proves that every line is landed once; the others write to a file what
`docker logs --follow` prints until the connection ends. "May rotate": the containers' logs have a `max-size`, so that a follow
must not be trusted. Latency is from the line's time stamp until another process, woken by inotify, has read it in the file."""


def row(figures: StreamFigures, name: str = "") -> list[str]:
    """Figures as a row under `_COLUMNS`."""
    used, late = figures.usage, figures.latencies
    return [
        name or figures.client,
        str(figures.streams),
        f"{figures.connect_seconds:.1f}",
        f"{figures.cpu_ms_to_open:.1f}",
        f"{figures.cpu_percent:.1f}",
        f"{used.rss_mb:.0f} / {used.pss_mb:.0f}",
        f"{used.threads:,}",
        f"{used.descriptors:,}",
        f"{late.p50:.1f} / {late.p99:.1f} / {late.most:.0f}",
        f"{figures.stop_seconds:.2f}",
        str(figures.lost),
    ]


def stream_table(rows: list[list[str]], caption: str = "") -> Table:
    """A table of such rows."""
    return Table(_COLUMNS, rows, caption)


def targets(figures: StreamFigures, name: str) -> list[Target]:
    """What was promised of 1,000 quiet streams."""
    checks: list[tuple[str, str, float, float]] = [
        ("at most 6 % of one core", "%", figures.cpu_percent, 6.0),
        ("at most 100 MB for the whole process", " MB (RSS)", figures.usage.rss_mb, 100.0),
        ("p99 from printed to landed at most 250 ms", " ms", figures.latencies.p99, 250.0),
        ("stop in at most 2 s", " s", figures.stop_seconds, 2.0),
        ("all connected in at most 15 s", " s", figures.connect_seconds, 15.0),
        ("at most 8 ms of CPU to open a stream", " ms", figures.cpu_ms_to_open, 8.0),
        ("no line lost or doubled", " lines", figures.lost, 0.0),
    ]
    what = f"{figures.streams:,} quiet streams, {name}"
    return [Target(f"{what}: {promise}", f"{value:.1f}{unit}", value <= most) for promise, unit, value, most in checks]


def run(directory: Path) -> CaseResult:
    """Measure all of it: about three minutes."""

    def measure(client: str, streams: int, *, rotates: bool = True) -> StreamFigures:
        place = directory / f"{client}-{streams}-{rotates}"
        place.mkdir()
        return measure_streams(client, streams, place, seconds=_SECONDS, rotates=rotates)

    return _result(measure)


def _result(measure: Callable[..., StreamFigures]) -> CaseResult:
    iris = {streams: measure("iris", streams) for streams in (_SMALL, 200, 500, 1000)}
    steady = measure("iris", 1000, rotates=False)
    others = [measure("asyncssh", _SMALL), measure("ssh", _SMALL), measure("fabric", _SMALL), measure("asyncssh", 1000)]
    small = iris[_SMALL]
    rows = [row(figures, "iris, logs may rotate") for figures in iris.values()]
    rows.append(row(steady, "iris, logs never rotate"))
    rows += [row(figures) for figures in others]
    asyncssh, ssh, fabric, many = others
    return CaseResult(
        title="Quiet streams",
        text=_TEXT,
        tables=[stream_table(rows)],
        targets=[*targets(iris[1000], "logs that may rotate"), *targets(steady, "logs that never rotate")],
        ratios={
            "quiet-cpu-asyncssh-over-iris-1000": many.cpu_percent / iris[1000].cpu_percent,
            "quiet-cpu-asyncssh-over-iris-50": asyncssh.cpu_percent / small.cpu_percent,
            "quiet-cpu-fabric-over-iris-50": fabric.cpu_percent / small.cpu_percent,
            "quiet-memory-ssh-over-iris-50": ssh.usage.pss_mb / small.usage.pss_mb,
            "opening-cpu-asyncssh-over-iris-50": asyncssh.cpu_ms_to_open / small.cpu_ms_to_open,
            "opening-cpu-fabric-over-iris-50": fabric.cpu_ms_to_open / small.cpu_ms_to_open,
        },
    )
