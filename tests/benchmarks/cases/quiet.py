"""N quiet streams, most of them of a line a second each: iris beside asyncssh, `ssh` processes and Fabric's `run`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks.results import CaseResult, Table, Target
from tests.benchmarks.streams import StreamFigures, measure_streams

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS: Final = 10.0
_SMALL: Final = 50  # streams at which every client is measured
_CLIENTS: Final = {  # and which are measured besides iris at how many
    _SMALL: ("asyncssh", "ssh", "fabric"),
    200: ("asyncssh", "ssh"),
    500: ("asyncssh",),
    1000: ("asyncssh",),
}
_SELDOM_SECONDS: Final = 30  # from line to line
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
_COMPARED: Final[dict[str, Callable[[StreamFigures], float]]] = {
    "CPU": lambda figures: figures.cpu_percent,
    "CPU to open one": lambda figures: figures.cpu_ms_to_open,
    "memory (PSS)": lambda figures: figures.usage.pss_mb,
    "latency (p99)": lambda figures: figures.latencies.p99,
}
_TEXT: Final = f"""\
Pretended hosts on loopback addresses of their own, all in one process (`tests/benchmarks/far_side.py`), which sends the packets that
OpenSSH's server would; each prints a line of 120 bytes a second, at its own moment. Figures are of the landing process and its children,
read from `/proc` for {_SECONDS:.0f} s after all were connected; the far side shares the machine's two cores. iris uses its defaults: it
speaks the Engine API, looks for further containers on every host (a second channel each), and proves that every line is landed once; the
others write to a file what `docker logs --follow` prints until the connection ends. Logs are as Docker's default has them, one file for
ever, but where "may rotate" is said: there they have a `max-size`, and a follow, which loses lines when a log rotates under it, must not
be trusted. Then a line costs a read of the log's end; so it is promised only that nothing is lost, and of streams with a line every
{_SELDOM_SECONDS} s that they are as cheap and as quick as the others. (These count as connected when each has printed its first line.)
Processes of `ssh` are left out above 200, for they would fill the machine, and Fabric's `run` above {_SMALL}, for it takes four threads and
more than 100 ms of CPU a stream.
Latency is from the line's time stamp until another process, woken by inotify, has read it in the file."""


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


def targets(figures: StreamFigures, name: str, *, opening: bool = True) -> list[Target]:
    """What was promised of 1,000 quiet streams; `opening`: also of how they are opened."""
    checks: list[tuple[str, str, float, float]] = [
        ("at most 6 % of one core", "%", figures.cpu_percent, 6.0),
        ("at most 100 MB for the whole process", " MB (RSS)", figures.usage.rss_mb, 100.0),
        ("p99 from printed to landed at most 250 ms", " ms", figures.latencies.p99, 250.0),
        ("stop in at most 2 s", " s", figures.stop_seconds, 2.0),
        ("no line lost or doubled", " lines", figures.lost, 0.0),
    ]
    if opening:
        checks += [
            ("all connected in at most 15 s", " s", figures.connect_seconds, 15.0),
            ("at most 8 ms of CPU to open a stream", " ms", figures.cpu_ms_to_open, 8.0),
        ]
    what = f"{figures.streams:,} quiet streams{name}"
    return [Target(f"{what}: {promise}", f"{value:.1f}{unit}", value <= most) for promise, unit, value, most in checks]


def run(directory: Path) -> CaseResult:
    """Measure all of it: about four minutes."""

    def measure(client: str, streams: int, *, rotates: bool = False, lines_per_second: float = 1.0) -> StreamFigures:
        place = Path(tempfile.mkdtemp(prefix=f"{client}-{streams}-", dir=directory))
        return measure_streams(
            client, streams, place, seconds=_SECONDS, rotates=rotates, lines_per_second=lines_per_second
        )

    return _result(measure)


def _result(measure: Callable[..., StreamFigures]) -> CaseResult:
    iris = {streams: measure("iris", streams) for streams in _CLIENTS}
    rotating = [measure("iris", streams, rotates=True) for streams in (_SMALL, 1000)]
    seldom = measure("iris", 1000, rotates=True, lines_per_second=1 / _SELDOM_SECONDS)
    others = [measure(client, streams) for streams, clients in _CLIENTS.items() for client in clients]
    rows = [row(figures) for figures in iris.values()]
    rows += [row(figures, "iris, logs may rotate") for figures in rotating]
    rows.append(row(seldom, f"iris, logs may rotate, a line every {_SELDOM_SECONDS} s"))
    rows += [row(figures) for figures in others]
    lost = rotating[-1].lost
    return CaseResult(
        title="Quiet streams",
        text=_TEXT,
        tables=[stream_table(rows)],
        targets=[
            *targets(iris[1000], ""),
            Target("1,000 quiet streams of logs that may rotate: no line lost or doubled", f"{lost} lines", lost == 0),
            *targets(seldom, f" of logs that may rotate, a line every {_SELDOM_SECONDS} s", opening=False),
        ],
        ratios={
            f"{what} of {other.streams:,}, {other.client}": of(other) / of(iris[other.streams])
            for what, of in _COMPARED.items()
            for other in others
        },
    )
